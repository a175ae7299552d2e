"""What starts runs without a person: the retrain sensor and the nightly schedule, with their whys.

Belongs here: deciding when. Does not belong here: what a run does (jobs, assets). Upstream: materializations, run
records, tables. Downstream: definitions. A trigger that is held back says why in the table pipeline_runs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from shadow_platform.contracts.tables import PIPELINE_RUNS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.resources import PlatformResource

Job = dg.JobDefinition | UnresolvedAssetJobDefinition
RunConfigOf = Callable[[UseCase, datetime, str], Mapping[str, Any]]

SENSOR_INTERVAL_S = 30
PAGE = 200
EVALUATION_TAG = "shadow/evaluation_id"
TRIGGER_TAG = "shadow/trigger"
AS_OF_TAG = "shadow/as_of"
NIGHTLY = "0 2 * * *"
STARTED = "the verdict failed; the run trains as of the end of its window"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Automation:
    """Sensors and schedules of one use case."""

    sensors: list[dg.SensorDefinition]
    schedules: list[dg.ScheduleDefinition]


@dataclass(frozen=True, slots=True)
class Failure:
    """A drift evaluation that failed, as its materialization tells."""

    storage_id: int
    evaluation_id: str
    window_end: datetime
    materialized_at: datetime


@dataclass(slots=True)
class Cursor:
    """Where the sensor stands.

    Attributes:
        after: storage id of the last materialization dealt with.
        unlinked: evaluations whose run was requested but not yet seen -> time of their materialization.
    """

    after: int = 0
    unlinked: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Cursor of a text; anything unreadable starts from the beginning, which run keys make harmless.

        >>> Cursor.parse("17"), Cursor.parse("no cursor").after
        (Cursor(after=17, unlinked={}), 0)
        """
        try:
            value = json.loads(text or "{}")
        except ValueError:
            return cls()
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(max(value, 0))
        if not isinstance(value, dict):
            return cls()
        after, unlinked = value.get("after"), value.get("unlinked")
        return cls(
            after if isinstance(after, int) and not isinstance(after, bool) and after > 0 else 0,
            {str(key): str(at) for key, at in unlinked.items()} if isinstance(unlinked, dict) else {},
        )

    def text(self) -> str:
        """The cursor as Dagster stores it."""
        return json.dumps({"after": self.after, "unlinked": self.unlinked})


def retrain_run_config(use_case: UseCase, as_of: datetime, trigger: str) -> dict[str, Any]:
    """Run config of the retrain job: train on what was known at ``as_of``."""
    return {
        "ops": {
            f"{use_case.name}__training_frame": {"config": {"as_of": as_of.isoformat()}},
            f"{use_case.name}__challenger_model": {"config": {"trigger": trigger}},
        }
    }


def build_automation(use_case: UseCase, retrain_job: Job) -> Automation:
    """Sensors and schedules of one use case, all of which start its retraining."""
    return Automation([build_retrain_sensor(use_case, retrain_job)], [build_schedule(use_case, retrain_job)])


def build_retrain_sensor(
    use_case: UseCase, job: Job, run_config: RunConfigOf = retrain_run_config, interval_s: int = SENSOR_INTERVAL_S
) -> dg.SensorDefinition:
    """Sensor that starts ``job`` once for every failing drift evaluation.

    It reads every drift materialization after a cursor, because ``@asset_sensor`` shows only the latest of a backfill.
    Cooldown and "already running" come from run records, not from the cursor, so a restarted daemon knows them; while
    they hold, the cursor stays and the failure is deferred, not lost. Several pending failures make one run, as of the
    latest window. The run key is the evaluation's id, a fingerprint of its inputs: judging the same window again
    starts nothing. On by default: without it a failing verdict would be a picture nobody acts on.
    """

    @dg.sensor(
        name=f"{use_case.name}_retrain_on_drift",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Start one retraining for every failing drift evaluation.",
    )
    def retrain_on_drift(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        tick = _Tick(context, platform, use_case, job.name)
        tick.link_started_runs()
        failures = tick.read_failures()
        if not failures:
            return tick.skip("no failing drift evaluation since the last tick")
        latest = max(failures, key=lambda failure: (failure.window_end, failure.storage_id))
        run_id = tick.run_of(latest.evaluation_id)
        if run_id:
            return tick.acknowledge(latest, failures, run_id)
        reason = tick.reason_to_drop(latest)
        if reason:
            tick.record(failures, "skipped", reason)
            return tick.skip(reason)
        reason = tick.reason_to_defer(latest)
        if reason:
            tick.record(failures, "deferred", reason)
            return tick.defer(reason)
        return tick.start(latest, failures, run_config(use_case, latest.window_end, "drift"))

    return retrain_on_drift


class _Tick:
    """One evaluation of the sensor."""

    def __init__(
        self, context: dg.SensorEvaluationContext, platform: PlatformResource, use_case: UseCase, job_name: str
    ) -> None:
        self.instance = context.instance
        self.lake = platform.lake()
        self.use_case = use_case
        self.job_name = job_name
        self.cursor = Cursor.parse(context.cursor)
        self.last_seen = self.cursor.after

    def read_failures(self) -> list[Failure]:
        """Failing evaluations behind the cursor, one an evaluation id, oldest first; moves ``last_seen``."""
        key = dg.AssetKey([self.use_case.name, "drift_verdict"])
        found: dict[str, Failure] = {}
        while True:
            records = self.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, after_storage_id=self.last_seen), limit=PAGE, ascending=True
            ).records
            for record in records:
                failure = _failure(record)
                if failure is not None:
                    found[failure.evaluation_id] = failure
            if records:
                self.last_seen = max(record.storage_id for record in records)
            if len(records) < PAGE:
                return list(found.values())

    def reason_to_drop(self, latest: Failure) -> str | None:
        """Why no run will ever be started for these failures."""
        trained = self._last_training()
        if trained is not None and trained >= latest.window_end:
            return f"a model trained as of {trained:%Y-%m-%d %H:%M} UTC already knows the window"
        return None

    def reason_to_defer(self, latest: Failure) -> str | None:
        """Why a run must wait; the wording does not change from tick to tick."""
        running = self.instance.get_runs(dg.RunsFilter(job_name=self.job_name, statuses=UNFINISHED), limit=1)
        if running:
            return f"run {running[0].run_id} of {self.job_name} is not finished"
        policy = self.use_case.retrain
        since = datetime.now(UTC) - policy.cooldown
        recent = self.instance.get_run_records(
            dg.RunsFilter(job_name=self.job_name, created_after=since), limit=1, order_by="id"
        )
        if policy.cooldown > timedelta(0) and recent:
            ends = recent[0].create_timestamp.astimezone(UTC) + policy.cooldown
            run_id = recent[0].dagster_run.run_id
            return f"cooldown of {policy.cooldown} after run {run_id}, until {ends:%Y-%m-%d %H:%M} UTC"
        return self._too_few_labels(latest)

    def _too_few_labels(self, latest: Failure) -> str | None:
        trained = self._last_training()
        if trained is None:
            return None
        labels = self.lake.sql(
            "SELECT count(*) AS n FROM labels WHERE use_case = $use_case AND known_at > $start AND known_at <= $end",
            {"use_case": self.use_case.name, "start": trained, "end": latest.window_end},
        )
        n_new, minimum = int(labels["n"].iloc[0]), self.use_case.retrain.min_new_labels
        if n_new >= minimum:
            return None
        since = f"the training as of {trained:%Y-%m-%d %H:%M} UTC"
        return f"{n_new:,} new labels since {since}, at least {minimum:,} are needed"

    def _last_training(self) -> datetime | None:
        trained = self.lake.sql(
            "SELECT max(trained_as_of) AS at FROM model_versions WHERE use_case = $use_case",
            {"use_case": self.use_case.name},
        )["at"].iloc[0]
        return None if pd.isna(trained) else trained.to_pydatetime()

    def run_of(self, evaluation_id: str) -> str | None:
        """Run that was started for an evaluation."""
        tags = {EVALUATION_TAG: evaluation_id}
        runs = self.instance.get_runs(dg.RunsFilter(job_name=self.job_name, tags=tags), limit=1)
        return runs[0].run_id if runs else None

    def acknowledge(self, latest: Failure, failures: Sequence[Failure], run_id: str) -> dg.SensorResult:
        """The latest failure has its run: the window was judged again, or a tick died after requesting it."""
        self._answered_by(latest, failures)
        self._write([(latest.evaluation_id, "started", STARTED, latest.materialized_at, run_id)])
        return self.skip(f"run {run_id} was already started for evaluation {latest.evaluation_id}")

    def start(self, latest: Failure, failures: Sequence[Failure], config: Mapping[str, Any]) -> dg.SensorResult:
        """Request the run of the latest failure; the others are answered by it."""
        self._answered_by(latest, failures)
        self.record([latest], "started", STARTED)
        self.cursor.after = self.last_seen
        self.cursor.unlinked[latest.evaluation_id] = latest.materialized_at.isoformat()
        request = dg.RunRequest(
            run_key=f"drift:{latest.evaluation_id}",
            run_config=dict(config),
            tags={
                EVALUATION_TAG: latest.evaluation_id,
                TRIGGER_TAG: "drift",
                AS_OF_TAG: latest.window_end.isoformat(),
            },
        )
        return dg.SensorResult(run_requests=[request], cursor=self.cursor.text())

    def _answered_by(self, latest: Failure, failures: Sequence[Failure]) -> None:
        older = [failure for failure in failures if failure is not latest]
        self.record(older, "skipped", f"answered by the run for evaluation {latest.evaluation_id}")

    def skip(self, reason: str) -> dg.SensorResult:
        """Nothing to do; what was read is dealt with."""
        self.cursor.after = self.last_seen
        return dg.SensorResult(skip_reason=reason, cursor=self.cursor.text())

    def defer(self, reason: str) -> dg.SensorResult:
        """Not now; the same materializations are read again at the next tick."""
        return dg.SensorResult(skip_reason=f"deferred: {reason}", cursor=self.cursor.text())

    def link_started_runs(self) -> None:
        """Write the run ids of requested runs into pipeline_runs once the runs exist."""
        for evaluation_id, materialized_at in list(self.cursor.unlinked.items()):
            run_id = self.run_of(evaluation_id)
            if run_id:
                self._write([(evaluation_id, "started", STARTED, datetime.fromisoformat(materialized_at), run_id)])
                del self.cursor.unlinked[evaluation_id]

    def record(self, failures: Sequence[Failure], outcome: str, reason: str) -> None:
        """Write what was decided on the failures, unless the table already says so."""
        self._write([(f.evaluation_id, outcome, reason, f.materialized_at, None) for f in failures])

    def _write(self, rows: Sequence[tuple[str, str, str, datetime, str | None]]) -> None:
        known = {(row.trigger_id, row.outcome, row.reason) for row in self._known_rows({row[3] for row in rows})}
        self.lake.append_rows(
            PIPELINE_RUNS,
            self.use_case,
            [
                {
                    "use_case": self.use_case.name,
                    "trigger_id": trigger_id,
                    "trigger": "drift",
                    "outcome": outcome,
                    "reason": reason,
                    "run_id": run_id,
                    "considered_at": at,
                }
                for trigger_id, outcome, reason, at, run_id in rows
                if run_id is not None or (trigger_id, outcome, reason) not in known
            ],
        )

    def _known_rows(self, times: set[datetime]) -> list[Any]:
        if not times:
            return []
        first, last = min(times).date(), max(times).date() + timedelta(days=1)
        return list(self.lake.read_table(PIPELINE_RUNS, self.use_case, first, last).itertuples(index=False))


def _failure(record: dg.EventLogRecord) -> Failure | None:
    """The failing evaluation a materialization tells of; ``None`` for a pass, insufficient, or foreign metadata."""
    materialization = record.asset_materialization
    if materialization is None:
        return None
    facts = {name: value.value for name, value in materialization.metadata.items()}
    if facts.get("outcome") != Outcome.FAIL.value:
        return None
    materialized_at = datetime.fromtimestamp(record.timestamp, UTC)
    window_end = facts.get("window_end")
    return Failure(
        storage_id=record.storage_id,
        evaluation_id=str(facts.get("evaluation_id") or f"storage-{record.storage_id}"),
        window_end=datetime.fromisoformat(str(window_end)).astimezone(UTC) if window_end else materialized_at,
        materialized_at=materialized_at,
    )


def build_schedule(use_case: UseCase, job: Job, run_config: RunConfigOf = retrain_run_config) -> dg.ScheduleDefinition:
    """Retraining at 02:00 UTC on what was known at the midnight before.

    At two in the morning the day before is complete and traffic is low. Off by default: a schedule retrains whether
    or not anything changed, which only some use cases want; switch it on in the UI.
    """

    @dg.schedule(
        name=f"{use_case.name}_retrain_nightly",
        job=job,
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retrain every night at 02:00 UTC.",
    )
    def retrain_nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        as_of = context.scheduled_execution_time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return dg.RunRequest(
            run_key=f"schedule:{as_of:%Y-%m-%d}",
            run_config=dict(run_config(use_case, as_of, "schedule")),
            tags={TRIGGER_TAG: "schedule", AS_OF_TAG: as_of.isoformat()},
        )

    return retrain_nightly
