"""Samples of Dagster's storage: runs by job, signs of life of its daemons, ticks of its sensors.

Belongs here: reading an instance. Does not belong here: its configuration. Upstream: Dagster's storage. Downstream: the
collector. Runs are counted by one query, whatever their number; Dagster's own interface counts one state of one job a
query.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

import dagster as dg
import sqlalchemy as sa
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorTick, TickStatus
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from shadow_platform.contracts import metrics
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.exporter.readings import Reader, Sample

FINISHED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
SWITCHED_ON = {InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE}
ALWAYS_TOLD = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
"""States of every job of the platform that are told from the first scrape on, so that the first failure is a rise."""


class InstanceReaders:
    """Reads one instance.

    Args:
        instance: opens it, or returns the open one; ``None`` while there is no storage yet.
        jobs: names of the platform's jobs.
    """

    def __init__(self, instance: Callable[[], dg.DagsterInstance | None], jobs: Collection[str]) -> None:
        self._open, self._jobs = instance, jobs

    def readers(self) -> list[Reader]:
        """One reader a source."""
        reads = {"dagster_runs": self.runs, "dagster_daemons": self.daemons, "dagster_sensors": self.sensors}
        return [Reader(source, read) for source, read in reads.items()]

    def runs(self) -> Iterable[Sample]:
        """Runs by job and state, and the newest success of each job."""
        if (instance := self._open()) is None:
            return
        counts = {(job, status.value): 0 for job in self._jobs for status in ALWAYS_TOLD}
        for job, status, n, ended_at in _runs_by_state(instance):
            counts[job, status] = n
            if status == dg.DagsterRunStatus.SUCCESS.value and ended_at is not None:
                yield Sample(metrics.DAGSTER_LAST_SUCCESS, ended_at, (job,))
        for labels, n in counts.items():
            yield Sample(metrics.DAGSTER_RUNS, n, labels)

    def daemons(self) -> Iterable[Sample]:
        """Newest sign of life of each part of the daemon."""
        if (instance := self._open()) is None:
            return
        for daemon, heartbeat in instance.get_daemon_heartbeats().items():
            yield Sample(metrics.DAGSTER_HEARTBEAT, heartbeat.timestamp, (daemon,))

    def sensors(self) -> Iterable[Sample]:
        """Newest finished tick of each sensor that is switched on; a location that was renamed leaves older ones."""
        if (instance := self._open()) is None:
            return
        states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR, instigator_statuses=SWITCHED_ON)
        ticks: dict[str, list[InstigatorTick]] = defaultdict(list)
        for state in states:
            ticks[state.instigator_name] += instance.get_ticks(
                state.instigator_origin_id, state.selector_id, limit=1, statuses=FINISHED
            )
        for sensor, found in ticks.items():
            if found:
                tick = max(found, key=lambda tick: tick.timestamp)
                yield Sample(metrics.SENSOR_LAST_TICK, tick.end_timestamp or tick.timestamp, (sensor,))
                yield Sample(metrics.SENSOR_LAST_TICK_FAILED, tick.status is TickStatus.FAILURE, (sensor,))


def _runs_by_state(instance: dg.DagsterInstance) -> list[tuple[str, str, int, float | None]]:
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise ShadowPlatformError(
            f"runs of a {type(storage).__name__} cannot be counted; expected Dagster's storage on SQLite or Postgres"
        )
    columns = RunsTable.c
    query = sa.select(columns.pipeline_name, columns.status, sa.func.count(), sa.func.max(columns.end_time))
    with storage.connect() as connection:
        rows = connection.execute(query.group_by(columns.pipeline_name, columns.status)).fetchall()
    return [(str(job), str(status), int(n), ended_at) for job, status, n, ended_at in rows]
