"""The sign of life of a command that executes a run in its own process, which no launcher started.

Belongs here: leaving it in the tags of the run, and telling from it that the process is gone. Does not belong here:
runs that a launcher started, whose process or job it knows. Upstream: Dagster's storage, which both sides share, so
that host, pod and clock of the process do not matter. Downstream: commands such as ``shadow retrain``; the launchers.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

from shadow_platform.contracts.retraining import BEAT_TAG, HOST_TAG

LOGGER = logging.getLogger(__name__)
BEAT_S = 20.0
# Looks of run monitoring, one every 10 s, that may find the same beat: ten minutes, in which the storage answered.
LOOKS = 60


@contextmanager
def beating(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Change the run's beat again and again while the block is executed."""
    done = threading.Event()
    heart = threading.Thread(target=_beat, args=(instance, run_id, done), daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()


def _beat(instance: dg.DagsterInstance, run_id: str, done: threading.Event) -> None:
    for beat in count(1):
        if done.wait(BEAT_S):
            return
        try:
            instance.add_run_tags(run_id, {BEAT_TAG: str(beat)})
        except Exception:  # whatever keeps one beat away, the next is tried
            LOGGER.debug("no beat of run %s", run_id, exc_info=True)


class Pulse:
    """Whether processes of runs still beat, by how often the same beat was seen."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}

    def health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Look once more; a run without a beat is left alone."""
        beat, host = run.tags.get(BEAT_TAG), run.tags.get(HOST_TAG) or "an unknown host"
        if not beat:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"it runs on {host}")
        before, looks = self._seen.get(run.run_id, (beat, 0))
        looks = looks + 1 if beat == before else 1
        self._seen[run.run_id] = beat, looks
        if looks <= LOOKS:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"it runs on {host}")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process on {host} has given no sign of life for long")
