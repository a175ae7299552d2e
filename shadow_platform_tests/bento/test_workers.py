"""Several workers of one service: each answers from the manifest, and they tell, count and remember as one."""

import json
import math
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from bento.serve import RunningService, free_port, running_service
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.deployment.worker_states import converged, live_workers
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.callers import N_IN_FLIGHT, Callers
from shadow_platform_tests.bento.helpers import USE_CASE, body_of, deploy, predictions, settings_at, ticks, wait_until
from shadow_platform_tests.bento.predictors import set_canary

pytestmark = pytest.mark.processes

N_WORKERS = 4
SLOPES = (0.02, 0.05, 0.08)
"""The bundle of version n has slope ``SLOPES[n % 3]``."""
CODES = {"mail": 1, "search": 2, "shop": 3}


def slope_of(version: str) -> float:
    return SLOPES[int(version) % len(SLOPES)]


def expected(version: str, body: dict[str, Any]) -> float:
    """What the model of a version says."""
    return 1.0 / (1.0 + math.exp(1.0 - slope_of(version) * body["cart_value"] - 0.1 * CODES[body["channel"]]))


@dataclass(frozen=True)
class Workers:
    """A service of four workers and its folder."""

    service: RunningService
    layout: Layout
    client: httpx.Client

    def deploy(self, version: int, challenger: int | None = None) -> None:
        """Write the next manifest."""
        challengers = {} if challenger is None else {str(challenger): self.bundle(challenger)}
        deploy(self.layout, self.bundle(version), challengers, version=str(version))

    def bundle(self, version: int) -> str:
        """Hash of a version's bundle."""
        return line_bundle(self.layout.bundles, slope=slope_of(str(version)))

    def generation(self) -> int:
        """Of the manifest in force."""
        manifest = read_manifest(self.layout.manifest(USE_CASE))
        assert manifest is not None
        return manifest.generation

    def wait_converged(self) -> None:
        """Wait until all four workers answer from the manifest in force."""
        generation = self.generation()
        wait_until(lambda: self.is_converged(generation), f"all workers have generation {generation}")

    def is_converged(self, generation: int) -> bool:
        """Whether four live workers have it."""
        now = datetime.now(UTC)
        return converged(self.layout, USE_CASE, generation, now) and len(live_workers(self.layout, USE_CASE, now)) == 4

    def get(self, path: str) -> dict[str, Any]:
        """Document of a route, from whichever worker accepts."""
        document: dict[str, Any] = self.client.get(path).json()
        return document

    def sample(self, name: str) -> float:
        """Sum of a metric over its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    @contextmanager
    def connected_to(self, pid: int) -> Iterator[httpx.Client]:
        """A connection that one worker accepted."""
        for _ in ticks(60.0, pause_s=0.0):
            with httpx.Client(base_url=self.service.url, timeout=60.0, verify=False) as client:
                if client.get("/model").json()["worker_pid"] == pid:
                    yield client
                    return
        raise AssertionError(f"worker {pid} accepts no connection")


def fresh_connections(url: str) -> httpx.Client:
    """A client whose every request may meet another worker."""
    return httpx.Client(base_url=url, timeout=60.0, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass
class Load:
    """Callers who check every answer against the version it names, each request on a new connection."""

    url: str
    answered_by: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def versions(self) -> Counter[str]:
        """Answers so far by the version that gave them."""
        return Counter(self.answered_by.copy())

    @contextmanager
    def running(self, n_callers: int = 4) -> Iterator["Load"]:
        threads = [threading.Thread(target=self._ask, args=(n * 1000,)) for n in range(n_callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, index: int) -> None:
        with fresh_connections(self.url) as client:
            while not self._stop.is_set():
                index += 1
                self._check(client, body_of(index))

    def _check(self, client: httpx.Client, body: dict[str, Any]) -> None:
        try:
            response = client.post("/predict", json=body)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            self.wrong.append(repr(error))
            return
        if response.status_code != 200:
            self.wrong.append(response.text)
        elif abs(answer["purchase_probability"] - expected(answer["model_version"], body)) > 1e-5:
            self.wrong.append(f"{body}: {answer}")
        else:
            self.answered_by.append(answer["model_version"])


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Four workers with champion 1."""
    settings = settings_at(tmp_path_factory.mktemp("workers"))
    deploy(settings.layout, line_bundle(settings.layout.bundles, slope=slope_of("1")))
    with (
        running_service(settings, shop.NAME, free_port(), N_WORKERS, shadow=False, guard=False) as service,
        fresh_connections(service.url) as client,
    ):
        found = Workers(service, settings.layout, client)
        found.wait_converged()
        yield found


def test_every_worker_says_what_it_serves(workers: Workers) -> None:
    model = workers.get("/model")
    assert model["is_converged"]
    assert {worker["pid"] for worker in model["workers"]} == set(workers.service.worker_pids)
    assert {worker["champion_version"] for worker in model["workers"]} == {"1"}
    assert model["worker_pid"] in workers.service.worker_pids


def test_promotions_and_rollbacks_under_load_fail_nobody_and_no_answer_is_of_another_model(workers: Workers) -> None:
    load = Load(workers.service.url)
    with load.running():
        for version in (2, 1, 3, 1, 2):
            workers.deploy(version, challenger=version + 10)
            if version != 1:
                set_canary(workers.layout, 0.4)
            workers.wait_converged()
            wanted = {str(version)} | ({str(version + 10)} if version != 1 else set())
            before = load.versions
            wait_until(lambda b=before, w=wanted: w <= set(load.versions - b), f"{wanted} answer")  # type: ignore[misc]
    assert load.wrong == []
    logged = Counter(record.model_version for record in predictions(workers.layout))
    assert logged == load.versions


def test_a_corrupt_bundle_is_refused_by_every_worker_loudly_until_it_is_whole(workers: Workers) -> None:
    workers.deploy(1)
    workers.wait_converged()
    generation = workers.generation()
    digest = line_bundle(workers.layout.bundles, slope=0.07)
    file = workers.layout.bundles / digest / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    deploy(workers.layout, digest, version="7")
    wait_until(lambda: len(_refusing(workers)) == N_WORKERS, "every worker refuses")
    assert workers.sample("model_refused ") == N_WORKERS
    model, ready = workers.get("/model"), workers.get("/ready")
    assert (model["champion"]["version"], model["generation"], model["is_converged"]) == ("1", generation, False)
    assert {digest in worker["refusal"] for worker in model["workers"]} == {True}
    assert ready["status"] == "degraded"
    assert workers.client.post("/predict", json=body_of(1)).json()["model_version"] == "1"
    assert workers.service.output.read_text().count("manifest refused, version 1 stays") == N_WORKERS
    file.write_bytes(whole)
    workers.wait_converged()
    assert workers.get("/model")["champion"]["version"] == "7"
    assert workers.sample("model_refused ") == 0


def test_a_canary_with_a_corrupt_bundle_does_not_keep_the_champion_out(workers: Workers) -> None:
    digest = line_bundle(workers.layout.bundles, slope=0.09)
    (workers.layout.bundles / digest / "selftest.json").write_text("[]")
    deploy(workers.layout, workers.bundle(1), {"9": digest}, version="1")
    set_canary(workers.layout, 1.0)
    workers.wait_converged()
    model = workers.get("/model")
    assert (model["champion"]["version"], model["canary"]["is_answering"]) == ("1", False)
    assert {"canary 9 refused" in worker["refusal"] for worker in model["workers"]} == {True}
    assert workers.sample("model_refused ") == N_WORKERS
    answers = [workers.client.post("/predict", json=body_of(i)).json() for i in range(8)]
    assert {answer["model_version"] for answer in answers} == {"1"}
    workers.deploy(1)
    wait_until(lambda: workers.sample("model_refused ") == 0, "the refusal is gone")


def test_a_key_is_answered_and_logged_once_by_all_workers_together(workers: Workers) -> None:
    keys = [f"together-{i}" for i in range(15)]

    def ask(key: str) -> tuple[str, str]:
        body = body_of(keys.index(key))
        return key, workers.client.post("/predict", json=body, headers={"Idempotency-Key": key}).text

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(ask, keys * 12))
    ids = {json.loads(text)["request_id"] for _, text in answers}
    logged = Counter(record.request_id for record in predictions(workers.layout))
    assert len(answers) == len(ids) == len(keys)
    assert {logged[request_id] for request_id in ids} == {1}
    other = workers.client.post("/predict", json=body_of(99), headers={"Idempotency-Key": keys[0]})
    assert other.status_code == 422


def test_a_worker_that_is_told_to_end_fails_none_of_its_requests_and_is_replaced(workers: Workers) -> None:
    service, n_before = workers.service, len(predictions(workers.layout))
    with closing(Callers(service.url)) as connections:
        callers = connections.begun()
        pid = callers[0].worker_pid
        idle = connections.of(pid)
        os.kill(pid, signal.SIGTERM)
        idle.wait_closed()
        assert connections.one().worker_pid != pid
        ids = {caller.finish() for caller in callers}
        wait_until(lambda: pid not in _live(workers) and len(_live(workers)) == N_WORKERS, "it is replaced")
    logged = predictions(workers.layout)
    assert ids <= {record.request_id for record in logged}
    assert len(logged) == n_before + N_IN_FLIGHT


def test_a_killed_worker_is_forgotten_and_its_answers_and_counts_are_not(workers: Workers) -> None:
    headers, before = {"Idempotency-Key": "outlives"}, set(workers.service.worker_pids)
    killed = before.pop()
    with workers.connected_to(killed) as client:
        answer = client.post("/predict", json=body_of(1), headers=headers).text
    counted = float(len(predictions(workers.layout)))
    wait_until(lambda: workers.sample("predictions_total") == counted, "every answer is counted")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in _live(workers), "the killed worker is not taken for live")
    wait_until(lambda: len(_live(workers)) == N_WORKERS, "another takes its place")
    (born,) = _live(workers) - before
    with workers.connected_to(born) as client:
        assert client.post("/predict", json=body_of(1), headers=headers).text == answer
    assert {worker["pid"] for worker in workers.get("/model")["workers"]} == before | {born}
    assert workers.sample("predictions_total") == counted
    assert len(predictions(workers.layout)) == counted
    assert workers.sample("model_info") == 1


def _live(workers: Workers) -> set[int]:
    return {state.pid for state in live_workers(workers.layout, USE_CASE, datetime.now(UTC))}


def _refusing(workers: Workers) -> set[int]:
    """Workers that told the others of a refusal."""
    told = live_workers(workers.layout, USE_CASE, datetime.now(UTC))
    return {state.pid for state in told if state.refusal is not None}
