"""The nightly schedules: a training at 02:00 UTC if there is anything new to learn, a decision at 03:00 UTC.

Upstream: the clock, restraints. Downstream: the jobs retrain and decide, pipeline_runs.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from shadow_platform.automation.attempts import attempts_of, run_key
from shadow_platform.automation.ledger import Ledger
from shadow_platform.automation.requests import TRIGGER_ID_TAG, RunConfigOf, TrainingRequest, retrain_run_config
from shadow_platform.automation.restraints import Restraints
from shadow_platform.automation.ticks import Job
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

RETRAIN_AT, DECIDE_AT = "0 2 * * *", "0 3 * * *"


def build_schedule(
    use_case: UseCase, job: Job, run_config: RunConfigOf = retrain_run_config, cron: str = RETRAIN_AT
) -> dg.ScheduleDefinition:
    """Retraining at 02:00 UTC on what was known at the midnight before.

    At two in the morning the day before is complete and traffic is low. A night that something restrains is skipped,
    not made up for: the next one asks again. A tick that a dying daemon broke off is made up for: Dagster ticks the
    same night once more, and a run that was created and not submitted is submitted then. Off by default: a schedule
    retrains whether or not anything changed, which only some use cases want; switch it on in the UI.
    """

    @dg.schedule(
        name=f"{use_case.name}_retrain_nightly",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrain every night at 02:00 UTC, if enough new labels are known.",
    )
    def retrain_nightly(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        midnight = _midnight(at)
        request = TrainingRequest("schedule", f"{midnight:%Y-%m-%d}", midnight, at)
        ledger = Ledger(platform, use_case, context.instance)
        restraints = Restraints(context.instance, platform, use_case, job.name)
        with restraints.deciding():
            attempts = restraints.attempts_at(request.trigger_id)
            if attempts.answer and not attempts.is_stranded:
                return dg.SkipReason(f"run {attempts.answer.run_id} was already started for {request.told}")
            reason = None if attempts.is_stranded else _reason_to_skip(restraints, request)
            if reason:
                ledger.record([request], "skipped", reason)
                return dg.SkipReason(reason)
            restraints.grant(request)
            ledger.record([request], "started")
        return request.run_request(use_case, run_config, attempts.next_number)

    return retrain_nightly


def _reason_to_skip(restraints: Restraints, request: TrainingRequest) -> str | None:
    return restraints.reason_to_drop(request) or restraints.reason_to_wait(request)


def build_decide_schedule(use_case: UseCase, job: Job) -> dg.ScheduleDefinition:
    """A decision on every challenger at 03:00 UTC, as of the midnight before.

    A night whose labels did not come is judged as of the last that did, which gives the decision that stands already.
    A tick that a dying daemon broke off is made up for, as that of the nightly training is.
    Off by default: a home that replays the past decides when it is told to; switch it on in the UI where labels come
    in by themselves.
    """

    @dg.schedule(
        name=f"{use_case.name}_decide_nightly",
        job=job,
        cron_schedule=DECIDE_AT,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Judge champion and challengers every night at 03:00 UTC, on the labels known at midnight.",
    )
    def decide_nightly(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        midnight = _midnight(context.scheduled_execution_time.astimezone(UTC))
        if platform.manifest(use_case) is None:
            return dg.SkipReason(str(NoChampion(use_case.name)))
        if not platform.lake().table_days(LABELS, use_case):
            return dg.SkipReason(f"no day of labels of {use_case.name} was made; run {use_case.name}_monitor first")
        night = f"decide:{midnight:%Y-%m-%d}"
        attempts = attempts_of(context.instance, job.name, {TRIGGER_ID_TAG: night})
        if attempts.answer and not attempts.is_stranded:
            return dg.SkipReason(f"run {attempts.answer.run_id} was already started for {night}")
        if attempts.reason_to_stop:
            return dg.SkipReason(attempts.reason_to_stop)
        return dg.RunRequest(
            run_key=run_key(night, attempts.next_number),
            run_config=decide_run_config(use_case, midnight),
            tags={TRIGGER_ID_TAG: night},
        )

    return decide_nightly


def decide_run_config(use_case: UseCase, as_of: datetime) -> dict[str, Any]:
    """Run config of the job decide: judge on the labels known at a time."""
    judged = {"config": {"as_of": as_of.isoformat()}}
    return {"ops": {f"{use_case.name}__{name}": judged for name in ("performance_daily", "gate_decision")}}


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
