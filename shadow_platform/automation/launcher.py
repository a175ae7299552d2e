"""Dagster's own run launcher, which also notices that the process of a run is gone.

Belongs here: whether the process of a run lives. Does not belong here: what follows, which is Dagster's run monitoring:
the run fails, and a trigger tries again. Upstream: the settings of the instance (``dagster.yaml``). Downstream: the
daemon. Without it a run that died with its machine stays "started" for ever and holds all trainings back.
"""

import socket
from collections.abc import Mapping
from typing import Any

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData

from shadow_platform.automation.pulse import Pulse
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG

PID = "pid"
# A process that began later than this after the run said its number has taken over the number of a dead one.
TOLERANCE_S = 60.0


class WatchingRunLauncher(DefaultRunLauncher):
    """Launches runs in processes of the code server, and tells run monitoring which of them are gone.

    A run that bears the name of another host is judged by its beat alone: of the processes there nothing is known here.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._pulse = Pulse()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: run monitoring asks for every started run."""
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch the run and note on which host."""
        run = context.dagster_run
        # A run that repeats one of a command took over its tags, and does not beat.
        beat = {BEAT_TAG: ""} if BEAT_TAG in run.tags else {}
        self._instance.add_run_tags(run.run_id, {HOST_TAG: socket.gethostname(), **beat})
        super().launch_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that executes the run lives."""
        if run.tags.get(HOST_TAG) != socket.gethostname():
            return self._pulse.health(run)
        worker = self._worker(run)
        if worker is None or _is_alive(*worker):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {worker[0]} is gone")

    def _worker(self, run: dg.DagsterRun) -> tuple[int, float] | None:
        """Number of the run's process, and when it said so; the first process is the one that ends with the run."""
        records = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
        for record in records:
            event = record.event_log_entry.dagster_event
            facts: Mapping[str, Any] = event.engine_event_data.metadata if event else {}
            if PID in facts:
                return int(facts[PID].value), record.event_log_entry.timestamp
        return None


def _is_alive(pid: int, told_at: float) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= told_at + TOLERANCE_S)
    except psutil.NoSuchProcess:
        return False
