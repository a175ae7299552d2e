"""The retrain sensors: one for drift, one for performance; each starts one training a failing evaluation.

Belongs here: from a failing evaluation to a run, or to the reason why there is none. Upstream: verdict assets,
``ticks``. Downstream: the retrain job, pipeline_runs.
"""

from dataclasses import dataclass

import dagster as dg

from shadow_platform.automation.evaluations import read_pending
from shadow_platform.automation.requests import RunConfigOf, retrain_run_config
from shadow_platform.automation.ticks import Job, Tick
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

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
        tick = Tick.of(context, platform, use_case, job, run_config)
        with tick.restraints.deciding():
            tick.record_runs()
            pending = read_pending(context.instance, use_case.name, trigger.name, trigger.assets, tick.cursor)
            tick.ledger.record(pending.withdrawn, "skipped", "the window was judged anew since, on other data")
            if not pending.requests:
                return tick.skip(pending, f"no failing {trigger.name} evaluation since the last tick")
            return tick.answer(pending)

    return retrain_on_verdict
