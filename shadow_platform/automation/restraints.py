"""Why a training must not start, or not yet: one is running, one just ran, nothing new is known.

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

from shadow_platform.automation.attempts import Attempts, attempts_of
from shadow_platform.automation.requests import AS_OF_TAG, TRIGGER_ID_TAG, TrainingRequest, told_of
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
        self._lake = platform.lake()
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
            "granted_at": datetime.now(UTC).isoformat(),
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
        trained = self._last_training()
        if trained is not None and trained >= request.as_of:
            return f"a model trained as of {trained:%Y-%m-%d %H:%M} UTC already knows the window"
        return self._too_few(request) if self._are_labels_known(request) else None

    def reason_to_wait(self, request: TrainingRequest) -> str | None:
        """Why no run may start now; the wording does not change from tick to tick."""
        return self._running(request) or self._granted_before(request) or self._cooling() or self._too_few(request)

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
            age = datetime.now(UTC) - datetime.fromisoformat(facts["granted_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_launching = timedelta(0) <= age < LAUNCH_TIMEOUT and self.attempts_at(trigger_id).next_number <= attempt
        return f"the run for {told} is about to start" if is_launching and trigger_id != request.trigger_id else None

    def _cooling(self) -> str | None:
        """A run dated in the future tells of a clock that was put back: it counts while less than a cooldown ahead.

        So a training waits for two cooldowns at most, whatever the clock did.
        """
        cooldown, now = self._use_case.retrain.cooldown, datetime.now(UTC)
        if cooldown <= timedelta(0):
            return None
        recent = self._instance.get_run_records(
            self._runs(created_after=now - cooldown, created_before=now + cooldown), limit=1, order_by="id"
        )
        if not recent:
            return None
        ends = recent[0].create_timestamp.astimezone(UTC) + cooldown
        return f"cooldown of {cooldown} after {told_of(recent[0].dagster_run)}, until {ends:%Y-%m-%d %H:%M} UTC"

    def _too_few(self, request: TrainingRequest) -> str | None:
        trained = self._last_training()
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
        trained = self._last_training()
        if trained is None:
            return False
        first, last = max(trained.date(), self._use_case.first_partition), (request.as_of - INSTANT).date()
        made = [day for day in self._lake.table_days(LABELS, self._use_case) if first <= day <= last]
        return len(made) > (last - first).days

    def _last_training(self) -> datetime | None:
        """Until when the newest model knows the world; no model knows what came after it was made, or comes yet."""
        trained = self._lake.sql(
            """SELECT max(least(trained_as_of, created_at)) AS at FROM model_versions
               WHERE use_case = $use_case AND least(trained_as_of, created_at) <= $now""",
            {"use_case": self._use_case.name, "now": datetime.now(UTC)},
        )["at"].iloc[0]
        return None if pd.isna(trained) else trained.to_pydatetime()

    @property
    def _granted(self) -> Path:
        return self._slot.with_suffix(".json")

    def _runs(self, **of: object) -> dg.RunsFilter:
        return dg.RunsFilter(job_name=self._job_name, **of)  # type: ignore[arg-type]
