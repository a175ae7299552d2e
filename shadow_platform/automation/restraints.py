"""Why a training must not start, or not yet: one is running, one just ran, too many did, nothing new is known.

Belongs here: the questions every trigger asks before it starts a run. Does not belong here: what asks. Upstream: run
records, model_versions, labels. Downstream: sensors, the schedule. Answers come from run records and tables, so that
a restarted daemon knows them; what was granted a moment ago is noted beside the lock.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
from filelock import FileLock

from shadow_platform.automation import rules
from shadow_platform.automation.attempts import ENDED_WITHOUT_ANSWER, Attempts, attempts_of, has_never_begun
from shadow_platform.automation.requests import AS_OF_TAG, TRIGGER_ID_TAG, TrainingRequest, told_of
from shadow_platform.contracts.retraining import NOTHING_TO_DO_TAG
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import INSTANT
from shadow_platform.resources import PlatformResource

LOCK_TIMEOUT_S = 60.0
# From a granted request to the record of its run: seconds. A daemon that died in between must not hold others for ever.
LAUNCH_TIMEOUT = timedelta(minutes=2)
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Restraints:
    """What holds back the trainings of one use case."""

    def __init__(
        self, instance: dg.DagsterInstance, platform: PlatformResource, use_case: UseCase, job_name: str
    ) -> None:
        self._instance = instance
        self._platform, self._lake = platform, platform.lake()
        self._use_case = use_case
        self._job_name = job_name
        self._slot = platform.layout.locks(f"retrain-{use_case.name}")

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Within it no other trigger of the use case decides or records, so that two cannot both see nothing running.

        The schedule ticks in a thread of its own, and so does every sensor where the instance says so.
        """
        self._slot.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._slot, timeout=LOCK_TIMEOUT_S):
            yield

    def grant(self, request: TrainingRequest) -> None:
        """Note that the request's run is about to start, for triggers that decide before Dagster has recorded it."""
        facts = {
            "told": request.told,
            "trigger_id": request.trigger_id,
            "attempt": self.attempts_at(request.trigger_id).next_number,
            "granted_at": self._platform.now().isoformat(),
        }
        self._granted.write_text(json.dumps(facts))

    def attempts_at(self, trigger_id: str) -> Attempts:
        """Runs that were started for a request."""
        return attempts_of(self._instance, self._job_name, {TRIGGER_ID_TAG: trigger_id})

    def reason_to_drop(self, request: TrainingRequest) -> str | None:
        """Why no run will ever be started for the request."""
        if reason := self.attempts_at(request.trigger_id).reason_to_stop:
            return reason
        same_window = self._runs(statuses=[dg.DagsterRunStatus.SUCCESS], tags={AS_OF_TAG: request.as_of.isoformat()})
        answer = self._instance.get_runs(same_window, limit=1)
        if answer:
            return f"{told_of(answer[0])} trained as of {request.as_of:%Y-%m-%d %H:%M} UTC, which answers this too"
        trained = self.last_training()
        if trained is not None and trained >= request.as_of:
            return f"a model trained as of {trained:%Y-%m-%d %H:%M} UTC already knows the window"
        return self._too_few(request) if self._are_labels_known(request) else None

    def reason_to_wait(self, request: TrainingRequest) -> str | None:
        """Why no run may start now; the wording does not change from tick to tick."""
        return (
            self.reason_to_stand_back(request)
            or self._cooling(request)
            or self._over_budget()
            or self._too_few(request)
        )

    def reason_to_stand_back(self, request: TrainingRequest) -> str | None:
        """Why not even a forced run may start now: another one is at it, and two would write the same."""
        return self._running(request) or self._granted_before(request)

    def _running(self, request: TrainingRequest) -> str | None:
        running = self._instance.get_runs(self._runs(statuses=UNFINISHED), limit=1)
        if not running:
            return None
        as_of = running[0].tags.get(AS_OF_TAG)
        answers = as_of is not None and datetime.fromisoformat(as_of) >= request.as_of
        what = f"; it trains as of {as_of}, which would answer this too" if answers else ""
        return f"{told_of(running[0])} of {self._job_name} is not finished{what}"

    def _granted_before(self, request: TrainingRequest) -> str | None:
        try:
            facts = json.loads(self._granted.read_text())
            told, trigger_id, attempt = str(facts["told"]), str(facts["trigger_id"]), int(facts["attempt"])
            age = self._platform.now() - datetime.fromisoformat(facts["granted_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_launching = timedelta(0) <= age < LAUNCH_TIMEOUT and self.attempts_at(trigger_id).next_number <= attempt
        return f"the run for {told} is about to start" if is_launching and trigger_id != request.trigger_id else None

    def _cooling(self, request: TrainingRequest) -> str | None:
        """The cooldown; a night, which is not asked for again, does not wait for a run of its own that died."""
        cooldown = self._use_case.retrain.cooldown
        trainings = [
            (at, run)
            for at, run in self._trainings()
            if not (request.trigger == "schedule" and _is_dead_run_of(request, run))
        ]
        ends = rules.cooldown_ends(self._use_case.retrain, [at for at, _ in trainings], self._platform.now())
        if ends is None:
            return None
        run = next(run for at, run in trainings if at == ends - cooldown)
        return f"cooldown of {cooldown} after {told_of(run)}, until {ends:%Y-%m-%d %H:%M} UTC"

    def _over_budget(self) -> str | None:
        started, policy, now = [at for at, _ in self._trainings()], self._use_case.retrain, self._platform.now()
        frees = rules.budget_frees(policy, started, now)
        if frees is None:
            return None
        n = len(rules.started_within_a_week(started, now))
        return (
            f"budget: {n} trainings started within seven days, at most {policy.max_per_week} may; the next one fits "
            f"at {frees:%Y-%m-%d %H:%M} UTC"
        )

    def _trainings(self) -> list[tuple[datetime, dg.DagsterRun]]:
        """Runs of late with the times of their start, whatever asked for them.

        Not those that found nothing to do, nor those that were given up before they began.
        """
        reach, now = max(self._use_case.retrain.cooldown, rules.WEEK), self._platform.now()
        records = self._instance.get_run_records(self._runs(created_after=now - reach, created_before=now + reach))
        return [
            (record.create_timestamp.astimezone(UTC), record.dagster_run)
            for record in records
            if not record.dagster_run.tags.get(NOTHING_TO_DO_TAG) and not has_never_begun(record)
        ]

    def _too_few(self, request: TrainingRequest) -> str | None:
        trained = self.last_training()
        if trained is None:
            return None
        labels = self._lake.sql(
            "SELECT count(*) AS n FROM labels WHERE use_case = $use_case AND known_at > $start AND known_at <= $end",
            {"use_case": self._use_case.name, "start": trained, "end": request.as_of},
        )
        n_new, minimum = int(labels["n"].iloc[0]), self._use_case.retrain.min_new_labels
        if n_new >= minimum:
            return None
        since = f"the training as of {trained:%Y-%m-%d %H:%M} UTC"
        return f"{n_new:,} new labels since {since}, at least {minimum:,} are needed"

    def _are_labels_known(self, request: TrainingRequest) -> bool:
        """Whether every day of labels since the last training was made, so that their number is final."""
        trained = self.last_training()
        if trained is None:
            return False
        first, last = max(trained.date(), self._use_case.first_partition), (request.as_of - INSTANT).date()
        made = [day for day in self._lake.table_days(LABELS, self._use_case) if first <= day <= last]
        return len(made) > (last - first).days

    def last_training(self) -> datetime | None:
        """Until when the newest model knows the world; no model knows what came after it was made, or comes yet."""
        trained = self._lake.sql(
            """SELECT max(least(trained_as_of, created_at)) AS at FROM model_versions
               WHERE use_case = $use_case AND least(trained_as_of, created_at) <= $now""",
            {"use_case": self._use_case.name, "now": self._platform.now()},
        )["at"].iloc[0]
        return None if pd.isna(trained) else trained.to_pydatetime()

    @property
    def _granted(self) -> Path:
        return self._slot.with_suffix(".json")

    def _runs(self, **of: object) -> dg.RunsFilter:
        return dg.RunsFilter(job_name=self._job_name, **of)  # type: ignore[arg-type]


def _is_dead_run_of(request: TrainingRequest, run: dg.DagsterRun) -> bool:
    return run.tags.get(TRIGGER_ID_TAG) == request.trigger_id and run.status in ENDED_WITHOUT_ANSWER
