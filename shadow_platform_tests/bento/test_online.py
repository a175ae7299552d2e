"""Online features of a request: precedence, age, one lookup for many, and a store that is away, slow or comes back."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from bento.answering import online as online_module
from bento.answering import store_thread
from bento.answering.features import RequestFeatures
from bento.answering.metrics import ServiceMetrics
from bento.answering.online import OnlineReader, OnlineStoreAway
from bento.answering.online_cache import OnlineCache
from bento.answering.store_thread import Rows
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.domain.serving import RequestContract, ServedFeatures, ValidRequest
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.tiny import USE_CASE

PATIENT_S = 60.0
NOW = datetime.now(UTC)
KNOWN = ValidRequest("v", {"visitor_id": "visitor-01"}, {"cart_value": 9.0})


class FakeStore:
    """A store whose answers and manners are set by the test."""

    def __init__(self) -> None:
        self.rows = {"visitor-01": OnlineRow({"visits_7d": 5.0, "purchases_7d": 2.0}, NOW - timedelta(hours=1))}
        self.lookups: list[list[Mapping[str, str]]] = []
        self.manner: Callable[[], object] = lambda: None

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        if not entities:
            return []
        self.lookups.append(list(entities))
        self.manner()
        found = [self.rows.get(entity.get("visitor_id", "")) for entity in entities]
        return [{"visitor_history": row} if row else {} for row in found]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a hanging store waits for; opened at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


def opened(store: FakeStore, timeout_s: float = PATIENT_S, cache: OnlineCache | None = None) -> OnlineReader:
    """A reader whose store has been opened, however long that took."""
    reader = OnlineReader(lambda: store, PATIENT_S, cache)
    wait_until(lambda: reader.has_tried, "the store is opened")
    reader._timeout_s = timeout_s
    return reader


def serve(
    reader: OnlineReader, *requests: ValidRequest, at: datetime = NOW, registry: CollectorRegistry | None = None
) -> list[ServedFeatures]:
    """What each request is served, one after the other."""
    features = RequestFeatures(RequestContract(USE_CASE), reader, ServiceMetrics(registry or CollectorRegistry()))

    async def all_of() -> list[ServedFeatures]:
        return [served for request in requests for served in await features.serve([request], at)]

    return asyncio.run(all_of())


def read(reader: OnlineReader, *visitors: str) -> list[float | int | str | None]:
    """``visits_7d`` of each visitor, asked for in one request."""
    rows = asyncio.run(reader.read([{"visitor_id": visitor} for visitor in visitors]))
    return [row["visitor_history"].values["visits_7d"] if row else None for row in rows]


def refused(reader: OnlineReader) -> str:
    """Why a lookup is refused."""
    with pytest.raises(OnlineStoreAway) as caught:
        read(reader, "visitor-01")
    return caught.value.reason


def is_back(reader: OnlineReader) -> bool:
    """Whether the store answers again, after having it asked."""
    reader.probe()
    return reader.problem is None


def test_features_come_from_request_then_store_then_imputation(store: FakeStore) -> None:
    unknown = replace(KNOWN, entities={"visitor_id": "nobody"})
    complete = replace(KNOWN, features={"cart_value": 9.0, "visits_7d": 1.0, "purchases_7d": 1.0})
    partly = replace(KNOWN, features={"cart_value": 9.0, "visits_7d": 1.0})
    served = serve(opened(store), KNOWN, unknown, complete, partly)
    assert [features.sources for features in served] == [
        {"request": 1, "online": 2, "imputed": 1},
        {"request": 1, "online": 0, "imputed": 3},
        {"request": 3, "online": 0, "imputed": 1},
        {"request": 2, "online": 1, "imputed": 1},
    ]
    assert served[0].values == {"cart_value": 9.0, "channel": None, "visits_7d": 5.0, "purchases_7d": 2.0}
    assert served[3].values == {"cart_value": 9.0, "channel": None, "visits_7d": 1.0, "purchases_7d": 2.0}
    assert [features.age_s for features in served] == [3600.0, None, None, 3600.0]
    assert served[1].missing == {"request": 1, "visitor_history": 2}
    assert len(store.lookups) == 3


def test_a_batch_is_one_lookup(store: FakeStore) -> None:
    reader, contract = opened(store), RequestContract(USE_CASE)
    features = RequestFeatures(contract, reader, ServiceMetrics(CollectorRegistry()))
    served = asyncio.run(features.serve([KNOWN, replace(KNOWN, entities={}), KNOWN], NOW))
    assert [found.sources["online"] for found in served] == [2, 0, 2]
    assert len(store.lookups) == 1


def test_replayed_traffic_sees_no_row_of_its_own_future_and_nobody_an_expired_one(store: FakeStore) -> None:
    reader, ttl, hour = opened(store), USE_CASE.views[0].ttl, timedelta(hours=1)
    at = [NOW - 2 * hour, NOW - hour, NOW - hour + ttl, NOW - hour + ttl + timedelta(seconds=1)]
    assert [serve(reader, KNOWN, at=moment)[0].sources["online"] for moment in at] == [0, 2, 2, 0]


def test_requests_that_wait_together_share_lookups_and_get_their_own_rows(
    store: FakeStore, gate: threading.Event
) -> None:
    store.rows = {f"u{n}": OnlineRow({"visits_7d": n, "purchases_7d": n}, NOW) for n in range(100)}
    reader = opened(store)

    async def ask(numbers: Sequence[int]) -> Rows:
        return await reader.read([{"visitor_id": f"u{n}"} for n in numbers])

    async def together() -> list[Rows]:
        store.manner = gate.wait
        first = asyncio.create_task(ask([0]))
        while not store.lookups:
            await asyncio.sleep(0)
        later = [asyncio.create_task(ask(range(n, n + n % 4))) for n in range(1, 60)]
        await asyncio.sleep(0)
        gate.set()
        return [await first, *[await task for task in later]]

    answers = asyncio.run(together())
    assert len(store.lookups) == 2
    assert [[row["visitor_history"].values["visits_7d"] for row in rows] for rows in answers] == [
        [0],
        *[list(range(n, n + n % 4)) for n in range(1, 60)],
    ]


def test_a_caller_who_leaves_takes_nothing_from_the_others(store: FakeStore, gate: threading.Event) -> None:
    reader = opened(store)
    store.manner = gate.wait

    async def together() -> list[Rows | BaseException]:
        tasks = [asyncio.create_task(reader.read([{"visitor_id": "visitor-01"}])) for _ in range(3)]
        while not store.lookups:
            await asyncio.sleep(0)
        tasks[1].cancel()
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, left, last = asyncio.run(together())
    assert isinstance(left, asyncio.CancelledError)
    assert first == last == [{"visitor_history": store.rows["visitor-01"]}]
    assert reader.problem is None


def _raise() -> None:
    raise OSError("connection refused")


def test_a_failing_store_is_imputed_counted_and_used_again_when_back(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 3600.0)
    reader, registry = opened(store), CollectorRegistry()
    store.manner = _raise
    served = serve(reader, KNOWN, KNOWN, KNOWN, registry=registry)
    assert [features.sources["imputed"] for features in served] == [3, 3, 3]
    assert "connection refused" in str(reader.problem)
    count = registry.get_sample_value
    assert count("online_store_errors_total", {"reason": "error"}) == 1.0
    assert count("online_store_errors_total", {"reason": "skipped"}) == 2.0
    assert len(store.lookups) == 1
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.0)
    monkeypatch.setattr(reader, "_probe_at", 0.0)
    assert refused(reader) == "skipped"
    wait_until(lambda: len(store.lookups) == 2, "a lookup for which nobody waits is tried")
    store.manner = lambda: None
    wait_until(lambda: is_back(reader), "the store is used again")
    assert serve(reader, KNOWN)[0].sources["online"] == 2


def test_a_store_that_cannot_be_opened_is_opened_later(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.0)
    attempts: list[int] = []

    def opener() -> FakeStore:
        attempts.append(1)
        if len(attempts) < 3:
            raise FeatureStoreError("no online store; materialize feature_definitions")
        return store

    reader = OnlineReader(opener, PATIENT_S)
    assert reader.problem
    wait_until(lambda: reader.has_tried, "opening is tried")
    assert "materialize feature_definitions" in str(reader.problem)
    assert refused(reader) == "skipped"
    wait_until(lambda: is_back(reader), "the store is open")
    assert read(reader, "visitor-01") == [5.0]
    assert len(attempts) == 3


def test_a_hanging_store_is_waited_for_once_and_its_thread_replaced(
    store: FakeStore, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.0)
    reader, registry = opened(store, timeout_s=0.5), CollectorRegistry()
    store.manner = gate.wait
    served = serve(reader, *[KNOWN] * 5, registry=registry)
    assert {features.sources["online"] for features in served} == {0}
    assert registry.get_sample_value("online_store_errors_total", {"reason": "timeout"}) == 1.0
    assert registry.get_sample_value("online_store_errors_total", {"reason": "skipped"}) == 4.0
    assert "longer than 500 ms" in str(reader.problem)
    store.manner = lambda: None
    reader.probe()
    assert len(store.lookups) == 1
    monkeypatch.setattr(store_thread, "HUNG_AFTER_S", 0.0)
    wait_until(lambda: is_back(reader), "another thread answers")
    monkeypatch.undo()
    reader._timeout_s = PATIENT_S
    assert not gate.is_set()
    assert read(reader, "visitor-01") == [5.0]
    gate.set()
    wait_until(lambda: not any(thread.is_busy for thread in reader._hung), "the thread left behind ends")
    assert reader.problem is None


def test_only_so_many_threads_are_left_behind(
    store: FakeStore, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.0)
    monkeypatch.setattr(store_thread, "HUNG_AFTER_S", 0.0)
    reader = opened(store, timeout_s=0.01)
    store.manner = gate.wait
    assert refused(reader) == "timeout"
    n_threads = 1 + online_module.MAX_HUNG_THREADS
    wait_until(lambda: not is_back(reader) and len(store.lookups) == n_threads, "as many threads hang as may")
    for _ in range(50):
        reader.probe()
        assert refused(reader) == "skipped"
    assert len(store.lookups) == n_threads
    store.manner = lambda: None
    gate.set()
    wait_until(lambda: is_back(reader), "the store is used again")


def test_a_store_that_answers_too_late_stays_away(
    store: FakeStore, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.0)
    reader = opened(store, timeout_s=0.01)

    def dawdle() -> None:
        gate.wait()
        time.sleep(0.03)

    store.manner = dawdle
    assert refused(reader) == "timeout"
    gate.set()
    wait_until(lambda: not is_back(reader) and len(store.lookups) >= 4, "lookups are tried")
    assert refused(reader) == "skipped"
    assert "longer than 10 ms" in str(reader.problem)


def test_an_answer_that_waited_for_a_busy_loop_is_not_too_late(store: FakeStore) -> None:
    reader = opened(store, timeout_s=1.0)

    async def busy() -> Rows:
        waiting = asyncio.create_task(reader.read([{"visitor_id": "visitor-01"}]))
        while not store.lookups:
            await asyncio.sleep(0)
        time.sleep(1.5)
        return await waiting

    assert asyncio.run(busy()) == [{"visitor_history": store.rows["visitor-01"]}]


def test_a_late_loop_that_finds_the_deadline_and_the_answer_at_once_takes_the_answer(
    store: FakeStore, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, is_answered = opened(store, timeout_s=1.0), threading.Event()
    answer, store.manner = reader._answer, gate.wait

    def answer_and_tell(*given: Any) -> None:
        answer(*given)
        is_answered.set()

    monkeypatch.setattr(reader, "_answer", answer_and_tell)

    async def busy() -> Rows:
        waiting = asyncio.create_task(reader.read([{"visitor_id": "visitor-01"}]))
        while not store.lookups:
            await asyncio.sleep(0)
        time.sleep(1.1)
        await asyncio.sleep(0)
        gate.set()
        assert is_answered.wait(PATIENT_S)
        return await waiting

    assert asyncio.run(busy()) == [{"visitor_history": store.rows["visitor-01"]}]


def test_each_lookup_is_timed_once_whoever_waits_for_it(store: FakeStore) -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    reader = OnlineReader(lambda: store, PATIENT_S, observe=metrics.observe_lookup)

    async def together() -> None:
        await asyncio.gather(*(reader.read([{"visitor_id": "visitor-01"}]) for _ in range(9)))

    asyncio.run(together())
    assert registry.get_sample_value("online_store_latency_ms_count") == 1.0


def test_features_survive_a_store_that_is_taken_away_and_rebuilt_in_the_middle_of_traffic(
    layout: Layout, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_module, "PROBE_EVERY_S", 0.01)

    def fill(visits: float) -> None:
        feast = FeastStore(layout, repository / "feature_repo", USE_CASE)
        feast.apply()
        row = {"visitor_id": "visitor-01", "event_at": NOW, "created_at": NOW, "visits_7d": visits, "purchases_7d": 0.0}
        feast.write_online("visitor_history", pd.DataFrame([row]))

    fill(1.0)
    reader = OnlineReader(lambda: FeastStore(layout, repository / "feature_repo", USE_CASE).online(), PATIENT_S)

    def visits() -> float | int | str | None:
        return serve(reader, KNOWN)[0].values["visits_7d"]

    assert visits() == 1.0
    for path in layout.feast.glob("online.db*"):
        path.unlink()
    assert visits() is None
    assert "No such file" in str(reader.problem)
    fill(2.0)
    wait_until(lambda: visits() == 2.0, "the new file is read")
    assert reader.problem is None
