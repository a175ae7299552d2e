"""The alert sensor: what went wrong or changed is written into the table alerts, and told to people.

Belongs here: where facts are read, what is new, when a message is tried again. Does not belong here: what is an alert
(``domain.alerts``), how a message is sent (``adapters.alerts``). Upstream: tables, logs, run records. Downstream:
the table alerts, receivers.

What was told is read from the table, never from a cursor: a tick that is lost or repeated loses nothing and tells
nothing twice. A receiver that took a message is noted right afterwards; a daemon that dies in between repeats it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
import pandas as pd
from filelock import FileLock, Timeout

from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform.contracts.alerts import Alert, AlertKind
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.tables import (
    ALERTS,
    DRIFT_VERDICTS,
    GATE_REVIEWS,
    PERFORMANCE_VERDICTS,
    PIPELINE_RUNS,
    TableSchema,
)
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.alerts import Facts, alerts_of, digest, fingerprint, is_at_least, worst
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.alerts import Mail, Receiver

Row = dict[str, Any]
Found = TypeVar("Found")

INTERVAL_S = 60
LOOKBACK = timedelta(days=7)
# What is told of a verdict depends on the one before it, of the same day at most.
BEFORE = timedelta(days=1)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
MAX_MESSAGES = 10
WILL_RETRY_TAG = "dagster/will_retry"


def build_alert_sensor(use_case: UseCase, jobs: Collection[str], interval_s: int = INTERVAL_S) -> dg.SensorDefinition:
    """Sensor that tells what happened since, once; on by default, because it starts nothing.

    Facts of the last seven days are looked at, so that a daemon may be away for so long. A receiver that is away is
    tried again after 1, 2, 4 ... minutes, then every hour, for as long as the alert is one of these days.

    Args:
        jobs: names of the jobs whose runs are watched.
    """

    @dg.sensor(
        name=f"{use_case.name}_alerts",
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Write failing verdicts, promotions, rollbacks and what is stuck into alerts, and tell people.",
    )
    def alerts_sensor(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SkipReason:
        lock = platform.layout.locks(f"alerts-{use_case.name}")
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                return dg.SkipReason(_tick(context.instance, platform, use_case, jobs))
        except Timeout:
            return dg.SkipReason(f"another process tells the alerts of {use_case.name}")

    return alerts_sensor


def _tick(instance: dg.DagsterInstance, platform: PlatformResource, use_case: UseCase, jobs: Collection[str]) -> str:
    since = platform.now() - LOOKBACK
    lake = platform.lake()
    rows: dict[str, Row] = {row["alert_id"]: row for row in _records(lake.read_table(ALERTS, use_case, since.date()))}
    reading = _Reading(instance, platform, use_case, since)
    facts = reading.facts(jobs, set(rows))
    found = [alert for alert in alerts_of(facts, use_case.name, platform.now()) if alert.occurred_at >= since]
    new = [_row(alert, platform) for alert in found if alert.alert_id not in rows]
    lake.append_rows(ALERTS, use_case, new)
    rows |= {row["alert_id"]: row for row in new}
    unsent = _deliver(platform, use_case, list(rows.values()))
    if reading.problems:
        raise ShadowPlatformError(f"alerts of {use_case.name} may lack something: {'; '.join(reading.problems)}")
    return f"{len(new)} new alerts; {unsent}" if new or unsent else "nothing new to tell"


def _row(alert: Alert, platform: PlatformResource) -> Row:
    told = alert.model_dump(mode="json") | {
        "title": platform.without_secrets(alert.title),
        "text": platform.without_secrets(alert.text),
        "occurred_at": alert.occurred_at,
    }
    return told | {"sent_at": None, "told": [], "n_tries": 0, "tried_at": None, "error": None}


@dataclass(slots=True)
class _Reading:
    """Facts of one use case since a time; what cannot be read must not silence the rest."""

    instance: dg.DagsterInstance
    platform: PlatformResource
    use_case: UseCase
    since: datetime
    problems: list[str] = field(default_factory=list)

    def facts(self, jobs: Collection[str], known: Collection[str]) -> Facts:
        """Everything that alerts are made of; failed runs without those whose alert is known."""
        use_case, platform, since, lake = self.use_case, self.platform, self.since, self.platform.lake()
        a_day_earlier = (since - timedelta(days=1)).date()
        failed, unfinished = _runs(self.instance, use_case.name, jobs, since, known)
        rollout = next(iter(self._rows(lambda: [platform.rollout(use_case)])), None)
        return Facts(
            drift=self._rows(lambda: self._verdicts(DRIFT_VERDICTS)),
            performance=self._rows(lambda: self._verdicts(PERFORMANCE_VERDICTS)),
            transitions=self._rows(lambda: platform.transitions(use_case)),
            steps=self._rows(lambda: platform.rollout_steps(use_case)),
            rollout=rollout,
            triggers=self._rows(lambda: _records(lake.read_table(PIPELINE_RUNS, use_case, a_day_earlier))),
            reviews=self._rows(lambda: _records(lake.read_table(GATE_REVIEWS, use_case, since.date()))),
            failed_runs=failed,
            unfinished_runs=unfinished,
            stuck_after=use_case.rollout.patience(rollout.canary_step if rollout else None),
        )

    def _verdicts(self, table: TableSchema) -> list[Row]:
        """Rows by when they were judged: what is judged today may be a window of long ago.

        Years of days need not be read every minute: a partition that was not written since has no such row. The day
        before is read too: a verdict is news only beside the one before it.
        """
        lake, name, since = self.platform.lake(), self.use_case.name, self.since - BEFORE
        days = [
            day
            for day in lake.table_days(table, name)
            if lake.layout.table(table.name, name, day).stat().st_mtime >= since.timestamp()
        ]
        if not days:
            return []
        rows = lake.read_table(table, name, days[0], days[-1] + timedelta(days=1))
        return _records(rows[rows["evaluated_at"] >= since])

    def _rows(self, read: Callable[[], Sequence[Found]]) -> Sequence[Found]:
        try:
            return read()
        except ShadowPlatformError as error:
            self.problems.append(str(error))
            return ()


def _runs(
    instance: dg.DagsterInstance, name: str, jobs: Collection[str], since: datetime, known: Collection[str]
) -> tuple[list[Row], list[Row]]:
    """Runs that failed for good since, without those already told; and those that are not finished."""
    failures = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since))
    failed = [
        _run(record) | {"error": _error(instance, record), "failed_at": _ended(record)}
        for record in failures
        if record.dagster_run.job_name in jobs
        and record.dagster_run.tags.get(WILL_RETRY_TAG) != "true"
        and fingerprint(name, AlertKind.RUN_FAILED, record.dagster_run.run_id) not in known
    ]
    waiting = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    return failed, [_run(record) for record in waiting if record.dagster_run.job_name in jobs]


def _run(record: dg.RunRecord) -> Row:
    run = record.dagster_run
    created = record.create_timestamp.astimezone(UTC)
    return {"run_id": run.run_id, "job": run.job_name, "status": run.status.value.lower(), "created_at": created}


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp.astimezone(UTC)


def _error(instance: dg.DagsterInstance, record: dg.RunRecord) -> str:
    """The first step that failed, and the error that began it; else what Dagster said when it gave the run up."""
    run_id = record.dagster_run.run_id
    found = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1)
    for failure in found.records:
        event = failure.event_log_entry.dagster_event
        error = event.step_failure_data.error if event else None
        if event and error:
            return f"step {event.step_key}: {(error.cause or error).message.strip()}"
    ends = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE, limit=1, ascending=False)
    said = [end.event_log_entry.dagster_event for end in ends.records]
    return next((event.message.strip() for event in said if event and event.message), "no step reported why")


def _deliver(platform: PlatformResource, use_case: UseCase, rows: Sequence[Row]) -> str:
    """Send what is due and note what became of it; what could not be sent, in words."""
    receivers = platform.alert_receivers()
    due = [row for row in rows if _is_due(row, platform.settings.alert_min_severity, platform.now())]
    if not receivers or not due:
        return ""
    pending = [(receiver, [row for row in due if receiver.name not in row["told"]]) for receiver in receivers]
    pending = [(receiver, untold) for receiver, untold in pending if untold]
    answers = platform.send_alerts([_mail(receiver, untold) for receiver, untold in pending])
    errors: dict[str, list[str]] = {row["alert_id"]: [] for row in due}
    for (receiver, untold), answer in zip(pending, answers, strict=True):
        for row, error in zip(untold, answer if len(answer) == len(untold) else answer * len(untold), strict=True):
            if error is None:
                row["told"] = [*row["told"], receiver.name]
            else:
                errors[row["alert_id"]].append(f"{receiver.name}: {error}")
    now = platform.now()
    for row in due:
        failed = "; ".join(errors[row["alert_id"]])
        row |= {"n_tries": int(row["n_tries"]) + 1, "tried_at": now, "error": failed or None}
        row["sent_at"] = None if failed else now
    platform.lake().append_rows(ALERTS, use_case, due)
    unsent = sum(row["sent_at"] is None for row in due)
    return f"{len(due) - unsent} sent" + (
        f", {unsent} not: {next(filter(None, (r['error'] for r in due)))}" if unsent else ""
    )


def _is_due(row: Mapping[str, Any], lowest: str, now: datetime) -> bool:
    if row["sent_at"] is not None or not is_at_least(row["severity"], lowest):
        return False
    return row["tried_at"] is None or bool(now >= row["tried_at"] + wait(int(row["n_tries"])))


def wait(n_tries: int) -> timedelta:
    """Time to the next try.

    >>> [int(wait(n) / FIRST_WAIT) for n in (1, 2, 6, 7, 170)]
    [1, 2, 32, 60, 60]
    """
    doublings = min(n_tries - 1, 10)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def _mail(receiver: "Receiver", rows: Sequence[Row]) -> "Mail":
    """One message an alert, or one for all of them when there are many."""
    from shadow_platform.adapters.alerts import Mail, Message

    if len(rows) <= MAX_MESSAGES:
        return Mail(receiver, tuple(Message(row["title"], row["text"], row["severity"]) for row in rows))
    title, text = digest(rows)
    return Mail(receiver, (Message(title, text, worst(row["severity"] for row in rows)),))


def _records(frame: pd.DataFrame) -> list[Row]:
    """Rows with ``None`` for what is missing."""
    if frame.empty:
        return []
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): _plain(value) for name, value in row.items()} for row in found]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return value.tolist() if hasattr(value, "tolist") else value
