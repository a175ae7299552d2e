"""Carries rollouts on: a run of the job promote whenever a step, a decision left lying, or the end of a watch is due.

Belongs here: whether something is due, and when a run that broke is tried again. Does not belong here: which step is
due (domain.promotion), taking it (the asset ``promotion``). Upstream: the rollout, the deployment manifest, run
records. Downstream: the job promote.

A run is asked for once a step: its key names the step in force and the attempt. A step that fails is noted by the run
itself, which makes it another step; what is counted here are runs that broke or found nothing to do after all. A run
that a dying daemon created and never submitted is asked for again under its own key, and holds up nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from shadow_platform.assets.promotion.promoting import pending_decision
from shadow_platform.assets.promotion.rolling import seen_of
from shadow_platform.automation.attempts import run_key
from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform.automation.ticks import Job
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.promotion import BACKOFF, Move, next_step, watch_ends_at
from shadow_platform.resources import PlatformResource

DUE_TAG = "shadow/due"
INTERVAL_S = 60
LINES_A_LOOK = 500_000
"""Of the prediction log that a tick reads while a canary answers, some seconds of work: Dagster ends a tick after a
minute. What is left the next tick reads, or the run, which reads to the end before it acts."""
SUBMITTED = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.NOT_STARTED]


def build_rollout_sensor(use_case: UseCase, job: Job) -> dg.SensorDefinition:
    """Sensor that runs ``job`` once for every step of a rollout that is due; on by default."""

    @dg.sensor(
        name=f"{use_case.name}_rollouts",
        job=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Take the next step of a rollout as soon as it is due; bring the registry in line with it.",
    )
    def rollouts(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.RunRequest | dg.SkipReason:
        due, reason = due_now(platform, use_case, _looked_at(context.instance, use_case))
        if due is None:
            return dg.SkipReason(reason)
        runs = context.instance.get_run_records(dg.RunsFilter(job_name=job.name, tags={DUE_TAG: due}))
        is_stranded = bool(runs) and runs[0].dagster_run.status is dg.DagsterRunStatus.NOT_STARTED
        waits = _reason_to_wait(context.instance, job.name, runs[is_stranded:], platform.now())
        if waits:
            return dg.SkipReason(waits)
        return dg.RunRequest(run_key=run_key(due, len(runs) + (not is_stranded)), tags={DUE_TAG: due})

    return rollouts


def _looked_at(instance: dg.DagsterInstance, use_case: UseCase) -> datetime | None:
    """When the asset ``promotion`` last looked at decisions, whether it acted on them or only reported."""
    made = instance.get_latest_materialization_event(dg.AssetKey([use_case.name, "promotion"]))
    return datetime.fromtimestamp(made.timestamp, UTC) if made else None


def due_now(platform: PlatformResource, use_case: UseCase, looked_at: datetime | None = None) -> tuple[str | None, str]:
    """What is due, as a word that is the same until it is done; ``None`` with the reason when nothing is.

    Args:
        looked_at: when promotion last looked at the decisions.
    """
    rollout, manifest, now = platform.rollout(use_case), platform.manifest(use_case), platform.now()
    if manifest is None:
        return None, str(NoChampion(use_case.name))
    if rollout is not None and not rollout.state.is_end:
        step = next_step(rollout, manifest, use_case.rollout, seen_of(platform, use_case, rollout, LINES_A_LOOK), now)
        if step.move is not Move.WAIT:
            return f"{rollout.step_id}:{step.move}", step.reason
        reason = f"rollout {rollout.rollout_id} of version {rollout.version}: {step.reason}"
    else:
        reason = "no rollout is under way"
    pending = pending_decision(platform, use_case, looked_at)
    if pending is not None:
        action, decision = pending
        return f"{action}:{decision.decision_id[:12]}", decision.reason
    until = watch_ends_at(manifest, use_case.watch_span)
    if until is not None and now >= until:
        return f"watch:{manifest.generation}", "a watch is over"
    if platform.is_registry_behind(use_case):
        return f"registry:{manifest.generation}", "the registry's aliases are behind"
    return None, reason


def _reason_to_wait(
    instance: dg.DagsterInstance, job_name: str, runs: Sequence[dg.RunRecord], now: datetime
) -> str | None:
    running = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=SUBMITTED), limit=1)
    if running:
        return f"run {running[0].run_id} of {job_name} is not finished"
    if not runs:
        return None
    pause = BACKOFF[min(len(runs), len(BACKOFF)) - 1]
    again_at = max(run.create_timestamp for run in runs) + pause
    if now >= again_at:
        return None
    return f"{len(runs)} runs did not take the step that is due; the next not before {again_at:%Y-%m-%d %H:%M:%S} UTC"
