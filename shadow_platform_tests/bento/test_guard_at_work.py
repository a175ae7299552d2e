"""A running service takes back what breaches its objectives by itself, once, while every caller gets an answer."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from bento.serve import RunningService, free_port, running_service
from shadow_platform.cli import typer_app
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import USE_CASE, body_of, wait_until
from shadow_platform_tests.bento.registered import FAILING, GOOD, SLOW, RegisteredShop

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RegisteredShop, RunningService]]:
    home = RegisteredShop(tmp_path_factory.mktemp("guarded"))
    with running_service(home.settings, shop.NAME, free_port(), shadow=False) as service:
        yield home, service


@contextmanager
def callers(service: RunningService, statuses: Counter[int], n: int = 4) -> Iterator[None]:
    stopped = threading.Event()

    def call(index: int) -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            while not stopped.is_set():
                statuses[client.post("/predict", json=body_of(index)).status_code] += 1
                index += n

    threads = [threading.Thread(target=call, args=(index,)) for index in range(n)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def audited(home: RegisteredShop, generation: int, n: int = 1) -> list[dict[str, Any]]:
    """Audit rows of the guard from a generation on, which follow its change."""
    wait_until(lambda: len(home.by_guard(generation)) >= n, "the change is on record")
    return home.by_guard(generation)


@pytest.mark.parametrize(("version", "fault"), [(SLOW, "answers slower"), (FAILING, "requests failed")])
def test_a_bad_canary_is_halted_once_and_no_caller_meets_a_failure(
    version: str, fault: str, served: tuple[RegisteredShop, RunningService]
) -> None:
    home, service = served
    home.change("add_challenger", version=version)
    started = home.change("start_canary", version=version, share=0.5)
    statuses: Counter[int] = Counter()
    with callers(service, statuses):
        wait_until(lambda: home.manifest.generation > started.generation, "the guard acts", 150.0)
        halted = home.manifest
        n_before = statuses.total()
        wait_until(lambda: statuses.total() > n_before + 100, "more requests after the halt")
    assert halted.canary is not None
    assert (halted.canary.share, halted.champion.version) == (0.0, GOOD)
    assert fault in str(halted.canary.halted_reason)
    assert set(statuses) == {200}
    assert home.manifest == halted
    (row,) = audited(home, started.generation)
    assert (row["alias"], row["from_version"], row["to_version"]) == ("canary", version, None)
    home.reconcile()
    assert home.registry.alias(USE_CASE, "canary") is None


def test_a_guard_that_was_killed_is_started_again_and_halts_what_it_missed(
    served: tuple[RegisteredShop, RunningService],
) -> None:
    """The canary was halted before: a person may start it again, and it is halted again."""
    home, service = served
    home.change("add_challenger", version=FAILING)
    started = home.change("start_canary", version=FAILING, share=1.0)
    with httpx.Client(base_url=service.url, timeout=60) as client:
        wait_until(lambda: client.get("/model").json()["generation"] == started.generation, "the canary answers")
        killed = service.guard_pid
        os.kill(killed, signal.SIGKILL)
        assert {client.post("/predict", json=body_of(index)).status_code for index in range(100)} == {200}
    wait_until(lambda: home.manifest.generation > started.generation, "the guard acts", 150.0)
    assert service.guard_pid != killed
    assert len(audited(home, started.generation)) == 1


def test_a_command_returns_when_the_running_workers_answer_with_its_change(
    served: tuple[RegisteredShop, RunningService], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, service = served
    monkeypatch.setenv("SHADOW_HOME", str(home.layout.home))
    for command in ("promote 3 --reason try --probation 0", "rollback --reason enough"):
        done = CliRunner().invoke(typer_app, [*command.split(), "--use-case", shop.NAME])
        assert done.exit_code == 0, done.output
        assert all(str(pid) in done.output for pid in service.worker_pids)
        with httpx.Client(base_url=service.url, timeout=60) as client:
            told = client.get("/model").json()
        assert (told["generation"], told["champion"]["version"]) == (
            home.manifest.generation,
            home.manifest.champion.version,
        )


def test_a_slow_champion_is_rolled_back_while_the_registry_is_away_and_the_alias_follows(
    served: tuple[RegisteredShop, RunningService],
) -> None:
    home, service = served
    promoted = home.change("promote", version=SLOW, probation_s=600.0)
    statuses: Counter[int] = Counter()
    with home.without_registry(), callers(service, statuses):
        wait_until(lambda: home.manifest.generation > promoted.generation, "the guard acts", 150.0)
        with httpx.Client(base_url=service.url, timeout=60) as client:
            wait_until(lambda: client.get("/model").json()["champion"]["version"] == GOOD, "the old one answers")
    assert set(statuses) == {200}
    assert home.registry.alias(USE_CASE, "champion") == SLOW
    assert home.reconcile() == home.manifest
    assert home.manifest.champion.version == home.registry.alias(USE_CASE, "champion") == GOOD
    assert home.registry.alias(USE_CASE, "previous") == SLOW
    rows = audited(home, promoted.generation, n=2)
    assert [(row["alias"], row["to_version"]) for row in rows] == [("champion", GOOD), ("previous", SLOW)]
    assert "answers slower" in rows[0]["reason"]
