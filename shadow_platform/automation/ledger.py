"""What became of every request to train, in the table pipeline_runs: started, skipped or deferred, and why.

Upstream: sensors and the schedule, run records. Downstream: people, alerts, ``shadow sql``. What a row says of a run
that answers, or still may, only that run changes, or a newer one; once it ended without an answer, what holds the next
attempt back takes its place.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import dagster as dg

from shadow_platform.automation.attempts import ENDED_WITHOUT_ANSWER
from shadow_platform.automation.requests import (
    ATTEMPT_TAG,
    CONSIDERED_TAG,
    TRIGGER_ID_TAG,
    TRIGGER_TAG,
    TrainingRequest,
)
from shadow_platform.contracts.retraining import HOLDS_TAG, NOTHING_TO_DO_TAG
from shadow_platform.contracts.tables import PIPELINE_RUNS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

MAX_RUNS = 200
REASONS = {
    "drift": "the drift verdict failed; the run trains as of the last midnight of its window",
    "performance": "the performance verdict failed; the run trains on every label it knew",
    "data": "enough new labels came in; the run trains as of the end of their last day",
    "schedule": "the nightly training, as of midnight",
    "manual": "a person launched the job",
}


class Ledger:
    """Rows of pipeline_runs of one use case."""

    def __init__(self, platform: PlatformResource, use_case: UseCase, instance: dg.DagsterInstance) -> None:
        self._lake, self._instance = platform.lake(), instance
        self._use_case = use_case

    def record(self, requests: Sequence[TrainingRequest], outcome: str, reason: str | None = None) -> None:
        """Write what was decided on requests, unless the table already says so, or knows their run."""
        self._write([self._row(r, outcome, reason or REASONS[r.trigger], None) for r in requests])

    def record_runs(self, job_name: str, after: str | None) -> str | None:
        """Write every run of the job that is newer than run ``after``, whatever started it, and how it ended.

        So a launch from the launchpad stands in the table too, and a request gets the id of its run. The answer is the
        run before the oldest that is not finished: the others are looked at again.
        """
        of_job = dg.RunsFilter(job_name=job_name)
        newest = self._instance.get_runs(of_job, limit=1)
        if not newest or newest[0].run_id == after:
            return after
        records = self._instance.get_run_records(of_job, limit=MAX_RUNS)
        new = list(takewhile(lambda record: record.dagster_run.run_id != after, records))
        oldest_first = new[::-1]
        self._write([self._row_of(record) for record in oldest_first])
        finished = list(takewhile(lambda record: record.dagster_run.is_finished, oldest_first))
        return finished[-1].dagster_run.run_id if finished else after

    def _row_of(self, record: dg.RunRecord) -> dict[str, Any]:
        run, created_at = record.dagster_run, record.create_timestamp.astimezone(UTC)
        considered = run.tags.get(CONSIDERED_TAG)
        request = TrainingRequest(
            run.tags.get(TRIGGER_TAG, "manual"),
            run.tags.get(TRIGGER_ID_TAG, run.run_id),
            created_at,
            datetime.fromisoformat(considered) if considered else created_at,
        )
        if nothing_to_do := run.tags.get(NOTHING_TO_DO_TAG):
            return self._row(request, "skipped", nothing_to_do, run.run_id)
        reason = REASONS.get(request.trigger, "its tags say so")
        if holds := run.tags.get(HOLDS_TAG):
            reason += f"; {holds}"
        if run.status in ENDED_WITHOUT_ANSWER:
            reason += f"; attempt {run.tags.get(ATTEMPT_TAG, '1')} {ENDED_WITHOUT_ANSWER[run.status]}"
        return self._row(request, "started", reason, run.run_id)

    def _row(self, request: TrainingRequest, outcome: str, reason: str, run_id: str | None) -> dict[str, Any]:
        return {
            "use_case": self._use_case.name,
            "trigger_id": request.trigger_id,
            "trigger": request.trigger,
            "outcome": outcome,
            "reason": reason,
            "run_id": run_id,
            "considered_at": request.considered_at,
        }

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        # One row a key: of several runs of one request, which attempts and re-execution make, the newest stands.
        latest = {row["trigger_id"]: row for row in rows}
        known = self._known(rows)
        told = [self._to_tell(row, known[key]) if key in known else row for key, row in latest.items()]
        self._lake.append_rows(PIPELINE_RUNS, self._use_case, [row for row in told if row is not None])

    def _to_tell(self, row: dict[str, Any], known: dict[str, Any]) -> dict[str, Any] | None:
        """The row that is to replace the known one; ``None``: that stands.

        Once a run ended without an answer, what was decided since stands in its place, beside the run's id.
        """
        run_id = known["run_id"]
        if run_id is not None and row["run_id"] is None:
            is_next_attempt = row["outcome"] == known["outcome"] == "started"
            if is_next_attempt or not self._ended_without_answer(run_id):
                return None
            row = row | {"run_id": run_id}
        elif (
            run_id == row["run_id"] is not None and known["outcome"] != "started" and self._ended_without_answer(run_id)
        ):
            return None
        is_news = any(row[name] != known[name] for name in ("outcome", "reason", "run_id"))
        return row if is_news else None

    def _ended_without_answer(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        return run is not None and run.status in ENDED_WITHOUT_ANSWER

    def _known(self, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """What the table says of the requests of rows."""
        if not rows:
            return {}
        days = [row["considered_at"].astimezone(UTC).date() for row in rows]
        told = self._lake.read_table(PIPELINE_RUNS, self._use_case, min(days), max(days) + timedelta(days=1))
        told["run_id"] = told["run_id"].astype(object).where(told["run_id"].notna(), None)
        return {str(row["trigger_id"]): {str(name): row[name] for name in row} for row in told.to_dict("records")}
