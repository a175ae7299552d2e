"""Runs Dagster jobs from the command line on the persistent instance that the UI shows.

Upstream: definitions, jobs. Downstream: demo. The UI, a sensor and these functions run the same jobs.
"""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from typing import Any
from uuid import uuid4

import dagster as dg

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.retraining import HOST_TAG

# The instance keeps every event for the UI; a terminal with progress bars wants errors alone.
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def prepare_dagster_home(layout: Layout) -> None:
    """Create ``DAGSTER_HOME`` with the platform's instance settings and point this process at it."""
    layout.dagster.mkdir(parents=True, exist_ok=True)
    with as_file(files("shadow_platform") / "dagster.yaml") as template:
        shutil.copyfile(template, layout.dagster / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(layout.dagster)


def run_job(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    on_step: Callable[[str], None] | None = None,
    asset_selection: Sequence[dg.AssetKey] | None = None,
) -> str:
    """Execute a job in this process and return its run id.

    Args:
        asset_selection: some of the job's assets; ``None``: all.
        on_step: called with the name of every step that finished, from another thread.

    Raises:
        ShadowPlatformError: the run failed; names the step and its error.
    """
    run_id = str(uuid4())
    done = threading.Event()
    watcher = threading.Thread(target=_watch_steps, args=(instance, run_id, on_step, done), daemon=True)
    if on_step:
        watcher.start()
    try:
        result = job.execute_in_process(
            run_config={**QUIET, **(run_config or {})},
            instance=instance,
            tags={**(tags or {}), HOST_TAG: socket.gethostname()},
            run_id=run_id,
            raise_on_error=False,
            asset_selection=asset_selection,
        )
    finally:
        done.set()
        if on_step:
            watcher.join()
    if not result.success:
        raise ShadowPlatformError(f"{job.name} failed: {_failure(result)}; look at run {run_id} in `shadow ui`")
    return run_id


def _watch_steps(
    instance: dg.DagsterInstance, run_id: str, on_step: Callable[[str], None] | None, done: threading.Event
) -> None:
    seen: set[str] = set()
    while True:
        finished = done.wait(0.5)
        for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS).records:
            step = record.event_log_entry.step_key
            if step and step not in seen and on_step:
                seen.add(step)
                on_step(step)
        if finished:
            return


def _failure(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            cause = error.cause or error
            return f"step {event.step_key}: {cause.message.strip()}"
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            return f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}"
    return "no step reported why"
