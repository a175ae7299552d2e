"""The retrain sensors: one for drift, one for performance; each starts one training a failing evaluation.

Belongs here: from a failing evaluation to a run, or to the reason why there is none. Upstream: verdict assets,
restraints. Downstream: the retrain job, pipeline_runs.
"""

from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from shadow_platform.automation.evaluations import Cursor, Pending, read_pending
from shadow_platform.automation.ledger import Ledger
from shadow_platform.automation.requests import RunConfigOf, TrainingRequest, retrain_run_config
from shadow_platform.automation.restraints import Restraints
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

Job = dg.JobDefinition | UnresolvedAssetJobDefinition

SENSOR_INTERVAL_S = 30


@dataclass(frozen=True, slots=True)
class VerdictTrigger:
    """A kind of verdict whose failures ask for a training.

    Attributes:
        assets: that give such verdicts: their materializations tell outcome, evaluation_id and window_end, and
            labels_as_of where labels were used.
    """

    name: str
    assets: tuple[str, ...]


DRIFT = VerdictTrigger("drift", ("drift_verdict", "live_drift_verdict"))
PERFORMANCE = VerdictTrigger("performance", ("performance_verdict",))


def build_retrain_sensor(
    use_case: UseCase,
    job: Job,
    trigger: VerdictTrigger = DRIFT,
    run_config: RunConfigOf = retrain_run_config,
    interval_s: int = SENSOR_INTERVAL_S,
) -> dg.SensorDefinition:
    """Sensor that starts ``job`` once for every failing evaluation of a kind.

    While something restrains a training, and until its run succeeded, the cursor stays and the failure is not lost: a
    run that failed or was canceled is tried again after the cooldown, three times in all. Several pending failures
    make one run, as of the latest. The run key is the evaluation's id, a fingerprint of its inputs, and the attempt:
    judging the same window again starts nothing. On by default: without it a failing verdict would be a picture nobody
    acts on.
    """

    @dg.sensor(
        name=f"{use_case.name}_retrain_on_{trigger.name}",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Start one retraining for every failing {trigger.name} evaluation.",
    )
    def retrain_on_verdict(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        tick = _Tick(
            cursor=Cursor.parse(context.cursor),
            ledger=Ledger(platform, use_case),
            restraints=Restraints(context.instance, platform, use_case, job.name),
        )
        with tick.restraints.deciding():
            tick.cursor.recorded_run = tick.ledger.record_runs(context.instance, job.name, tick.cursor.recorded_run)
            pending = read_pending(context.instance, use_case.name, trigger.name, trigger.assets, tick.cursor)
            tick.ledger.record(pending.withdrawn, "skipped", "the window was judged anew since, on other data")
            if not pending.failures:
                return tick.skip(pending, f"no failing {trigger.name} evaluation since the last tick")
            held_back = tick.held_back(pending)
            if held_back is not None:
                return held_back
            latest = pending.failures[-1]
            attempt = tick.restraints.attempts_at(latest.trigger_id).next_number
            return tick.start(pending, latest.run_request(use_case, run_config, attempt))

    return retrain_on_verdict


@dataclass(frozen=True, slots=True)
class _Tick:
    """One evaluation of a retrain sensor."""

    cursor: Cursor
    ledger: Ledger
    restraints: Restraints

    def held_back(self, pending: Pending) -> dg.SensorResult | None:
        """Why no run is started for the latest failure, as result and on record; ``None``: it is due."""
        latest = pending.failures[-1]
        if run := self.restraints.attempts_at(latest.trigger_id).answer:
            self._answered_by(latest, pending)
            told = f"run {run.run_id} was already started for evaluation {latest.trigger_id}"
            return self.skip(pending, told) if run.is_finished else self._wait(told)
        if reason := self.restraints.reason_to_drop(latest):
            self.ledger.record(pending.failures, "skipped", reason)
            return self.skip(pending, reason)
        if reason := self.restraints.reason_to_wait(latest):
            self.ledger.record(pending.failures, "deferred", reason)
            return self._wait(f"deferred: {reason}")
        return None

    def start(self, pending: Pending, run: dg.RunRequest) -> dg.SensorResult:
        """Request the run of the latest failure; the others are answered by it, all of them once it succeeded."""
        latest = pending.failures[-1]
        self.restraints.grant(latest)
        self._answered_by(latest, pending)
        self.ledger.record([latest], "started")
        return dg.SensorResult(run_requests=[run], cursor=self.cursor.text())

    def skip(self, pending: Pending, reason: str) -> dg.SensorResult:
        """Nothing to do; what was read is dealt with."""
        self.cursor.after = pending.seen
        return dg.SensorResult(skip_reason=reason, cursor=self.cursor.text())

    def _wait(self, reason: str) -> dg.SensorResult:
        """Nothing to do now; what was read is read again."""
        return dg.SensorResult(skip_reason=reason, cursor=self.cursor.text())

    def _answered_by(self, latest: TrainingRequest, pending: Pending) -> None:
        older = [failure for failure in pending.failures if failure is not latest]
        self.ledger.record(older, "skipped", f"answered by the run for evaluation {latest.trigger_id}")
