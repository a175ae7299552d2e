"""Explored requests: what their callers are told, what the logs and metrics keep, and that every worker agrees."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from scipy import stats

from bento.serve import RunningService, free_port, running_service
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.exploration import ExplorationRule
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle, wordless_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, predictions, settings_at, ticks, wait_until
from shadow_platform_tests.bento.predictors import OneWorker

N_REQUESTS = 400
SHARE = 0.25
RULE = ExplorationRule.of(shop.EXPLORING)
BODIES = [body_of(index) for index in range(N_REQUESTS)]


def exploring(home: Path, **values: Any) -> OneWorker:
    """One worker whose canary answers half of the subjects, and gives no number for large carts."""
    bundles = home / "bundles"
    return OneWorker(home, line_bundle(bundles), wordless_bundle(bundles), use_case=shop.EXPLORING, **values)


def told(record: PredictionRecord) -> str:
    """The action that belongs to a record."""
    return "block" if record.prediction and not record.is_explored else "allow"


def test_every_answer_is_drawn_whoever_gives_it_alone_and_in_batches(tmp_path: Path) -> None:
    found = exploring(tmp_path)

    async def ask() -> list[dict[str, Any]]:
        return [*[await found.answer(body) for body in BODIES], *await found.batch(BODIES)]

    answers = {answer["request_id"]: answer for answer in asyncio.run(ask())}
    given_by: Counter[tuple[str, bool]] = Counter()
    for record in found.records():
        assert RULE.exposure(record.request_id, record.prediction) == (record.is_explored, record.label_propensity)
        assert record.label_propensity == (SHARE if record.prediction else 1.0)
        assert answers[record.request_id]["action"] == told(record)
        assert answers[record.request_id]["purchase_prediction"] == record.prediction
        given_by[record.variant, record.is_fallback] += record.is_explored
    assert set(given_by) == {("champion", False), ("champion", True), ("canary", False)}
    assert min(given_by.values()) > 0
    found.metrics.flush()
    for variant in ("champion", "canary"):
        counted = found.registry.get_sample_value("explored_total", {"model_variant": variant})
        assert counted == sum(n for (by, _), n in given_by.items() if by == variant)


def test_a_retry_with_its_key_is_told_the_same_by_a_worker_that_never_saw_it(tmp_path: Path) -> None:
    first, second = exploring(tmp_path / "a", share=0.0), exploring(tmp_path / "b", share=0.0)

    async def ask(found: OneWorker) -> list[dict[str, Any]]:
        alone = [await found.answer(body, key=f"key-{index}") for index, body in enumerate(BODIES)]
        return [*alone, *await found.batch(BODIES, key="all")]

    answers = asyncio.run(ask(first))
    untimed = [{**answer, "timestamp": ""} for answer in answers]
    assert [{**answer, "timestamp": ""} for answer in asyncio.run(ask(second))] == untimed
    assert asyncio.run(ask(first)) == answers
    assert len(first.records()) == len(answers)


def test_where_nothing_is_explored_every_outcome_can_be_seen(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    found = OneWorker(tmp_path, line_bundle(bundles), line_bundle(bundles))
    (answer, *_) = asyncio.run(found.batch(BODIES))
    assert "action" not in answer
    assert {(record.is_explored, record.label_propensity) for record in found.records()} == {(False, 1.0)}
    assert found.counted()["explored_total"] == 0


@dataclass(frozen=True)
class Exploring:
    """A service of two workers, and a connection to each."""

    service: RunningService
    layout: Layout
    clients: list[httpx.Client]

    def ask(self, turn: int) -> list[bytes]:
        """Answers to the keyed requests, which the workers take by turns."""
        bodies = []
        for index, body in enumerate(BODIES):
            client = self.clients[(index + turn) % len(self.clients)]
            response = client.post("/predict", json=body, headers={"Idempotency-Key": f"visit-{index}"})
            assert response.status_code == 200, response.text
            bodies.append(response.content)
        return bodies


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exploring]:
    """The service that the tests of this module share."""
    settings = settings_at(tmp_path_factory.mktemp("exploring"))
    deploy(settings.layout, line_bundle(settings.layout.bundles))
    with (
        running_service(settings, shop.EXPLORING_NAME, free_port(), 2, shadow=False, guard=False) as running,
        ExitStack() as stack,
    ):
        wait_until(lambda: len(running.worker_pids) == 2, "two workers")
        clients = [connected_to(running.url, pid, stack) for pid in running.worker_pids]
        yield Exploring(running, settings.layout, clients)


def connected_to(url: str, pid: int, stack: ExitStack) -> httpx.Client:
    """A connection that one worker accepted."""
    for _ in ticks(60.0, pause_s=0.01):
        client = stack.enter_context(httpx.Client(base_url=url, timeout=60.0))
        model = client.get("/model")
        if model.status_code == 200 and model.json()["worker_pid"] == pid:
            return client
    raise AssertionError(f"worker {pid} accepts no connection")


@pytest.mark.processes
def test_a_service_allows_what_it_explores_logs_it_and_all_workers_agree(service: Exploring) -> None:
    answers = service.ask(turn=0)
    assert service.ask(turn=1) == answers
    records = {record.request_id: record for record in predictions(service.layout)}
    assert len(records) == len(predictions(service.layout)) == N_REQUESTS
    segments = service.layout.log("predictions", "shop").rglob("*.jsonl")
    assert {int(path.name.partition("-")[0]) for path in segments} == set(service.service.worker_pids)
    for answer in map(json.loads, answers):
        record = records[answer["request_id"]]
        assert (answer["action"], answer["purchase_prediction"]) == (told(record), record.prediction)
        assert RULE.exposure(record.request_id, record.prediction) == (record.is_explored, record.label_propensity)
    n_positive = sum(record.prediction for record in records.values())
    n_explored = sum(record.is_explored for record in records.values())
    assert stats.binomtest(n_explored, n_positive, SHARE).pvalue > 0.001
    shown = service.clients[0].get("/monitoring/stats").json()
    assert shown["exploration"] == {"share": SHARE, "explored": n_explored, "explored_share": n_explored / n_positive}
    metrics = service.clients[1].get("/metrics").text
    assert f'explored_total{{model_variant="champion"}} {float(n_explored)}' in metrics


@pytest.mark.processes
def test_the_document_explains_the_action_and_holds_for_the_answers(service: Exploring) -> None:
    document = service.clients[0].get("/openapi.json").json()
    action = document["components"]["schemas"]["Answer"]["properties"]["action"]
    assert action["enum"] == ["allow", "block"]
    assert "25 %" in action["description"]
    assert "exploration" in document["components"]["schemas"]["MonitoringStats"]["required"]
