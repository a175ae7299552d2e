"""Late events: the days they touch are made again, and nothing else.

Belongs here: finding what is due, one step a run. Does not belong here: making it (the job reopen), and which days a
late event touches (``domain.features``). Upstream: raw files, segments of the stream, records of partitions, run
records. Downstream: the job.

First the events of a day whose raw file changed since they were made; then, where their rows differ, the days of a
view that could see them; then, where its rows differ from what the online store was given, the store. A day of a view
that would be made with events that changed their form upstream, and was not before, is left to a person and named. What
is due is read from the records beside the partitions, never from a cursor: a tick that is lost or repeated changes
nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg

from shadow_platform.automation.attempts import MAX_ATTEMPTS, attempts_of, run_key
from shadow_platform.automation.restraints import UNFINISHED
from shadow_platform.automation.ticks import Job
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.features import (
    due_days,
    inputs_fingerprint,
    kinds_read,
    late_days,
    newly_misshapen,
    runs_of_days,
    stale_days,
)
from shadow_platform.partitions import INSTANT, end_of, partition_range, start_of
from shadow_platform.resources import PlatformResource

REOPENED_TAG, REASON_TAG = "shadow/reopened", "shadow/reason"
INTERVAL_S = 60
# A file that was written a moment ago may still be growing.
SETTLED_AFTER = timedelta(minutes=2)
MAX_DAYS = 31


@dataclass(frozen=True, slots=True)
class Step:
    """A run that is due.

    Attributes:
        names: assets it makes.
        days: first and last day.
        reason: why, for people.
        state: what tells this change from any other of the same days.
        obstacle: what a person must decide first, in words; empty when there is nothing.
    """

    names: tuple[str, ...]
    days: tuple[date, date]
    reason: str
    state: str
    obstacle: str = ""

    @property
    def digest(self) -> str:
        """Identity of the change."""
        return hashlib.sha256(f"{self.names} {self.days} {self.state}".encode()).hexdigest()[:16]


def build_late_sensor(use_case: UseCase, job: Job, interval_s: int = INTERVAL_S) -> dg.SensorDefinition:
    """Sensor that starts ``job`` for what late events touch, one run at a time.

    A run that failed or was canceled is tried again at the next ticks, three times in all; then the next step has its
    turn. While a run of the jobs ingest, reopen, materialize or daily is not finished it waits, and so it does for two
    minutes after a file was written. On by default: without it a late event stands in no table, and nothing would say
    so.
    """
    writers = (f"{use_case.name}_{name}" for name in ("ingest", "materialize", "daily"))
    jobs = (job.name, *writers, "__ASSET_JOB")

    @dg.sensor(
        name=f"{use_case.name}_late_days",
        job=job,
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Make again what late events touch: their day, the feature rows that could see them, the store.",
    )
    def late_days_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        for name in jobs:
            running = context.instance.get_runs(dg.RunsFilter(job_name=name, statuses=UNFINISHED), limit=1)
            if running:
                return dg.SkipReason(f"run {running[0].run_id} of {name} is not finished")
        left: list[str] = []
        for step in _steps(platform, use_case):
            if step.obstacle:
                left.append(f"{step.reason}: {step.obstacle}")
                continue
            attempts = attempts_of(context.instance, job.name, {REOPENED_TAG: step.digest})
            if len(attempts.runs) < MAX_ATTEMPTS:
                return _request(use_case, step, attempts.next_number)
            left.append(f"{step.reason}: {len(attempts.runs)} runs did not, the last is {attempts.runs[0].run_id}")
        return dg.SkipReason("; ".join(left) or "no day is touched by late events")

    return late_days_sensor


def _steps(platform: PlatformResource, use_case: UseCase) -> Iterator[Step]:
    now = platform.now()
    yield from _late_events(platform, use_case, now)
    for view in use_case.views:
        yield from _due_features(platform, use_case, view)
    yield from _stale_online(platform, use_case, now.date())


def _late_events(platform: PlatformResource, use_case: UseCase, now: datetime) -> Iterator[Step]:
    """Days that are over and whose files have been still for a while, in runs of days."""
    notes = platform.partition_records(use_case)
    states: dict[date, dict[str, str]] = {}
    is_streamed: set[date] = set()
    for kind in use_case.events:
        known = {day: record.source for day, record in notes.events(kind).items() if day < now.date()}
        found = {day: state for day, source in known.items() if (state := notes.source(kind, day, source))}
        for day in late_days(known, found):
            age_s = now.timestamp() - found[day].changed_at_ns / 1e9
            if 0 <= age_s < SETTLED_AFTER.total_seconds():
                continue
            states.setdefault(day, {})[kind.name] = found[day].model_dump_json()
            if found[day].stream_bytes != known[day].stream_bytes:
                is_streamed.add(day)
    for run in runs_of_days(states, MAX_DAYS):
        kinds = sorted({kind for day in run for kind in states[day]})
        raw = ("raw_events",) if is_streamed & set(run) else ()
        yield Step(
            names=(*raw, "events", "quarantined_events"),
            days=(run[0], run[-1]),
            reason=f"raw {', '.join(kinds)} of {_told(run)} changed after its events were made",
            state=repr([states[day] for day in run]),
        )


def _due_features(platform: PlatformResource, use_case: UseCase, view: FeatureView) -> Iterator[Step]:
    notes = platform.partition_records(use_case)
    made = notes.features(view)
    events = {kind.name: notes.events(kind) for kind in kinds_read(view, use_case.events)}
    versions = {kind: {day: record.fingerprint for day, record in of.items()} for kind, of in events.items()}
    misshapen = {kind: {d: of[d] for d in of if events[kind][d].is_misshapen} for kind, of in versions.items()}
    obstacles: dict[str, list[date]] = {}
    for day in due_days(view, versions, {day: record.inputs for day, record in made.items()}):
        new = newly_misshapen(view, day, misshapen, made[day].misshapen)
        obstacles.setdefault(", ".join(sorted(f"{kind} of {d}" for kind, d, _ in new)), []).append(day)
    for obstacle, days in obstacles.items():
        for run in runs_of_days(days, len(days)):
            yield Step(
                names=(view.name,),
                days=(run[0], run[-1]),
                reason=f"events that {view.name} of {_told(run)} could see changed after it was made",
                state=repr([(made[day].inputs, inputs_fingerprint(view, day, versions)) for day in run]),
                obstacle=obstacle
                and f"most rows of {obstacle} are quarantined; put them right, or materialize these days to accept it",
            )


def _stale_online(platform: PlatformResource, use_case: UseCase, today: date) -> Iterator[Step]:
    """Days that the online store was given before they were made again; none before it was filled.

    A store that was away comes back, and nothing of the days tells: each day it is tried anew.
    """
    notes = platform.partition_records(use_case)
    states: dict[date, dict[str, tuple[str, str]]] = {}
    for view in use_case.views:
        brought = notes.online(view)
        made = {day: record.fingerprint for day, record in notes.features(view).items()}
        for day in stale_days(brought, made):
            states.setdefault(day, {})[view.name] = (brought[day], made[day])
    for run in runs_of_days(states, len(states)):
        views = sorted({name for day in run for name in states[day]})
        yield Step(
            names=("online_features",),
            days=(run[0], run[-1]),
            reason=f"{', '.join(views)} of {_told(run)} changed after it was brought online",
            state=repr((today, [states[day] for day in run])),
        )


def _told(run: list[date]) -> str:
    return f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0])


def _request(use_case: UseCase, step: Step, attempt: int) -> dg.RunRequest:
    first, last = step.days
    config: dict[str, Any] = {}
    if "online_features" in step.names:
        window = {"start": start_of(first).isoformat(), "end": (end_of(last) - INSTANT).isoformat()}
        config = {"ops": {f"{use_case.name}__online_features": {"config": window}}}
    return dg.RunRequest(
        run_key=run_key(f"late:{step.digest}", attempt),
        run_config=config,
        asset_selection=[dg.AssetKey([use_case.name, name]) for name in step.names],
        tags={**partition_range(first, last), REOPENED_TAG: step.digest, REASON_TAG: step.reason},
    )
