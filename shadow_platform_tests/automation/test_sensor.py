"""Ticks of the retrain sensor: one run a failing evaluation, whatever happens around it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._time import get_current_datetime

from shadow_platform import automation
from shadow_platform.adapters.lake import Lake
from shadow_platform.automation import EVALUATION_TAG, Cursor, build_retrain_sensor, build_schedule, retrain_run_config
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, MODEL_VERSIONS, PIPELINE_RUNS
from shadow_platform.contracts.use_case import RetrainPolicy, UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.automation.location import EAGER, JOB
from shadow_platform_tests.automation.verdicts import KEY, report_verdict, window_end
from shadow_platform_tests.tiny import USE_CASE as TINY

PATIENT = replace(TINY, retrain=RetrainPolicy(cooldown=timedelta(hours=6), min_new_labels=200))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Daemon:
    """Ticks the sensor as the daemon does: launches what it requests and keeps its cursor."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance, use_case: UseCase = EAGER) -> None:
        self.instance = instance
        self.sensor = build_retrain_sensor(use_case, JOB)
        self.platform = PlatformResource(shadow_home=str(layout.home))
        self.lake = Lake(layout)
        self.cursor: str | None = None

    def tick(self, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS, *, dies: bool = False) -> Any:
        """One tick; with ``dies`` the run is launched but the cursor is not stored."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"platform": self.platform}
        )
        data = self.sensor.evaluate_tick(context)
        for request in data.run_requests or []:
            create_run_for_test(
                self.instance, job_name=JOB.name, run_config=request.run_config, tags=request.tags, status=status
            )
        if not dies:
            self.cursor = data.cursor
        return data

    def runs(self) -> list[str]:
        """Evaluations of the runs so far, oldest first."""
        return [run.tags[EVALUATION_TAG] for run in reversed(self.instance.get_runs())]

    def decisions(self) -> dict[str, tuple[str, str]]:
        """Outcome and reason in pipeline_runs by evaluation."""
        rows = self.lake.read_table(PIPELINE_RUNS, TINY)
        assert rows["trigger_id"].is_unique
        return {str(row.trigger_id): (str(row.outcome), str(row.reason)) for row in rows.itertuples(index=False)}


def test_one_failing_evaluation_starts_one_run_as_of_the_end_of_its_window(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    request = daemon.tick().run_requests[0]
    assert request.run_key == "drift:e1"
    assert request.run_config == retrain_run_config(TINY, window_end(1), "drift")
    assert request.run_config["ops"]["tiny__training_frame"]["config"]["as_of"] == "2024-02-14T00:00:00+00:00"
    for _ in range(3):
        assert not daemon.tick().run_requests
    assert daemon.runs() == ["e1"]


def test_passing_and_insufficient_evaluations_start_nothing(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    for number, outcome in enumerate(["pass", "insufficient", "pass"]):
        report_verdict(instance, number, outcome)
    data = daemon.tick()
    assert not data.run_requests
    assert data.skip_message == "no failing drift evaluation since the last tick"


def test_a_failure_hidden_behind_later_passes_is_seen(
    layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "PAGE", 3)
    daemon = Daemon(layout, instance)
    report_verdict(instance, 0)
    for number in range(1, 10):
        report_verdict(instance, number, "pass")
    daemon.tick()
    assert daemon.runs() == ["e0"]


def test_several_pending_failures_make_one_run_of_the_latest_window(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    for number in (2, 3, 1):
        report_verdict(instance, number)
    daemon.tick()
    assert daemon.runs() == ["e3"]
    assert daemon.decisions()["e3"][0] == "started"
    assert daemon.decisions()["e1"] == ("skipped", "answered by the run for evaluation e3")
    assert not daemon.tick().run_requests


def test_judging_the_same_window_again_starts_no_second_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    for _ in range(3):
        report_verdict(instance, 1)
        daemon.tick()
    assert daemon.runs() == ["e1"]
    assert daemon.decisions()["e1"][0] == "started"


def test_a_later_failing_evaluation_starts_its_own_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    for number in (1, 2):
        report_verdict(instance, number)
        daemon.tick()
    assert daemon.runs() == ["e1", "e2"]


def test_a_tick_that_dies_after_the_launch_starts_no_second_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(dies=True)
    assert not daemon.tick().run_requests
    assert daemon.decisions()["e1"][0] == "started"
    assert daemon.runs() == ["e1"]


def test_an_unfinished_run_defers_a_failure_and_does_not_lose_it(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(dg.DagsterRunStatus.STARTED)
    report_verdict(instance, 2)
    before = Cursor.parse(daemon.cursor).after
    data = daemon.tick()
    assert "is not finished" in data.skip_message
    assert Cursor.parse(daemon.cursor).after == before
    assert daemon.decisions()["e2"][0] == "deferred"

    running = instance.get_runs()[0]
    instance.report_run_canceled(running)
    daemon.tick()
    assert daemon.runs() == ["e1", "e2"]
    assert daemon.decisions()["e2"][0] == "started"


def test_cooldown_defers_until_it_is_over(
    layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    daemon.tick()
    report_verdict(instance, 2)
    assert "cooldown of 6:00:00 after run" in daemon.tick().skip_message
    first = daemon.decisions()["e2"]
    assert not daemon.tick().run_requests
    assert daemon.decisions()["e2"] == first

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return get_current_datetime() + timedelta(hours=6, minutes=1)

    monkeypatch.setattr(automation, "datetime", Later)
    daemon.tick()
    assert daemon.runs() == ["e1", "e2"]


def test_the_run_of_a_trigger_stands_in_pipeline_runs(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick()
    daemon.tick()
    rows = daemon.lake.read_table(PIPELINE_RUNS, TINY)
    assert rows["run_id"].tolist() == [instance.get_runs()[0].run_id]
    assert Cursor.parse(daemon.cursor).unlinked == {}


def _trained(lake: Lake, as_of: datetime) -> None:
    row = {
        "use_case": TINY.name, "version": "1", "model_name": "line", "bundle_hash": "x", "run_id": "x",
        "created_at": as_of, "trained_as_of": as_of, "metrics": "{}", "parameters": "{}", "fingerprints": "{}",
    }  # fmt: skip
    lake.append_rows(MODEL_VERSIONS, TINY, [row])


def _labelled(lake: Lake, at: datetime, n: int) -> None:
    times = pd.to_datetime([at] * n, utc=True)
    rows = {"use_case": TINY.name, "subject_id": [f"s{i}" for i in range(n)], "requested_at": times}
    known = {"label": True, "event_at": times, "known_at": times, "source": "events"}
    lake.write_table(LABELS, TINY, at.date(), pd.DataFrame({**rows, **known}))


def test_a_failure_waits_for_enough_new_labels(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    _trained(daemon.lake, window_end(-7))
    report_verdict(instance, 1)
    assert "0 new labels since the training as of 2024-02-06" in daemon.tick().skip_message
    _labelled(daemon.lake, window_end(-1), 199)
    assert "199 new labels" in daemon.tick().skip_message
    _labelled(daemon.lake, window_end(-1), 200)
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_a_window_that_the_latest_model_knows_starts_nothing_ever(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    _trained(daemon.lake, window_end(1))
    report_verdict(instance, 1)
    assert "already knows the window" in daemon.tick().skip_message
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"
    assert daemon.decisions()["e1"][0] == "skipped"


@pytest.mark.parametrize(
    "cursor",
    [None, "", "garbage", "{", "[]", "null", "true", "-3", '"x"', '{"after": "x"}', '{"after": null, "unlinked": 3}'],
)
def test_any_cursor_is_read_and_starts_from_the_beginning(
    layout: Layout, instance: dg.DagsterInstance, cursor: str | None
) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.cursor = cursor
    daemon.tick()
    daemon.cursor = cursor
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_a_plain_storage_id_is_a_cursor(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    record = instance.fetch_materializations(KEY, limit=1).records[0]
    daemon.cursor = str(record.storage_id)
    assert not daemon.tick().run_requests


def test_materializations_without_our_facts_are_passed_over(layout: Layout, instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata={"outcome": "fail"}))
    daemon = Daemon(layout, instance)
    daemon.tick()
    assert [run.startswith("storage-") for run in daemon.runs()] == [True]


def test_the_schedule_trains_as_of_midnight_and_is_off_by_default() -> None:
    schedule = build_schedule(TINY, JOB)
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 3, 5, 2, 0, tzinfo=UTC))
    request = schedule.evaluate_tick(context).run_requests
    assert request is not None
    assert request[0].run_key == "schedule:2024-03-05"
    assert request[0].run_config == retrain_run_config(TINY, datetime(2024, 3, 5, tzinfo=UTC), "schedule")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 2 * * *", dg.DefaultScheduleStatus.STOPPED)


def test_the_run_config_fits_the_retrain_job() -> None:
    from shadow_platform.definitions import build_definitions

    job = build_definitions([TINY]).resolve_job_def("tiny_retrain")
    config = retrain_run_config(TINY, window_end(0), "drift")
    assert dg.validate_run_config(job, config)
