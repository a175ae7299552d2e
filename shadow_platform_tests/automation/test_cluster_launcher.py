"""The cluster's launcher asks for the jobs of its runs, and leaves runs of commands to their beats."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from shadow_platform.automation.pulse import LOOKS
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG
from shadow_platform_tests.automation.cluster import Cluster, cluster

IN_PLACE = {HOST_TAG: "shadow-worker-6f7c", BEAT_TAG: "0"}
WORKSPACE: Any = None


@dg.job
def idle() -> None:
    """A job that can be launched."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without a job."""
    with cluster(tmp_path) as made:
        yield made


def _started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    run: dg.DagsterRun = create_run_for_test(instance, tags=tags, status=dg.DagsterRunStatus.STARTED)
    return run


def _watched(instance: dg.DagsterInstance, run_id: str, times: int = 1) -> dg.DagsterRunStatus:
    """Status of a run after run monitoring has looked at it."""
    for _ in range(times):
        record = instance.get_run_record_by_id(run_id)
        assert record is not None
        monitor_started_run(instance, WORKSPACE, record, logging.getLogger("dagster.daemon"))
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("launcher", "status"), [("ours", dg.DagsterRunStatus.STARTED), ("dagster's", dg.DagsterRunStatus.FAILURE)]
)
def test_a_run_in_the_process_of_a_command_is_not_failed_for_having_no_job(
    api: Cluster, launcher: str, status: dg.DagsterRunStatus
) -> None:
    with api.instance(launcher) as instance:
        run = _started(instance, **IN_PLACE)
        assert _watched(instance, run.run_id) is status


def test_a_run_whose_job_is_gone_fails(api: Cluster) -> None:
    with api.instance("ours") as instance:
        run = _started(instance)
        assert _watched(instance, run.run_id) is dg.DagsterRunStatus.FAILURE
    assert any(f"dagster-run-{run.run_id}" in path for path in api.asked)


def test_a_run_of_a_command_that_gives_no_sign_of_life_any_more_fails(api: Cluster) -> None:
    with api.instance("ours") as instance:
        run = _started(instance, **IN_PLACE)
        assert _watched(instance, run.run_id, LOOKS) is dg.DagsterRunStatus.STARTED
        instance.add_run_tags(run.run_id, {BEAT_TAG: "1"})
        assert _watched(instance, run.run_id, LOOKS) is dg.DagsterRunStatus.STARTED
        assert _watched(instance, run.run_id) is dg.DagsterRunStatus.FAILURE
        (event,) = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert IN_PLACE[HOST_TAG] in event.event_log_entry.message
    assert api.asked == []


def test_a_run_that_repeats_one_of_a_command_is_a_job_like_any_other(api: Cluster) -> None:
    """What repeats a run takes over its tags."""
    with api.instance("ours") as instance:
        origin = dg.reconstructable(idle).get_python_origin()
        run = create_run_for_test(instance, tags=IN_PLACE, status=dg.DagsterRunStatus.STARTING, job_code_origin=origin)
        instance.run_launcher.launch_run(LaunchRunContext(run, WORKSPACE))
        launched = instance.get_run_by_id(run.run_id)
        assert launched is not None
        health = instance.run_launcher.check_run_worker_health(launched)
    assert [job["metadata"]["name"] for job in api.made] == [f"dagster-run-{run.run_id}"]
    assert "could not be found" in str(health.msg)


def test_a_run_of_a_command_is_not_said_to_be_canceled_while_it_goes_on(api: Cluster) -> None:
    with api.instance("ours") as instance:
        run = _started(instance, **IN_PLACE)
        assert not instance.run_launcher.terminate(run.run_id)
        assert _watched(instance, run.run_id) is dg.DagsterRunStatus.STARTED
        told = [entry.message for entry in instance.all_logs(run.run_id)]
        other = _started(instance)
        instance.run_launcher.terminate(other.run_id)
        canceled = instance.get_run_by_id(other.run_id)
    assert any(IN_PLACE[HOST_TAG] in line for line in told)
    assert canceled is not None
    assert canceled.status is dg.DagsterRunStatus.CANCELING
