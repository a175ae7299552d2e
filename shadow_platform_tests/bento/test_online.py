"""Online features in an answer: precedence, age, and a store that is away, slow or comes back."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bento import online as online_module
from bento.features import RequestFeatures
from bento.http import ProblemError
from bento.metrics import ServiceMetrics
from bento.models import ModelWatcher
from bento.online import OnlineReader
from bento.predictor import Predictor, PredictorOptions, RequestHeaders
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.domain.serving import RequestContract
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy
from shadow_platform_tests.fakes_log import FullLog, InMemoryLog
from shadow_platform_tests.tiny import USE_CASE


class FakeStore:
    """A store whose answers and manners are set by the test."""

    def __init__(self) -> None:
        self.rows = {
            "visitor-01": OnlineRow({"visits_7d": 5.0, "purchases_7d": 2.0}, datetime.now(UTC) - timedelta(hours=1))
        }
        self.asked: list[Mapping[str, str]] = []
        self.manner: Callable[[], None] = lambda: None

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        self.manner()
        self.asked.extend(entities)
        found = [self.rows.get(entity.get("visitor_id", "")) for entity in entities]
        return [{"visitor_history": row} if row else {} for row in found]


def predictor(
    home: Path, reader: OnlineReader | None, sink: Any, registry: CollectorRegistry | None = None
) -> Predictor:
    layout = Layout(home)
    deploy(layout, line_bundle(layout.bundles))
    layout.manifest("shop").rename(layout.manifest("tiny"))
    models = ModelWatcher(layout, "tiny")
    assert models.refresh(), models.reason
    metrics = ServiceMetrics(registry or CollectorRegistry())
    contract = RequestContract(USE_CASE)
    features = RequestFeatures(contract, reader, metrics)
    return Predictor(USE_CASE, models, sink, metrics, contract, features, PredictorOptions())


def ask(found: Predictor, *bodies: dict[str, Any], headers: RequestHeaders | None = None) -> list[dict[str, Any]]:
    async def all_of() -> list[bytes]:
        return [await found.answer(json.dumps(body).encode(), headers or RequestHeaders()) for body in bodies]

    return [json.loads(answer) for answer in asyncio.run(all_of())]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def test_features_come_from_request_then_store_then_imputation(tmp_path: Path, store: FakeStore) -> None:
    log, registry = InMemoryLog(), CollectorRegistry()
    found = predictor(tmp_path, OnlineReader(lambda: store), log, registry)
    known = {"visit_id": "v", "visitor_id": "visitor-01", "cart_value": 9.0}
    answers = ask(found, known, {**known, "visitor_id": "nobody"}, {**known, "visits_7d": 1, "purchases_7d": 1})
    assert [answer["feature_sources"] for answer in answers] == [
        {"request": 1, "online": 2, "imputed": 1},
        {"request": 1, "online": 0, "imputed": 3},
        {"request": 3, "online": 0, "imputed": 1},
    ]
    assert len(store.asked) == 2
    record = json.loads(log.lines[0])
    assert record["features"] == {"cart_value": 9.0, "channel": None, "visits_7d": 5.0, "purchases_7d": 2.0}
    assert record["feature_age_s"] == pytest.approx(3600, abs=60)
    assert registry.get_sample_value("feature_missing_total", {"feature_view": "visitor_history"}) == 2.0
    assert registry.get_sample_value("feature_missing_total", {"feature_view": "request"}) == 3.0


def test_replayed_traffic_sees_no_row_of_its_own_future(tmp_path: Path, store: FakeStore) -> None:
    found = predictor(tmp_path, OnlineReader(lambda: store), InMemoryLog())
    headers = RequestHeaders(as_of=(datetime.now(UTC) - timedelta(hours=2)).isoformat())
    (answer,) = ask(found, {"visit_id": "v", "visitor_id": "visitor-01"}, headers=headers)
    assert answer["feature_sources"]["online"] == 0


def _raise() -> None:
    raise OSError("connection refused")


def test_a_failing_store_is_imputed_counted_and_used_again_when_back(
    tmp_path: Path, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "REOPEN_AFTER_S", 0.0)
    reader, registry = OnlineReader(lambda: store), CollectorRegistry()
    found = predictor(tmp_path, reader, InMemoryLog(), registry)
    body = {"visit_id": "v", "visitor_id": "visitor-01"}
    store.manner = _raise
    (answer,) = ask(found, body)
    assert answer["feature_sources"]["imputed"] == 4
    assert "connection refused" in str(reader.problem)
    assert registry.get_sample_value("online_store_errors_total") == 1.0
    store.manner = lambda: None
    (answer,) = ask(found, body)
    assert answer["feature_sources"]["online"] == 2
    assert reader.problem is None


def test_a_store_that_cannot_be_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch, store: FakeStore) -> None:
    monkeypatch.setattr(online_module, "REOPEN_AFTER_S", 0.0)
    attempts: list[int] = []

    def opener() -> FakeStore:
        attempts.append(1)
        if len(attempts) < 3:
            raise FeatureStoreError("no online store; materialize feature_definitions")
        return store

    reader = OnlineReader(opener, timeout_s=5.0)
    with pytest.raises(FeatureStoreError, match="materialize feature_definitions"):
        asyncio.run(reader.read([{"visitor_id": "visitor-01"}]))
    assert asyncio.run(reader.read([{"visitor_id": "visitor-01"}]))[0]["visitor_history"].values["visits_7d"] == 5.0


def _wait_for(event: threading.Event) -> None:
    event.wait(10.0)


def test_a_hanging_store_holds_up_no_answer(tmp_path: Path, store: FakeStore) -> None:
    release = threading.Event()
    store.manner = lambda: _wait_for(release)
    reader = OnlineReader(lambda: store, timeout_s=0.05)
    found = predictor(tmp_path, reader, InMemoryLog())
    before = time.monotonic()
    answers = ask(found, *[{"visit_id": "v", "visitor_id": "visitor-01"}] * 3)
    release.set()
    assert {answer["feature_sources"]["online"] for answer in answers} == {0}
    assert time.monotonic() - before < 8.0
    assert "longer than 50 ms" in str(reader.problem)


def test_an_answer_that_cannot_be_logged_is_not_given_and_not_remembered(tmp_path: Path) -> None:
    log = FullLog()
    found = predictor(tmp_path, None, log)
    headers = RequestHeaders(idempotency_key="k")
    with pytest.raises(ProblemError, match="No space left on device") as caught:
        ask(found, {"visit_id": "v"}, headers=headers)
    assert (caught.value.status, caught.value.slug) == (503, "log-unavailable")
    log.is_full = False
    assert ask(found, {"visit_id": "v"}, headers=headers)[0]["visit_id"] == "v"
    assert len(log.lines) == 1


def test_concurrent_requests_of_one_key_are_logged_once(tmp_path: Path, store: FakeStore) -> None:
    log = InMemoryLog()
    store.manner = lambda: time.sleep(0.02)
    found = predictor(tmp_path, OnlineReader(lambda: store, timeout_s=5.0), log)
    body, headers = json.dumps({"visit_id": "v", "visitor_id": "visitor-01"}).encode(), RequestHeaders(None, "k")

    async def together() -> list[bytes]:
        return list(await asyncio.gather(*(found.answer(body, headers) for _ in range(5))))

    assert len(set(asyncio.run(together()))) == 1
    assert len(log.lines) == 1
