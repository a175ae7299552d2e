"""Attempts at one thing: a run that failed or was canceled is tried again, three times in all.

Belongs here: which run answers, which attempt is next, whether a run began at all. Does not belong here: when it may
start. Upstream: run records. Downstream: restraints, the schedules, late days, live monitoring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

MAX_ATTEMPTS = 3
# Runs that never began are no attempts; but where none ever begins, nobody must try for ever.
MAX_RUNS = 10
ENDED_WITHOUT_ANSWER = {dg.DagsterRunStatus.FAILURE: "failed", dg.DagsterRunStatus.CANCELED: "was canceled"}


@dataclass(frozen=True, slots=True)
class Attempts:
    """Every run that was started for one thing, the newest first.

    Attributes:
        n_never_began: so many of them were given up before they began, and count as no attempt.
    """

    runs: Sequence[dg.DagsterRun]
    n_never_began: int = 0

    @property
    def answer(self) -> dg.DagsterRun | None:
        """Newest run that answered, or still may."""
        return next((run for run in self.runs if run.status not in ENDED_WITHOUT_ANSWER), None)

    @property
    def is_stranded(self) -> bool:
        """Whether the answering run was created and never submitted, because the daemon died in between.

        Asked for once more under its own run key, Dagster submits that run and makes no second one.
        """
        return self.answer is not None and self.answer.status is dg.DagsterRunStatus.NOT_STARTED

    @property
    def next_number(self) -> int:
        """Number of the run to ask for, from 1: Dagster starts none under the run key of one that never began."""
        return len(self.runs) + (0 if self.is_stranded else 1)

    @property
    def reason_to_stop(self) -> str | None:
        """Why there is no attempt to come; only runs without an answer count."""
        n_attempts = len(self.runs) - self.n_never_began
        if self.answer is not None or (n_attempts < MAX_ATTEMPTS and len(self.runs) < MAX_RUNS):
            return None
        return f"{len(self.runs)} runs failed or were canceled, the last is {self.runs[0].run_id}"


def attempts_of(instance: dg.DagsterInstance, job_name: str, tags: Mapping[str, str]) -> Attempts:
    """Attempts that bear the tags."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name, tags=dict(tags)))
    return Attempts([record.dagster_run for record in records], sum(has_never_begun(record) for record in records))


def has_never_begun(record: dg.RunRecord) -> bool:
    """Whether run monitoring gave the run up before its process said a word.

    It counts from when the run was created, or launched: a daemon that was away for longer gives such a run up as soon
    as it is back, though nothing is wrong with it.
    """
    reason = record.dagster_run.tags.get(RUN_FAILURE_REASON_TAG)
    return record.start_time is None and reason == RunFailureReason.START_TIMEOUT.value


def run_key(key: str, attempt: int) -> str:
    """Run key of an attempt: Dagster starts one run a key, for ever.

    >>> run_key("drift:e1", 1), run_key("drift:e1", 2)
    ('drift:e1', 'drift:e1:attempt-2')
    """
    return key if attempt == 1 else f"{key}:attempt-{attempt}"
