"""A real daemon that dies where a run can be lost, and is started again: every request is answered exactly once."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.asking import (
    BY_DAY,
    answers,
    ask_everything,
    daemon_home,
    is_answered,
    nights_since,
)
from shadow_platform_tests.conftest import StartProcess

DAEMON = ["-m", "shadow_platform_tests.automation.dying_daemon"]
LOCATION = "shadow_platform_tests.automation.location"
pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
PATIENCE_S = 360


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The persistent instance that the daemon uses too."""
    monkeypatch.setenv("DAGSTER_HOME", str(daemon_home(tmp_path / "dagster", poll_s=2)))
    with dg.DagsterInstance.get() as made:
        yield made


def _n_ticks(instance: dg.DagsterInstance) -> int:
    states = instance.all_instigator_state()
    return sum(len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states)


def test_each_request_is_answered_once_though_the_daemon_dies_with_its_runs(
    instance: dg.DagsterInstance, layout: Layout, start_process: StartProcess
) -> None:
    """Drift, performance, data and the night ask. One daemon dies before it submits a run, one with a run begun."""
    ask_everything(layout, instance)
    today = datetime.now(UTC).date()
    assert start_process([*DAEMON, "created", LOCATION]).process.wait(PATIENCE_S) == -signal.SIGKILL
    daemon = start_process([*DAEMON, "never", LOCATION])
    began = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    daemon.wait_until(lambda: instance.get_runs_count(began) > 0, "a run that began", PATIENCE_S)
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()

    daemon = start_process([*DAEMON, "never", LOCATION])

    def is_all_answered() -> bool:
        return any(is_answered(instance, {*BY_DAY, night}) for night in nights_since(today))

    daemon.wait_until(is_all_answered, "an answer to every request", PATIENCE_S)
    ticks = _n_ticks(instance)
    daemon.wait_until(lambda: _n_ticks(instance) >= ticks + 5, "five more ticks", PATIENCE_S)
    found = answers(instance)
    assert found == dict.fromkeys({*BY_DAY, *found.keys() & set(nights_since(today))}, 1)
