"""What the exporter says of Dagster is what its storage holds, on SQLite and on Postgres."""

import time
from collections.abc import Iterable, Mapping

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from shadow_platform.exporter.instance import InstanceReaders
from shadow_platform.exporter.readings import Sample

pytestmark = pytest.mark.processes

JOBS = ("tiny_retrain", "tiny_decide")


def read(instance: dg.DagsterInstance) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples of every reader, by metric and labels."""
    samples = [s for reader in InstanceReaders(lambda: instance, JOBS).readers() for s in reader.read()]
    return by_metric(samples)


def by_metric(samples: Iterable[Sample]) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by metric and labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for sample in samples:
        found.setdefault(sample.metric.name, {})[sample.labels] = float(sample.value)
    return found


def add_sensor(
    instance: dg.DagsterInstance,
    name: str,
    ticks: Mapping[float, TickStatus],
    status: InstigatorStatus = InstigatorStatus.RUNNING,
    location: str = "here",
) -> None:
    """A sensor with ticks, as its daemon notes them."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "repository")
    origin = RemoteInstigatorOrigin(repository, name)
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, status, SensorInstigatorData(min_interval=30))
    )
    for at, outcome in ticks.items():
        instance.create_tick(
            TickData(
                instigator_origin_id=origin.get_id(),
                instigator_name=name,
                instigator_type=InstigatorType.SENSOR,
                status=outcome,
                timestamp=at,
                selector_id=origin.get_selector().get_id(),
                run_ids=["run"] if outcome is TickStatus.SUCCESS else None,
                error=SerializableErrorInfo("no", [], None) if outcome is TickStatus.FAILURE else None,
            )
        )


def test_runs_are_counted_by_job_and_state_and_a_job_that_never_ran_is_zero(
    stored_instance: dg.DagsterInstance,
) -> None:
    before = time.time()
    for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE):
        create_run_for_test(stored_instance, job_name="tiny_retrain", status=status)
    run = create_run_for_test(stored_instance, job_name="other", status=dg.DagsterRunStatus.STARTED)
    stored_instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job_name="other"), run_id=run.run_id
    )
    found = read(stored_instance)

    assert found["dagster_runs"] == {
        ("tiny_retrain", "STARTED"): 2, ("tiny_retrain", "FAILURE"): 1, ("tiny_retrain", "SUCCESS"): 0,
        ("tiny_decide", "FAILURE"): 0, ("tiny_decide", "SUCCESS"): 0, ("other", "SUCCESS"): 1,
    }  # fmt: skip
    ((job, ended_at),) = found["dagster_last_success_timestamp_seconds"].items()
    assert job == ("other",)
    assert before - 1 <= ended_at <= time.time() + 1


def test_daemons_tell_their_last_sign_of_life(stored_instance: dg.DagsterInstance) -> None:
    for at in (100.0, 200.0):
        stored_instance.add_daemon_heartbeat(DaemonHeartbeat(at, "SENSOR", "id", []))

    assert read(stored_instance)["dagster_daemon_heartbeat_timestamp_seconds"] == {("SENSOR",): 200.0}


def test_the_newest_finished_tick_of_a_sensor_counts_and_one_that_is_off_is_silent(
    stored_instance: dg.DagsterInstance,
) -> None:
    add_sensor(stored_instance, "failing", {100.0: TickStatus.SUCCESS, 200.0: TickStatus.FAILURE})
    add_sensor(stored_instance, "busy", {100.0: TickStatus.SKIPPED, 200.0: TickStatus.STARTED})
    add_sensor(stored_instance, "off", {100.0: TickStatus.SUCCESS}, InstigatorStatus.STOPPED)
    add_sensor(stored_instance, "by default", {300.0: TickStatus.SUCCESS}, InstigatorStatus.DECLARED_IN_CODE)
    add_sensor(stored_instance, "new", {})
    add_sensor(stored_instance, "moved", {400.0: TickStatus.FAILURE})
    add_sensor(stored_instance, "moved", {500.0: TickStatus.SUCCESS}, location="there")
    found = read(stored_instance)

    ticked = {sensor: at for (sensor,), at in found["sensor_last_tick_timestamp_seconds"].items()}
    assert ticked == {"failing": 200.0, "busy": 100.0, "by default": 300.0, "moved": 500.0}
    failed = {sensor for (sensor,), value in found["sensor_last_tick_failed"].items() if value == 1}
    assert failed == {"failing"}
    assert set(found["sensor_last_tick_failed"]) == set(found["sensor_last_tick_timestamp_seconds"])


def test_before_there_is_a_storage_nothing_is_said() -> None:
    readers = InstanceReaders(lambda: None, JOBS).readers()

    assert [list(reader.read()) for reader in readers] == [[], [], []]
