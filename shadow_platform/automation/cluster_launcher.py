"""The run launcher of the cluster, which leaves alone what a command executes in its own pod.

Belongs here: runs that no Kubernetes job executes. Does not belong here: how jobs are made and watched, which is
Dagster's. Upstream: the values of Dagster's chart; ``dagster_k8s``, which no other column needs. Downstream: web
server, daemon and the pods of runs.
"""

from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext
from dagster_k8s import K8sRunLauncher

from shadow_platform.automation.pulse import Pulse
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG


class ClusterRunLauncher(K8sRunLauncher):
    """Launches a job for every run; a run that bears the name of a host has none, and is judged by its beat."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._pulse = Pulse()

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch the run; what it took over from the run that it repeats does not make it one of a command."""
        run = context.dagster_run
        if HOST_TAG in run.tags:
            self._instance.add_run_tags(run.run_id, {HOST_TAG: "", BEAT_TAG: ""})
        super().launch_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's job is active, or its command lives."""
        if _is_in_place(run):
            return self._pulse.health(run)
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        return health

    def terminate(self, run_id: str) -> bool:
        """Delete the run's job; a command goes on, and so does its run, until it is stopped where it runs."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or not _is_in_place(run):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_engine_event(f"a command executes this run: stop it on {run.tags[HOST_TAG]}", run)
        return False

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What the cluster knows of the run's job."""
        return None if _is_in_place(run) else super().get_run_worker_debug_info(run, include_container_logs)


def _is_in_place(run: dg.DagsterRun) -> bool:
    return bool(run.tags.get(HOST_TAG))
