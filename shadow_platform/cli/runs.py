"""Runs Dagster jobs from the command line on the persistent instance that the UI shows.

Upstream: definitions, jobs. Downstream: demo. The UI, a sensor and these functions run the same jobs.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import dagster as dg
from filelock import FileLock

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG
from shadow_platform.settings import Settings

# The instance keeps every event for the UI; a terminal with progress bars wants errors alone.
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
STORAGE_TIMEOUT_S = 300.0

# Dagster reads the address from the environment, so that no file holds its password.
ON_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
"""


def prepare_dagster_home(settings: Settings) -> None:
    """Create ``DAGSTER_HOME`` with the platform's instance settings and point this process at it.

    Raises:
        SettingsError: ``DAGSTER_POSTGRES_URL`` names another driver than Dagster's storage is written for.
        ShadowPlatformError: it is set, and the storage is not installed.
    """
    folder, postgres = settings.layout.dagster, settings.dagster_postgres
    text = (files("shadow_platform") / "dagster.yaml").read_text(encoding="utf-8")
    if postgres is not None:
        if find_spec("dagster_postgres") is None:
            raise ShadowPlatformError(
                "DAGSTER_POSTGRES_URL is set and dagster-postgres is not installed; "
                "install it: pip install 'shadow-platform[postgres]'"
            )
        text += ON_POSTGRES
        # It may come from .env, which Dagster does not read.
        os.environ["DAGSTER_POSTGRES_URL"] = postgres
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".dagster.yaml.{uuid4().hex}"
    beside.write_text(text, encoding="utf-8")
    # Others may be reading it: a file that is written in place is empty for a moment.
    beside.replace(folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)


def prepare_dagster_storage(settings: Settings) -> None:
    """Prepare ``DAGSTER_HOME`` and bring its storage to the installed version of Dagster; one process at a time.

    Webserver and daemon that start together on an empty storage create its tables at once, which spoils SQLite for
    good.
    """
    prepare_dagster_home(settings)
    lock = settings.layout.locks("dagster-storage")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=STORAGE_TIMEOUT_S), _explained(settings), dg.DagsterInstance.get() as instance:
        instance.upgrade()


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """Whatever a storage raises becomes one line that names the place, without its password."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, it holds the address with its password
        place = _place(settings.dagster_postgres) if settings.dagster_postgres else settings.layout.dagster
        raise ShadowPlatformError(
            f"Dagster's storage at {place} cannot be prepared ({type(error).__name__}); check that it is reachable and "
            "that DAGSTER_POSTGRES_URL is right"
        ) from None


def _place(url: str) -> str:
    """Host, port and database of an address: user and password may stand before them, or behind."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


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
    # The room brings every sensor's imports, which a command that runs no job does without.
    from shadow_platform.automation.pulse import beating

    run_id = str(uuid4())
    done = threading.Event()
    watcher = threading.Thread(target=_watch_steps, args=(instance, run_id, on_step, done), daemon=True)
    if on_step:
        watcher.start()
    try:
        with beating(instance, run_id):
            result = job.execute_in_process(
                run_config={**QUIET, **(run_config or {})},
                instance=instance,
                tags={**(tags or {}), HOST_TAG: socket.gethostname(), BEAT_TAG: "0"},
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
