"""Plays a trip step by step: traffic, tables, verdicts, trainings, decisions, and then the next days.

Belongs here: the order of a step, and where a journey stands. Does not belong here: what a policy believes
(``beliefs``), which assets run how (``runs``), what is told of it (``story``, ``truth``). Upstream: a trip. Downstream:
the output folder.

Where it stands is in the folder after every step, so that a journey that was stopped goes on where it was.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from shadow_platform.adapters.pages.journey import journey_html
from shadow_platform.adapters.pictures.journey import journey_png
from shadow_platform.automation.requests import TrainingRequest, retrain_run_config
from shadow_platform.automation.restraints import Restraints
from shadow_platform.automation.rules import budget_frees, cooldown_ends
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS, PERFORMANCE_VERDICTS
from shadow_platform.partitions import start_of
from shadow_platform.time_machine.beliefs import Beliefs
from shadow_platform.time_machine.platform import SimulatedPlatform
from shadow_platform.time_machine.runs import Runs
from shadow_platform.time_machine.story import Event, summarise, timeline, write_csv, write_json
from shadow_platform.time_machine.traffic import Answer, Traffic
from shadow_platform.time_machine.trip import Trip
from shadow_platform.time_machine.truth import performance, truth
from shadow_platform.time_machine.world import landed, share, write_plan

DAY = timedelta(days=1)
BOOTSTRAP = ("feature_definitions", "training_frame", "champion_model", "deployment")
OBSERVE = ("predictions", "shadow_comparisons", "labels")
JUDGE = ("drift_verdict", "performance_daily", "performance_verdict")
DECIDE = ("a_a_run", "gate_decision", "promotion")
RETRAIN = ("training_frame", "challenger_model", "deployment")
JOBS = {
    "bootstrap": BOOTSTRAP,
    "observe": OBSERVE,
    "judge": JUDGE,
    "decide": DECIDE,
    "retrain": RETRAIN,
    "compare": ("shadow_comparisons",),
}
ANSWER_COLUMNS = list(Answer._fields)
Progress = Callable[[str, date], None]


class Journey:
    """A trip under way.

    Args:
        folder: gets the story; below it lies the home that is played in.
        worlds: folder of landed worlds, shared by journeys.
        progress: told before each part of each step.

    Attributes:
        seconds: of processor time, by part of a step.
        days_per_second: days played by the last ``play``, without those found played, the landing and the first model.
    """

    def __init__(self, trip: Trip, folder: Path, worlds: Path, progress: Progress = lambda _what, _day: None) -> None:
        self.trip, self.folder, self._worlds, self._progress = trip, folder, worlds, progress
        self.home = folder / "home"
        self.seconds: dict[str, float] = {}
        self.days_per_second = 0.0
        self.events: list[Event] = []
        self._answers: list[pd.DataFrame] = []
        self.n_steps = 0
        self._is_open = self._is_stopped = False
        self._held = ExitStack()

    def play(self) -> dict[str, Any]:
        """Play what is left of the trip, or until it is stopped, and write its story; the summary, empty if none.

        Raises:
            ShadowPlatformError: the folder holds another journey, or an asset failed.
        """
        try:
            self.open()
            began, found = time.perf_counter(), self.days_played
            for place, (first, until) in enumerate(self.trip.steps()):
                if place >= self.n_steps and not self._is_stopped:
                    self._step(first, until)
                    self.n_steps = place + 1
                    self._keep()
            self.days_per_second = (self.days_played - found) / max(time.perf_counter() - began, 1e-9)
        finally:
            self._held.close()
        return self.tell() if self.n_steps else {}

    def stop(self) -> None:
        """Let ``play`` end with the step under way; called from another thread."""
        self._is_stopped = True

    @property
    def days_played(self) -> int:
        """Days that have been answered and judged."""
        steps = self.trip.steps()[: self.n_steps]
        return (steps[-1][1] - self.trip.start).days if steps else 0

    def open(self) -> None:
        """Land the world and train the first model, or find where the journey stands; ``play`` does it by itself."""
        if self._is_open:
            return
        told = {**self.trip.told, "world": self.trip.world}
        noted = self.folder / "trip.json"
        if noted.exists() and json.loads(noted.read_text()) != json.loads(json.dumps(told)):
            raise ShadowPlatformError(
                f"{self.folder} holds another journey; choose another --output, or play --anew to replace it"
            )
        self._progress("landing the world", self.trip.start)
        world = landed(self.trip, self._worlds)
        share(world, self.home)
        write_plan(self.trip, Layout(self.home))
        write_json(noted, told)
        use_case = self.trip.use_case
        self._runs = self._held.enter_context(closing(Runs(use_case, JOBS)))
        self._traffic = Traffic(use_case)
        self._beliefs = Beliefs(self.trip, self._runs)
        if (self.folder / "progress.json").exists():
            self._resume()
        else:
            shutil.rmtree(self.home / "answers", ignore_errors=True)
            self._bootstrap()
        self._is_open = True

    def _bootstrap(self) -> None:
        for drift in (self.trip.plan.drifts or ()) if self.trip.plan else ():
            told = f"{drift.kind} drift of size {drift.size:g}, {drift.shape}"
            if self.trip.start <= drift.start < self.trip.end:
                self.events.append(Event(drift.start, "world", drift.kind, "", told))
        platform = self._platform(self.trip.start)
        self._progress("the first model", self.trip.start)
        if platform.manifest(self.trip.use_case) is None:
            as_of, model = {"as_of": platform.simulated_now}, {"model": self.trip.model}
            reason = self._runs.run("bootstrap", platform, training_frame=as_of, champion_model=model)
            if reason is not None:
                raise ShadowPlatformError(
                    f"no first model on {self.trip.start}: {reason}; give more --entities, another --model, or a later "
                    "--start"
                )
        champion = platform.require_manifest(self.trip.use_case, "no first model").champion
        told = f"{champion.model_name}, the first model"
        self.events.append(Event(self.trip.start, "training", "registered", champion.version, told))

    def _step(self, first: date, until: date) -> None:
        use_case, platform = self.trip.use_case, self._platform(until)
        self._timed("traffic", until, lambda: self._answer(platform, first, until))
        last = until - DAY
        self._timed("observe", until, lambda: self._runs.must_run("observe", platform, (first, last)))
        as_of = {"as_of": platform.simulated_now}
        if self.trip.policy.retraining == "verdict":
            since = start_of(until) - use_case.label.horizon - use_case.performance.window - 2 * (until - first)
            self._timed(
                "judge",
                until,
                lambda: self._runs.must_run(
                    "judge",
                    platform,
                    (last, last),
                    performance_daily={**as_of, "first_day": since.date().isoformat()},
                    performance_verdict=as_of,
                ),
            )
        self._timed("decide", until, lambda: self.events.extend(self._beliefs.look(platform, until)))
        request = self._timed("trigger", until, lambda: self._asked(platform, first, until))
        # What is trained behind the last answer answers nothing.
        if request is not None and until < self.trip.end:
            self._timed("retrain", until, lambda: self._retrain(platform, request, until))

    def _answer(self, platform: SimulatedPlatform, first: date, until: date) -> None:
        answers = pd.DataFrame(self._traffic.play(platform, first, until), columns=ANSWER_COLUMNS)
        self._answers.append(answers)

    def _asked(self, platform: SimulatedPlatform, first: date, until: date) -> TrainingRequest | None:
        """The training that is to start now; what asks in vain is noted."""
        policy, now = self.trip.policy, start_of(until)
        if policy.retraining == "monthly":
            is_due = until.month != (until - DAY).month or any(
                (first + n * DAY).day == 1 for n in range(1, (until - first).days)
            )
            return TrainingRequest("schedule", f"month {until:%Y-%m}", now, now) if is_due else None
        if policy.retraining == "never":
            return None
        requests = self._failed_verdicts(platform, until)
        if not requests:
            return None
        request = requests[-1]
        reason = self._reason_to_wait(platform, request)
        if reason is not None:
            self.events.append(Event(until, "trigger", "held back", "", f"{request.trigger}: {reason}"))
        return request if reason is None else None

    def _reason_to_wait(self, platform: SimulatedPlatform, request: TrainingRequest) -> str | None:
        """What restrains a training; runs are recorded by the clock on the wall, so their times come from the story."""
        policy, now = self.trip.use_case.retrain, request.as_of
        started = [start_of(event.day) for event in self.events if event.kind == "training"]
        if cooldown_ends(policy, started, now):
            return f"cooldown of {policy.cooldown} after the last training"
        if budget_frees(policy, started, now):
            return f"{policy.max_per_week} trainings in a week are the budget"
        restraints = Restraints(self._runs.instance, platform, self.trip.use_case, self._runs.job_name("retrain"))
        return restraints.reason_to_drop(request) or restraints.reason_to_wait(request)

    def _failed_verdicts(self, platform: SimulatedPlatform, until: date) -> list[TrainingRequest]:
        lake, now, found = platform.lake(), start_of(until), []
        for kind, table in (("drift", DRIFT_VERDICTS), ("performance", PERFORMANCE_VERDICTS)):
            rows = lake.read_table(table, self.trip.use_case)
            rows = rows[rows["evaluated_at"] == pd.Timestamp(now)].sort_values("window_end")
            for row in rows.tail(1).to_dict("records"):
                self.events.append(Event(until, kind, str(row["outcome"]), "", str(row["explanation"])))
                if row["outcome"] == "fail":
                    found.append(TrainingRequest(kind, str(row["evaluation_id"]), now, now))
        return found

    def _retrain(self, platform: SimulatedPlatform, request: TrainingRequest, until: date) -> None:
        use_case = self.trip.use_case
        run = request.run_request(use_case, retrain_run_config)
        reason = self._runs.run(
            "retrain",
            platform,
            tags={name: str(value) for name, value in run.tags.items()},
            training_frame={"as_of": request.as_of.isoformat()},
            challenger_model={"model": self.trip.model, "trigger": request.trigger},
        )
        versions = [found.version for found in platform.registry().versions(use_case.name)]
        if not versions or platform.bundle(use_case, versions[-1]).manifest.trained_as_of != request.as_of:
            self.events.append(Event(until, "training", "refused", "", reason or "the same model as before"))
            return
        version = versions[-1]
        self.events.append(Event(until, "training", "registered", version, f"asked for by {request.trigger}"))
        self.events.extend(self._beliefs.trained(platform, version, until))
        self._replay(platform, version, until)

    def _replay(self, platform: SimulatedPlatform, version: str, until: date) -> None:
        """Let a new challenger score what was answered since the rows that its training kept for evaluation."""
        manifest = platform.require_manifest(self.trip.use_case, "no champion")
        challenger = next((model for model in manifest.challengers if model.version == version), None)
        if challenger is None:
            return
        bundle = platform.bundles().load(challenger.bundle_hash)
        since = max(start_of(self.trip.start), bundle.manifest.evaluation_start.astimezone(UTC))
        if self._traffic.shadow(platform, challenger, since, start_of(until), is_replay=True):
            self._runs.must_run("compare", platform, (since.date(), until - DAY))

    def _platform(self, day: date) -> SimulatedPlatform:
        return SimulatedPlatform(shadow_home=str(self.home), simulated_now=start_of(day).isoformat())

    def _timed(self, what: str, day: date, work: Callable[[], Any]) -> Any:
        self._progress(what, day)
        began = time.process_time()
        try:
            return work()
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.process_time() - began

    def _keep(self) -> None:
        folder = self.home / "answers"
        folder.mkdir(exist_ok=True)
        self._answers[-1].to_parquet(folder / f"{self.n_steps:04d}.parquet", index=False)
        rows = timeline(self.events).to_dict("records")
        beside = self.folder / "progress.new"
        beside.write_text(json.dumps({"n_steps": self.n_steps, "events": rows}))
        beside.replace(self.folder / "progress.json")

    def _resume(self) -> None:
        state = json.loads((self.folder / "progress.json").read_text())
        self.n_steps = state["n_steps"]
        self.events = [Event(**{**row, "day": date.fromisoformat(row["day"])}) for row in state["events"]]
        files = sorted((self.home / "answers").glob("*.parquet"))[: self.n_steps]
        self._answers = [pd.read_parquet(path) for path in files]

    def tell(self) -> dict[str, Any]:
        """Write what happened so far; the summary."""
        answers = pd.concat(self._answers, ignore_index=True)
        platform = self._platform(self.trip.end)
        weeks = performance(answers, truth(self.trip, platform, answers), self.trip.step_days)
        events = timeline(self.events)
        summary = summarise(self.trip, events, weeks)
        write_csv(self.folder / "timeline.csv", events)
        events.to_parquet(self.folder / "timeline.parquet", index=False)
        write_csv(self.folder / "performance.csv", weeks)
        write_json(self.folder / "summary.json", summary)
        title = f"{self.trip.use_case.name}, policy {self.trip.policy.name}: {self.trip.policy.summary}"
        picture = journey_png(weeks, events, title)
        (self.folder / "timeline.png").write_bytes(picture)
        (self.folder / "timeline.html").write_bytes(journey_html(title, summary, weeks, events, picture))
        return summary
