"""Attempts at one thing: a run that failed or was canceled is tried again, three times in all.

Belongs here: which run answers, which attempt is next. Does not belong here: when it may start. Upstream: run records.
Downstream: restraints, live monitoring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

MAX_ATTEMPTS = 3
ENDED_WITHOUT_ANSWER = {dg.DagsterRunStatus.FAILURE: "failed", dg.DagsterRunStatus.CANCELED: "was canceled"}


@dataclass(frozen=True, slots=True)
class Attempts:
    """Every run that was started for one thing, the newest first."""

    runs: Sequence[dg.DagsterRun]

    @property
    def answer(self) -> dg.DagsterRun | None:
        """Newest run that answered, or still may."""
        return next((run for run in self.runs if run.status not in ENDED_WITHOUT_ANSWER), None)

    @property
    def next_number(self) -> int:
        """Number of the attempt to come, from 1."""
        return len(self.runs) + 1

    @property
    def reason_to_stop(self) -> str | None:
        """Why there is no attempt to come; only runs without an answer count."""
        if self.answer is not None or len(self.runs) < MAX_ATTEMPTS:
            return None
        return f"{len(self.runs)} runs failed or were canceled, the last is {self.runs[0].run_id}"


def attempts_of(instance: dg.DagsterInstance, job_name: str, tags: Mapping[str, str]) -> Attempts:
    """Attempts that bear the tags."""
    return Attempts(instance.get_runs(dg.RunsFilter(job_name=job_name, tags=dict(tags))))


def run_key(key: str, attempt: int) -> str:
    """Run key of an attempt: Dagster starts one run a key, for ever.

    >>> run_key("drift:e1", 1), run_key("drift:e1", 2)
    ('drift:e1', 'drift:e1:attempt-2')
    """
    return key if attempt == 1 else f"{key}:attempt-{attempt}"
