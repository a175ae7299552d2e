"""Every day: the day before goes through the loop, once, and so do days that were missed.

Belongs here: which day is due. Does not belong here: what is made of it (the job daily), events that come later still
(``late_days``). Upstream: the clock, the manifest, run records. Downstream: the job, whose tables and labels the
training and the decision of the night use.

A sensor and no schedule: labels, features and verdicts of a day read the days before it, and a schedule asks for all
missed days at once, whose runs would overtake each other.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from shadow_platform.automation.attempts import Attempts, attempts_of, has_never_begun, run_key
from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform.automation.ticks import Job
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource

DAY_TAG = "shadow/day"
INTERVAL_S = 60
DAY = timedelta(days=1)
# Files and messages of the last minutes arrive; an hour and a half is left until the nightly training.
DUE_AFTER = timedelta(minutes=30)
MAX_DAYS = 7
# A server that is away for a while must not use up the attempts of a day.
RETRY_AFTER = timedelta(hours=1)
# Jobs that write what this one writes, or read it half written.
SAME_TABLES = ("daily", "ingest", "reopen", "materialize", "monitor", "monitor_live", "label", "compare")


def build_daily_sensor(use_case: UseCase, job: Job, interval_s: int = INTERVAL_S) -> dg.SensorDefinition:
    """Sensor that starts ``job`` for the day before from 00:30 UTC on, one day a run and one run at a time.

    Due is the oldest of the last seven days that no run of this sensor answered: so it makes up for days that passed
    while it, or the daemon, was off, and the first time for all seven. A day that was made by hand is made again, which
    changes nothing. Days further back are left to a person. A run that failed or was canceled is tried again an hour
    later, three times in all; meanwhile the next day has its turn. Events that come later than 00:30 are late events.
    Off by default: a home that replays the past is told which days to make; switch it on in the UI where days go on.
    """
    jobs = (*(f"{use_case.name}_{name}" for name in SAME_TABLES), "__ASSET_JOB")

    @dg.sensor(
        name=f"{use_case.name}_daily",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Bring every day that is over through the loop: events, features, tables, labels, verdicts.",
    )
    def daily(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.RunRequest | dg.SkipReason:
        now, instance = platform.now(), context.instance
        of_days = days_wanted(use_case, now)
        if not of_days:
            return dg.SkipReason(f"{use_case.name} has none of the last {MAX_DAYS} days: {_partitions(use_case)}")
        if platform.manifest(use_case) is None:
            return dg.SkipReason(str(NoChampion(use_case.name)))
        left: list[str] = []
        for day in of_days:
            attempts = attempts_of(instance, job.name, {DAY_TAG: str(day)})
            if attempts.answer and not attempts.is_stranded:
                continue
            if reason := attempts.reason_to_stop or _rests(instance, attempts, now):
                left.append(f"{day}: {reason}")
                continue
            running = None if attempts.is_stranded else _running(instance, jobs)
            return dg.SkipReason(running) if running else _request(day, attempts.next_number)
        return dg.SkipReason("; ".join(left) or f"every day until {of_days[-1]} is made, or being made")

    return daily


def days_wanted(use_case: UseCase, now: datetime) -> list[date]:
    """The last days that are over for a while, oldest first, as far as the use case has them."""
    newest = (now - DUE_AFTER).astimezone(UTC).date() - DAY
    last = use_case.last_partition
    days = [newest - n * DAY for n in reversed(range(MAX_DAYS))]
    return [day for day in days if use_case.first_partition <= day and (last is None or day <= last)]


def _partitions(use_case: UseCase) -> str:
    until = f"end with {use_case.last_partition}" if use_case.last_partition else "go on"
    return f"its partitions begin with {use_case.first_partition} and {until}"


def _rests(instance: dg.DagsterInstance, attempts: Attempts, now: datetime) -> str | None:
    """Why a further attempt is still to come; a run that never began was none, and is asked for again at once."""
    record = instance.get_run_record_by_id(attempts.runs[0].run_id) if attempts.runs else None
    if record is None or record.end_time is None or has_never_begun(record):
        return None
    ended = datetime.fromtimestamp(record.end_time, UTC)
    if not timedelta(0) <= now - ended < RETRY_AFTER:
        return None
    return f"run {record.dagster_run.run_id} did not, the next one starts at {ended + RETRY_AFTER:%Y-%m-%d %H:%M} UTC"


def _running(instance: dg.DagsterInstance, jobs: Sequence[str]) -> str | None:
    for name in jobs:
        running = instance.get_runs(dg.RunsFilter(job_name=name, statuses=UNFINISHED), limit=1)
        if running:
            return f"run {running[0].run_id} of {name} is not finished"
    return None


def _request(day: date, attempt: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key(f"daily:{day}", attempt), tags={**partition_range(day, day), DAY_TAG: str(day)}
    )
