"""The data sensor: a day of events and labels landed, with enough new labels; it starts one training a day at most.

Belongs here: which day of data asks. Does not belong here: what holds a training back (``restraints``). Upstream: the
lake, ``ticks``. Downstream: the retrain job, pipeline_runs.
"""

from datetime import UTC, date, datetime

import dagster as dg

from shadow_platform.automation.evaluations import Pending
from shadow_platform.automation.requests import RunConfigOf, TrainingRequest, retrain_run_config
from shadow_platform.automation.ticks import Job, Tick
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import end_of
from shadow_platform.resources import PlatformResource

SENSOR_INTERVAL_S = 60
DEALT_WITH, WAITING = "labels", "labels that wait"


def build_data_sensor(
    use_case: UseCase, job: Job, run_config: RunConfigOf = retrain_run_config, interval_s: int = SENSOR_INTERVAL_S
) -> dg.SensorDefinition:
    """Sensor that starts ``job`` when a further day is over whose events and labels are both there.

    The day is the request: it trains once, as of its end, and not at all when fewer labels than the policy wants came
    since the last training. What restrains a training defers it, until a newer day takes its place. Off by default:
    it retrains whether or not anything changed, which only some use cases want; switch it on in the UI.
    """

    @dg.sensor(
        name=f"{use_case.name}_retrain_on_data",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Start one retraining for every further day of data that brings enough new labels.",
    )
    def retrain_on_data(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        tick = Tick.of(context, platform, use_case, job, run_config)
        with tick.restraints.deciding():
            tick.record_runs()
            if tick.restraints.last_training() is None:
                return tick.wait(f"no model was trained yet; run {use_case.name}_train first")
            day = _last_whole_day(platform, use_case)
            if day is None or day.toordinal() <= tick.cursor.of(DEALT_WITH):
                seen = f"that of {day} is dealt with" if day else "there is none that has events and labels"
                return tick.wait(f"no further day of data: {seen}")
            _replace_older(tick, context.instance, day)
            request = _request(context.instance, use_case, day)
            return tick.answer(Pending([request], [], {DEALT_WITH: day.toordinal()}))

    return retrain_on_data


def _last_whole_day(platform: PlatformResource, use_case: UseCase) -> date | None:
    """The newest day that is over and of which every kind of event, and labels, were landed."""
    lake, today = platform.lake(), platform.now().date()
    landed = [lake.table_days(LABELS, use_case), *(lake.event_days(use_case, kind) for kind in use_case.events)]
    over = [[day for day in days if day < today] for days in landed]
    return min(max(days) for days in over) if all(over) else None


def _replace_older(tick: Tick, instance: dg.DagsterInstance, day: date) -> None:
    """Take back the day that waited until now, if this one is newer; then this one is what may wait."""
    waiting = tick.cursor.of(WAITING)
    if tick.cursor.of(DEALT_WITH) < waiting < day.toordinal():
        older = _request(instance, tick.use_case, date.fromordinal(waiting))
        if tick.restraints.attempts_at(older.trigger_id).answer is None:
            tick.ledger.record([older], "skipped", f"the data of {day} came since")
    tick.cursor.after[WAITING] = day.toordinal()


def _request(instance: dg.DagsterInstance, use_case: UseCase, day: date) -> TrainingRequest:
    """The request of a day; it was asked when its labels were first made, however often it is looked at."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey([use_case.name, "labels"]), asset_partitions=[str(day)]),
        limit=1,
        ascending=True,
    ).records
    landed = datetime.fromtimestamp(records[0].timestamp, UTC) if records else end_of(day)
    return TrainingRequest("data", f"day-{day}", end_of(day), landed)
