"""A real daemon, killed and started again: every failing evaluation starts exactly one run."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from shadow_platform.automation.requests import TRIGGER_ID_TAG
from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform_tests.automation.verdicts import report_performance, report_verdict
from shadow_platform_tests.conftest import StartProcess

DAEMON = ["-m", "dagster._daemon", "run", "-m", "shadow_platform_tests.automation.location"]
pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
PATIENCE_S = 120


@pytest.fixture
def instance(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The persistent instance that the daemon uses too."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copyfile(repository / "shadow_platform" / "dagster.yaml", home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as made:
        yield made


def _evaluations(instance: dg.DagsterInstance) -> list[str]:
    return sorted(run.tags[TRIGGER_ID_TAG] for run in instance.get_runs())


def _has_finished(instance: dg.DagsterInstance, evaluation_id: str) -> bool:
    runs = instance.get_runs(dg.RunsFilter(tags={TRIGGER_ID_TAG: evaluation_id}))
    return [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]


def _n_ticks(instance: dg.DagsterInstance) -> int:
    states = instance.all_instigator_state()
    return sum(len(instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states)


def test_each_failing_evaluation_starts_one_run_however_often_the_daemon_is_killed(
    instance: dg.DagsterInstance, start_process: StartProcess
) -> None:
    report_verdict(instance, 0, "pass")
    report_verdict(instance, 1)
    daemon = start_process(DAEMON)
    daemon.wait_until(lambda: _evaluations(instance) == ["e1"], "a run for the first failure", PATIENCE_S)
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        instance.report_run_canceled(run)

    report_verdict(instance, 2)
    report_verdict(instance, 2)
    daemon = start_process(DAEMON)
    daemon.wait_until(lambda: _has_finished(instance, "e2"), "a finished run for the second failure", PATIENCE_S)
    report_performance(instance, 2)
    report_performance(instance, 3)
    daemon.wait_until(lambda: _has_finished(instance, "p3"), "a finished run for the performance verdict", PATIENCE_S)
    ticks = _n_ticks(instance)
    daemon.wait_until(lambda: _n_ticks(instance) >= ticks + 3, "three more ticks", PATIENCE_S)
    assert _evaluations(instance) == ["e1", "e2", "p3"]
