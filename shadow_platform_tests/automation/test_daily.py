"""A day goes through the loop once it is over; so do days that were missed, oldest first, for a week and no longer."""

from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, freeze_time

from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.automation.daily import DAY_TAG, build_daily_sensor
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS, LABELS, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.definitions import build_definitions
from shadow_platform.domain.serving import rfc3339
from shadow_platform.partitions import partition_range, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import deploy, requests
from shadow_platform_tests.automation.test_schedule import deployed
from shadow_platform_tests.bento.shadowed import record
from shadow_platform_tests.tiny import FIRST_DAY, TinySource
from shadow_platform_tests.tiny import USE_CASE as TINY

JOB = dg.define_asset_job("tiny_daily")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MIDNIGHT = datetime(2024, 3, 5, tzinfo=UTC)
ONE = MIDNIGHT + HOUR
SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
CREATED, STARTED = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED
WEEK = [str((MIDNIGHT - n * DAY).date()) for n in range(7, 0, -1)]
YESTERDAY = WEEK[-1]


class Daemon:
    """Ticks the sensor at times of its own, and records what it asks for as runs."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance) -> None:
        self.layout, self.instance = layout, instance

    def evaluate(self, now: datetime = ONE, use_case: UseCase = TINY) -> Any:
        """What a tick asks for."""
        platform = PlatformResource(shadow_home=str(self.layout.home), simulated_now=now.isoformat())
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": platform})
        return build_daily_sensor(use_case, JOB).evaluate_tick(context)

    def tick(self, now: datetime = ONE, status: dg.DagsterRunStatus = SUCCESS) -> list[dg.RunRequest]:
        """The run that a tick asks for, which comes to a status at once."""
        asked = list(self.evaluate(now).run_requests or [])
        with freeze_time(now):
            for request in asked:
                begins = STARTED if status is FAILURE else status
                run = create_run_for_test(self.instance, job_name=JOB.name, tags=request.tags, status=begins)
                if status is FAILURE:
                    self.instance.report_run_failed(run)
        return asked

    def days(self, now: datetime = ONE) -> list[str]:
        """Days that are asked for, tick after tick, until nothing is left."""
        asked = []
        while requests := self.tick(now):
            asked += [request.tags[DAY_TAG] for request in requests]
        return asked

    def told(self, now: datetime = ONE, use_case: UseCase = TINY) -> str:
        """Why a tick asks for nothing."""
        data = self.evaluate(now, use_case)
        assert not data.run_requests
        return str(data.skip_message)

    def is_up_to_date(self) -> None:
        """Let every day before yesterday have been made."""
        for day in (str(date.fromisoformat(WEEK[0]) - DAY), *WEEK[:-1]):
            create_run_for_test(self.instance, job_name=JOB.name, tags={DAY_TAG: day}, status=SUCCESS)


@pytest.fixture
def daemon(layout: Layout, instance: dg.DagsterInstance) -> Daemon:
    """A home whose model serves."""
    deployed(layout)
    return Daemon(layout, instance)


def test_it_is_off_by_default_and_its_job_has_the_steps_of_the_loop() -> None:
    definitions = build_definitions([TINY])
    assert definitions.resolve_sensor_def("tiny_daily").default_status == dg.DefaultSensorStatus.STOPPED
    names = ("daily", "ingest", "materialize", "monitor", "label")
    steps = {name: set(definitions.resolve_job_def(f"tiny_{name}").graph.node_dict) for name in names}
    assert steps["daily"] == steps["ingest"] | steps["materialize"] | steps["monitor"]
    assert steps["label"] < steps["daily"]


def test_the_day_before_is_asked_for_once(daemon: Daemon) -> None:
    daemon.is_up_to_date()
    (request,) = daemon.tick()
    assert request.run_key == f"daily:{YESTERDAY}"
    day = date.fromisoformat(YESTERDAY)
    assert request.tags.items() >= {**partition_range(day, day), DAY_TAG: YESTERDAY}.items()
    assert daemon.told() == f"every day until {YESTERDAY} is made, or being made"
    assert daemon.days(ONE + DAY) == [str(MIDNIGHT.date())]


def test_a_day_is_due_half_an_hour_after_its_end(daemon: Daemon) -> None:
    daemon.is_up_to_date()
    assert daemon.days(MIDNIGHT + 29 * MINUTE) == []
    assert daemon.days(MIDNIGHT + 30 * MINUTE) == [YESTERDAY]


def test_missed_days_are_asked_for_one_at_a_time_oldest_first_and_no_further_back_than_a_week(daemon: Daemon) -> None:
    assert daemon.days() == WEEK
    away = 10 * DAY
    assert daemon.days(ONE + away) == [str(date.fromisoformat(day) + away) for day in WEEK]


def test_days_outside_the_use_case_are_not_asked_for(daemon: Daemon) -> None:
    assert daemon.days(start_of(FIRST_DAY) + DAY + HOUR) == [str(FIRST_DAY)]
    ended = replace(TINY, last_partition=date.fromisoformat(WEEK[0]) - DAY)
    assert "its partitions begin with 2024-01-01 and end with 2024-02-26" in daemon.told(use_case=ended)


def test_nothing_is_asked_for_before_a_model_serves(layout: Layout, instance: dg.DagsterInstance) -> None:
    assert Daemon(layout, instance).told().startswith("use case tiny serves no model yet; run the job tiny_train")


@pytest.mark.parametrize("job", ["tiny_daily", "tiny_ingest", "tiny_reopen", "tiny_monitor", "__ASSET_JOB"])
def test_a_day_waits_for_runs_that_write_the_same_tables(daemon: Daemon, job: str) -> None:
    run = create_run_for_test(daemon.instance, job_name=job, status=STARTED)
    assert daemon.told() == f"run {run.run_id} of {job} is not finished"
    daemon.instance.report_run_canceled(run)
    assert daemon.days() == WEEK


def test_a_day_whose_run_broke_is_tried_again_an_hour_later_and_three_times_at_most(daemon: Daemon) -> None:
    daemon.is_up_to_date()
    keys = [request.run_key for request in daemon.tick(status=FAILURE)]
    assert daemon.told(ONE + 59 * MINUTE).endswith("did not, the next one starts at 2024-03-05 02:00 UTC")
    for hours in (1, 2):
        keys += [request.run_key for request in daemon.tick(ONE + hours * HOUR, FAILURE)]
    first = f"daily:{YESTERDAY}"
    assert keys == [first, f"{first}:attempt-2", f"{first}:attempt-3"]
    assert f"{YESTERDAY}: 3 runs failed or were canceled, the last is" in daemon.told(ONE + 3 * HOUR)
    assert daemon.days(ONE + DAY) == [str(MIDNIGHT.date())]


def test_a_day_that_must_wait_for_its_next_attempt_holds_up_no_other(daemon: Daemon) -> None:
    daemon.tick(status=FAILURE)
    assert daemon.days() == WEEK[1:]
    assert daemon.days(ONE + HOUR) == WEEK[:1]


def test_a_run_that_a_dying_daemon_did_not_submit_is_asked_for_under_its_own_key(daemon: Daemon) -> None:
    first, again = daemon.tick(status=CREATED)[0], daemon.evaluate().run_requests[0]
    assert (again.run_key, again.tags[DAY_TAG]) == (first.run_key, WEEK[0])
    assert first.run_key == f"daily:{WEEK[0]}"


class World:
    """A home of one day, made by the sensor and its job alone, in which every visit was answered."""

    use_case = replace(TINY, drift=replace(TINY.drift, min_rows=100, cluster=None))
    now = start_of(FIRST_DAY) + DAY + HOUR

    def __init__(self, layout: Layout, instance: dg.DagsterInstance) -> None:
        self.instance, self.lake = instance, Lake(layout)
        self.platform = PlatformResource(shadow_home=str(layout.home), simulated_now=self.now.isoformat())
        self.definitions = build_definitions([self.use_case], self.platform)
        self._deploy(layout)
        self._answer(layout, FIRST_DAY)
        self._run("train", asset_selection=[dg.AssetKey(["tiny", "feature_definitions"])])

    def act(self) -> tuple[str, bool]:
        """Run what a tick asks for: its day, and whether it succeeded."""
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": self.platform})
        (request,) = self.definitions.resolve_sensor_def("tiny_daily").evaluate_tick(context).run_requests or []
        done = self._run("daily", tags=request.tags, raise_on_error=False)
        return request.tags[DAY_TAG], done.success

    def _run(self, job: str, **arguments: Any) -> dg.ExecuteInProcessResult:
        made = self.definitions.resolve_job_def(f"tiny_{job}")
        return made.execute_in_process(instance=self.instance, **arguments)

    def _deploy(self, layout: Layout) -> None:
        reference = requests(date(2023, 12, 1), 28, 1).assign(visits_7d=1.0, purchases_7d=0.0)
        self.bundle_hash = deploy(layout, reference)
        shop = read_manifest(layout.manifest("shop"))
        assert shop is not None
        write_manifest(layout.manifest("tiny"), shop.model_copy(update={"use_case": "tiny"}))

    def _answer(self, layout: Layout, day: date) -> None:
        lines = []
        for i, visit in enumerate(TinySource().received_on(day)["visits"]):
            at = datetime.fromisoformat(visit["event_at"])
            features = {name: visit[name] for name in ("cart_value", "channel")} | {
                "visits_7d": 1.0,
                "purchases_7d": 0.0,
            }
            line = replace(
                record(i, at, visit["cart_value"]),
                request_id=f"{day}-{i}",
                use_case="tiny",
                subject_id=visit["visit_id"],
                requested_at=rfc3339(at),
                features=features,
                bundle_hash=self.bundle_hash,
            )
            lines.append(asdict(line))
        sink = FileLogSink(layout.log("predictions", "tiny"), clock=(start_of(day) + 12 * HOUR).timestamp)
        sink.append_many(lines)
        sink.close()


@pytest.fixture
def world(layout: Layout, instance: dg.DagsterInstance) -> World:
    return World(layout, instance)


def test_the_job_fills_the_tables_and_judges_the_day(world: World) -> None:
    assert world.act() == (str(FIRST_DAY), True)
    assert [world.lake.event_days(TINY, kind) for kind in TINY.events] == [[FIRST_DAY]] * 2
    assert world.lake.feature_days(TINY, TINY.views[0]) == [FIRST_DAY]
    assert world.platform.partition_records(TINY).online(TINY.views[0]).keys() == {FIRST_DAY}
    assert len(world.lake.read_table(PREDICTIONS, TINY)) == 200
    assert len(world.lake.read_table(LABELS, TINY)) > 0
    verdicts = world.lake.read_table(DRIFT_VERDICTS, TINY)
    assert verdicts[["scope", "window_end"]].to_dict("records") == [
        {"scope": "daily", "window_end": start_of(FIRST_DAY) + DAY}
    ]


def test_a_day_whose_events_are_blocked_fails_and_its_answers_are_tabled_and_judged(world: World) -> None:
    path = world.platform.layout.raw_events("tiny", "visits", FIRST_DAY)
    path.parent.mkdir(parents=True)
    path.write_text("".join(f'{{"event_id": "visit:{i}"}}\n' for i in range(50)))
    assert world.act() == (str(FIRST_DAY), False)
    assert world.lake.feature_days(TINY, TINY.views[0]) == world.lake.table_days(LABELS, TINY) == []
    assert len(world.lake.read_table(PREDICTIONS, TINY)) == 200
    assert len(world.lake.read_table(DRIFT_VERDICTS, TINY)) == 1
