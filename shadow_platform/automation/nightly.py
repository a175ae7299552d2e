"""The nightly schedule: a training at 02:00 UTC, if there is anything new to learn.

Upstream: the clock, restraints. Downstream: the retrain job, pipeline_runs.
"""

from datetime import UTC

import dagster as dg

from shadow_platform.automation.ledger import Ledger
from shadow_platform.automation.requests import RunConfigOf, TrainingRequest, retrain_run_config
from shadow_platform.automation.restraints import Restraints
from shadow_platform.automation.verdicts import Job
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

NIGHTLY = "0 2 * * *"


def build_schedule(use_case: UseCase, job: Job, run_config: RunConfigOf = retrain_run_config) -> dg.ScheduleDefinition:
    """Retraining at 02:00 UTC on what was known at the midnight before.

    At two in the morning the day before is complete and traffic is low. A night that something restrains is skipped,
    not made up for: the next one asks again. Off by default: a schedule retrains whether or not anything changed, which
    only some use cases want; switch it on in the UI.
    """

    @dg.schedule(
        name=f"{use_case.name}_retrain_nightly",
        job=job,
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrain every night at 02:00 UTC, if enough new labels are known.",
    )
    def retrain_nightly(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        request = TrainingRequest("schedule", f"{midnight:%Y-%m-%d}", midnight, at)
        ledger = Ledger(platform, use_case)
        restraints = Restraints(context.instance, platform, use_case, job.name)
        with restraints.deciding():
            reason = restraints.reason_to_drop(request) or restraints.reason_to_wait(request)
            if reason:
                ledger.record([request], "skipped", reason)
                return dg.SkipReason(reason)
            restraints.grant(request)
            ledger.record([request], "started")
        return request.run_request(use_case, run_config)

    return retrain_nightly
