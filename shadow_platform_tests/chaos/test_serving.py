"""What callers and the logs may rely on when processes die, challengers misbehave, or space runs out."""

import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from bento.serve import RunningService, free_port, running_service
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle, raising_bundle, slow_bundle
from shadow_platform_tests.bento.helpers import (
    body_of,
    comparisons,
    deploy,
    outcomes,
    predictions,
    settings_at,
    wait_until,
)

pytestmark = pytest.mark.processes


@dataclass
class Load:
    """Requests from several callers, each repeating until told to stop; failures to connect are counted apart."""

    url: str
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unreachable: int = 0
    versions: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _ask(self, first: int) -> None:
        with httpx.Client(base_url=self.url, timeout=20.0) as client:
            index = first
            while not self._stop.is_set():
                index += 1
                try:
                    response = client.post("/predict", json=body_of(index))
                except httpx.TransportError:
                    self.unreachable += 1
                    time.sleep(0.02)
                    continue
                self.statuses[response.status_code] += 1
                if response.status_code == 200:
                    answer = response.json()
                    self.acknowledged.add(answer["request_id"])
                    self.versions.add(answer["model_version"])

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


def more_answers(load: Load, n: int) -> None:
    """Wait until this many more requests were answered."""
    goal = len(load.acknowledged) + n
    wait_until(lambda: len(load.acknowledged) >= goal, f"{n} more answers")


def gone(pid: int) -> bool:
    """Whether a process ended (a zombie has)."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def every_prediction_is_compared_once(layout: Layout, version: str) -> bool:
    """Whether the shadow log holds each logged prediction exactly once."""
    compared = Counter(record.request_id for record in comparisons(layout, version))
    assert set(compared.values()) <= {1}
    return len(compared) == len(predictions(layout))


@dataclass(frozen=True)
class Home:
    """A service under test and its folder."""

    service: RunningService
    settings: Settings

    @property
    def layout(self) -> Layout:
        """Where its logs are."""
        return self.settings.layout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A service with two workers, champion 1 and challenger 2."""
    settings = settings_at(tmp_path_factory.mktemp("chaos"))
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with running_service(settings, shop.NAME, free_port(), workers=2) as service:
        yield Home(service, settings)


def test_sigkill_of_serving_and_shadow_processes_loses_and_doubles_nothing(home: Home) -> None:
    load = Load(home.service.url)
    with load.running():
        for _ in range(2):
            more_answers(load, 100)
            shadow, worker = home.service.shadow_pid, home.service.worker_pids[0]
            os.kill(shadow, signal.SIGKILL)
            more_answers(load, 50)
            os.kill(worker, signal.SIGKILL)
            wait_until(
                lambda old=worker: old not in home.service.worker_pids and len(home.service.worker_pids) == 2,  # type: ignore[misc]
                "the worker is started again",
            )
            more_answers(load, 100)
    logged = Counter(record.request_id for record in predictions(home.layout))
    assert load.acknowledged <= set(logged)
    assert set(logged.values()) == {1}
    assert set(load.statuses) == {200}
    wait_until(lambda: every_prediction_is_compared_once(home.layout, "2"), "every prediction is compared once")


def test_a_shadow_worker_that_hangs_is_not_noticed_by_callers(home: Home) -> None:
    os.kill(home.service.shadow_pid, signal.SIGSTOP)
    try:
        load = Load(home.service.url)
        with load.running():
            more_answers(load, 300)
        assert set(load.statuses) == {200}
        assert load.unreachable == 0
    finally:
        os.kill(home.service.shadow_pid, signal.SIGCONT)
    wait_until(lambda: every_prediction_is_compared_once(home.layout, "2"), "it catches up")


def test_a_model_is_exchanged_under_load_without_a_failed_request(home: Home) -> None:
    digest = line_bundle(home.layout.bundles, slope=0.025)
    challenger = {"2": line_bundle(home.layout.bundles, slope=0.03)}
    load = Load(home.service.url)
    with load.running():
        for version in ("10", "11", "12"):
            more_answers(load, 50)
            deploy(home.layout, digest, challenger, version=version)
            wait_until(lambda v=version: v in load.versions, f"version {version} answers")  # type: ignore[misc]
            more_answers(load, 50)
    assert set(load.statuses) == {200}
    assert load.unreachable == 0


def test_a_bad_bundle_is_refused_and_the_old_model_goes_on(home: Home) -> None:
    good = line_bundle(home.layout.bundles, slope=0.026)
    bad = line_bundle(home.layout.bundles, slope=0.027)
    (home.layout.bundles / bad / "model.onnx").write_bytes(b"not a model")
    with httpx.Client(base_url=home.service.url) as client:
        before = client.get("/model").json()["champion"]["version"]
        for digest in (bad, "0" * 64):
            deploy(home.layout, digest, version="20")
            wait_until(lambda d=digest: d in client.get("/ready").text, "the refusal is shown")  # type: ignore[misc]
            assert client.get("/ready").json()["status"] == "degraded"
            assert client.post("/predict", json=body_of(1)).json()["model_version"] == before
        deploy(home.layout, good, version="21")
        wait_until(lambda: client.get("/model").json()["champion"]["version"] == "21", "a good bundle is taken")
        wait_until(lambda: client.get("/ready").json()["status"] == "ready", "the refusal is gone")


def test_a_full_disk_is_503_and_never_an_unlogged_answer(home: Home) -> None:
    workers = home.service.worker_pids
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    before = len(predictions(home.layout))
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        with httpx.Client(base_url=home.service.url) as client:
            for path, body in (("/predict", body_of(1)), ("/predict/batch", [body_of(1), body_of(2)])):
                response = client.post(path, json=body)
                assert response.status_code == 503
                assert response.headers["content-type"] == "application/problem+json"
                assert response.json()["type"].endswith("log-unavailable")
                assert "free space on the device" in response.json()["detail"]
            wait_until(lambda: client.get("/ready").status_code == 503, "readiness says so")
            assert "log:" in client.get("/ready").json()["detail"]
    finally:
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    assert len(predictions(home.layout)) == before
    with httpx.Client(base_url=home.service.url) as client:
        wait_until(lambda: client.get("/ready").status_code == 200, "it is ready again")
        assert client.post("/predict", json=body_of(1)).status_code == 200


def test_sigkill_of_the_server_is_healed_on_the_same_port(home: Home) -> None:
    server, workers = home.service.server_pid, home.service.worker_pids
    load = Load(home.service.url)
    with load.running(2):
        more_answers(load, 50)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: all(map(gone, workers)), "orphaned workers end")
        more_answers(load, 100)
    logged = Counter(record.request_id for record in predictions(home.layout))
    assert load.acknowledged <= set(logged)
    assert set(logged.values()) == {1}
    assert set(load.statuses) == {200}
    assert home.service.server_pid != server


def _answers(settings: Settings, challengers: dict[str, str], *, shadow: bool) -> tuple[list[float], Path]:
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), challengers)
    with (
        running_service(settings, shop.NAME, free_port(), shadow=shadow) as service,
        httpx.Client(base_url=service.url) as client,
    ):
        answers = [client.post("/predict", json=body_of(index)) for index in range(60)]
        assert {answer.status_code for answer in answers} == {200}
        if shadow and challengers:
            wait_until(lambda: sum(outcomes(layout, "2").values()) == 60, "every prediction has one record", 60.0)
    return [answer.json()["purchase_probability"] for answer in answers], layout.home


MISBEHAVING: dict[str, Callable[[Path], str]] = {"slow": slow_bundle, "raising": raising_bundle}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """What the champion answers without a challenger or a shadow worker."""
    return _answers(settings_at(tmp_path_factory.mktemp("alone")), {}, shadow=False)[0]


@pytest.mark.parametrize("kind", MISBEHAVING)
def test_the_champion_answers_the_same_beside_a_misbehaving_challenger(
    kind: str, alone: list[float], tmp_path: Path
) -> None:
    settings = settings_at(tmp_path)
    answers, _ = _answers(settings, {"2": MISBEHAVING[kind](settings.layout.bundles)}, shadow=True)
    assert answers == alone
    found = outcomes(settings.layout, "2")
    assert found["compared"] + found["failed"] == 60
    assert (found["failed"] > 0) == (kind == "raising")
