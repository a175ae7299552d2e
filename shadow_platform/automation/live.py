"""Live monitoring: a drift verdict on the last hours, once an hour that brought requests is closed.

Belongs here: which hour is due. Does not belong here: what is judged (the job monitor_live). Upstream: the prediction
log, run records. Downstream: the job, whose failing verdict the retrain sensor sees.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from shadow_platform.automation.attempts import Attempts, attempts_of, run_key
from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform.automation.ticks import Job
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import INSTANT, partition_range
from shadow_platform.resources import PlatformResource

JUDGED_UNTIL_TAG = "shadow/judged_until"
HOUR = timedelta(hours=1)
# A request that was answered at the end of an hour is in the log by then.
SETTLED_AFTER = timedelta(minutes=2)


def build_live_sensor(use_case: UseCase, job: Job, interval_s: int) -> dg.SensorDefinition:
    """Sensor that starts ``job`` once for every closed hour in which requests were answered.

    A run that failed or was canceled is tried again at the next ticks, three times in all. Hours that passed while no
    daemon ran are not made up for: the newest window contains them. Off by default: a home that replays the past
    answers today what was asked long ago, and nothing in a window of today is drift there; where real traffic is
    served, switch it on in the UI.
    """

    @dg.sensor(
        name=f"{use_case.name}_monitor_live",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Judge the drift of the last hours, once for every closed hour with new requests.",
    )
    def monitor_live(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.RunRequest | dg.SkipReason:
        lookback = timedelta(hours=platform.settings.monitoring_lookback)
        closed = _hour(platform.now() - SETTLED_AFTER)
        hours = [hour for hour in platform.logged_hours(use_case, since=closed - lookback) if hour < closed]
        if not hours:
            return dg.SkipReason(f"no request was answered in the {lookback} until {closed:%Y-%m-%d %H:%M} UTC")
        until = hours[-1] + HOUR
        first, last = max((until - lookback).date(), use_case.first_partition), (until - INSTANT).date()
        if use_case.last_partition is not None and last > use_case.last_partition:
            return dg.SkipReason(
                f"{use_case.name} has no partition behind {use_case.last_partition}: it replays the past"
            )
        attempts = attempts_of(context.instance, job.name, {JUDGED_UNTIL_TAG: until.isoformat()})
        reason = _reason_to_skip(context.instance, job.name, attempts, until)
        if reason:
            return dg.SkipReason(reason)
        return dg.RunRequest(
            run_key=run_key(f"live:{until:%Y-%m-%dT%H}", attempts.next_number),
            run_config=live_run_config(use_case, until),
            tags={**partition_range(first, last), JUDGED_UNTIL_TAG: until.isoformat()},
        )

    return monitor_live


def live_run_config(use_case: UseCase, until: datetime) -> dict[str, Any]:
    """Run config of the job monitor_live: judge the window that ends with a closed hour."""
    return {"ops": {f"{use_case.name}__live_drift_verdict": {"config": {"end": until.isoformat()}}}}


def _reason_to_skip(instance: dg.DagsterInstance, job_name: str, attempts: Attempts, until: datetime) -> str | None:
    running = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=UNFINISHED), limit=1)
    if running:
        return f"run {running[0].run_id} of {job_name} is not finished"
    if attempts.answer:
        return f"no requests since {until:%Y-%m-%d %H:%M} UTC, until when run {attempts.answer.run_id} judged"
    return attempts.reason_to_stop


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
