"""Commands that change the deployment: what they do, tell and return, with and without registry and workers."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.adapters.deployment import is_registry_behind, worker_states
from shadow_platform.adapters.deployment.worker_states import remove_worker_state, write_worker_state
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.cli import deploying, typer_app
from shadow_platform.contracts.deployment import WorkerState
from shadow_platform.contracts.errors import RegistryError
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import USE_CASE
from shadow_platform_tests.bento.registered import FAILING, GOOD, SLOW, RegisteredShop

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> RegisteredShop:
    """Making a registry takes seconds, so the tests share one."""
    return RegisteredShop(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def home(registered: RegisteredShop, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegisteredShop]:
    """Champion 1, challengers 3 and 2, no canary, no worker."""
    monkeypatch.setenv("SHADOW_HOME", str(registered.layout.home))
    monkeypatch.setenv("COLUMNS", "200")
    if registered.manifest.champion.version != GOOD:
        registered.change("promote", version=GOOD)
    for version in (SLOW, FAILING):
        registered.change("remove_challenger", version=version)
        registered.change("add_challenger", version=version)
    yield registered
    remove_worker_state(registered.layout, USE_CASE, os.getpid())


@pytest.fixture
def shadow(home: RegisteredShop, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow``; what it prints is in ``output``."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(typer_app, [*arguments, "--use-case", shop.NAME])

    return run


def worker(
    home: RegisteredShop, generation: int, refusal: str | None = None, refused: tuple[int, str] | None = None
) -> None:
    """This process passes for a worker that has loaded a generation, and refuses a version of a generation."""
    now = datetime.now(UTC)
    state = WorkerState(
        pid=os.getpid(),
        generation=generation,
        champion_version=GOOD,
        canary_version=None,
        refusal=refusal,
        refused_generation=refused and refused[0],
        refused_version=refused and refused[1],
        loaded_at=now,
        seen_at=now + timedelta(minutes=1),
    )
    write_worker_state(home.layout, USE_CASE, state)


def test_a_canary_is_started_raised_shown_and_stopped(home: RegisteredShop, shadow: Command) -> None:
    assert "canary is version 2 with 5.0%" in shadow("canary", "start", SLOW, "--no-wait").output
    assert "canary is version 2 with 50.0%" in shadow("canary", "share", "0.5", "--no-wait").output
    status = shadow("canary", "status").output
    assert "insufficient: 0 of the 200 requests" in status
    assert "50.0%" in status
    stopped = shadow("canary", "stop", "--reason", "slow at noon")
    assert (stopped.exit_code, "no worker runs on this machine" in stopped.output) == (0, True)
    assert "no canary answers; the last one, version 2, ended: slow at noon" in shadow("canary", "status").output
    assert home.manifest.canary is not None
    assert home.manifest.canary.share == 0.0
    with pytest.raises(RegistryError, match="no canary of shop answers; the last one, version 2, ended: slow at noon"):
        raise shadow("canary", "stop", "--reason", "again").exception or AssertionError


def test_a_canary_of_the_setting_is_shown_and_stopped(
    home: RegisteredShop, shadow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_SPLIT", "0.1")
    assert "in force by CANARY_SPLIT" in shadow("canary", "status").output
    shadow("canary", "stop", "--reason", "enough")
    assert "ended: enough" in shadow("canary", "status").output
    assert home.manifest.canary is not None
    assert home.manifest.canary.model.version == home.manifest.challengers[0].version


def test_promotion_begins_a_probation_and_rollback_needs_no_registry(home: RegisteredShop, shadow: Command) -> None:
    promoted = shadow("promote", SLOW, "--reason", "better", "--probation", "600")
    assert promoted.exit_code == 0, promoted.output
    assert f"champion is version {SLOW}, on probation until" in promoted.output
    assert "on probation for another" in shadow("canary", "status").output
    with home.without_registry():
        back = shadow("rollback", "--reason", "worse")
        assert back.exit_code == 0, back.output
        assert f"champion is version {GOOD}" in back.output
        assert "run `shadow models reconcile` once it answers" in shadow("canary", "status").output
    assert f"agree: champion {GOOD}" in shadow("models", "reconcile").output
    assert home.registry.alias(USE_CASE, "champion") == home.manifest.champion.version == GOOD
    assert not is_registry_behind(home.layout, USE_CASE)


def test_a_rollback_by_hand_imports_nothing_heavy_before_the_workers_answer(home: RegisteredShop) -> None:
    """Dagster, MLflow and a product's tools take seconds to import, and the bad champion answers meanwhile."""
    home.change("promote", version=SLOW)
    script = f"""if True:
        import sys
        from shadow_platform.cli import deploying, typer_app
        deploying._reconcile = lambda use_case: None
        typer_app(["rollback", "-u", {USE_CASE!r}, "--reason", "worse"], standalone_mode=False)
        print("imported", sorted({{"dagster", "mlflow", "numpy", "pandas", "sklearn"}} & sys.modules.keys()))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=150)
    assert "imported []" in done.stdout, done.stdout + done.stderr
    assert home.manifest.champion.version == GOOD
    home.reconcile()


def test_a_change_waits_until_every_worker_answers_with_it(home: RegisteredShop, shadow: Command) -> None:
    worker(home, home.manifest.generation)
    answered = threading.Event()

    def follow() -> None:
        while not answered.wait(0.2):
            worker(home, home.manifest.generation)

    thread = threading.Thread(target=follow)
    thread.start()
    done = shadow("canary", "start", SLOW)
    answered.set()
    thread.join()
    assert done.exit_code == 0, done.output
    assert re.search(rf"{os.getpid()}\s+│ {home.manifest.generation}\s+│ {GOOD} ", done.output)


@pytest.mark.parametrize(
    ("refusal", "said"), [("bundle is corrupt", "refused: bundle is corrupt"), (None, "not every worker answers")]
)
def test_a_worker_that_does_not_follow_is_told_with_exit_code_1(
    refusal: str | None, said: str, home: RegisteredShop, shadow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploying, "TIMEOUT_S", 0.2)
    generation = home.manifest.generation
    worker(home, generation, refusal, refused=(generation + 1, SLOW) if refusal else None)
    done = shadow("canary", "start", SLOW)
    assert done.exit_code == 1
    assert said in done.output


def test_what_a_worker_refused_before_a_rollback_says_nothing_of_it(
    home: RegisteredShop, shadow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.change("promote", version=SLOW)
    refused = home.manifest.generation
    worker(home, refused - 1, "bundle is corrupt", refused=(refused, SLOW))

    def live_workers(*arguments: Any) -> Any:
        """A worker follows behind the first look, as those that serve do."""
        found = worker_states.live_workers(*arguments)
        worker(home, home.manifest.generation)
        return found

    monkeypatch.setattr(deploying, "live_workers", live_workers)
    done = shadow("rollback", "--reason", "refused")
    assert (done.exit_code, "refused: " in done.output) == (0, False), done.output


def test_a_refused_canary_of_the_setting_does_not_make_a_promotion_fail(home: RegisteredShop, shadow: Command) -> None:
    worker(home, home.manifest.generation + 1, "canary 3 refused", refused=(home.manifest.generation + 1, FAILING))
    done = shadow("promote", SLOW, "--reason", "better")
    assert (done.exit_code, "refused: canary 3 refused" in done.output) == (0, True), done.output


def test_an_audit_row_that_a_repair_appended_again_is_shown_once(home: RegisteredShop, shadow: Command) -> None:
    before = shadow("models", "history").output
    log = home.layout.log("transitions", USE_CASE)
    lines = [json.loads(line.payload) for line in FileLogSource(log).read({})]
    with closing(FileLogSink(log)) as audit:
        audit.append_many(lines[:2])
    assert shadow("models", "history").output == before
    assert before.count(lines[0]["reason"]) >= 1


@pytest.mark.parametrize("command", ["serve", "promote", "rollback", "canary start", "canary stop", "canary status"])
def test_every_command_says_what_it_does(command: str) -> None:
    shown = CliRunner().invoke(typer_app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 8
