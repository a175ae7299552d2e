"""Ticks of a retrain sensor: one run a failing evaluation, whatever happens around it."""

import dagster as dg
import pytest

from shadow_platform.automation import evaluations, retrain_run_config
from shadow_platform.automation.evaluations import Cursor
from shadow_platform.automation.nightly import decide_run_config
from shadow_platform.automation.requests import TRIGGER_ID_TAG
from shadow_platform.automation.verdicts import PERFORMANCE
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import (
    KEY,
    report_live_verdict,
    report_performance,
    report_verdict,
    window_end,
)
from shadow_platform_tests.tiny import USE_CASE as TINY


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


def test_a_failing_performance_verdict_trains_on_every_label_it_knew(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, trigger=PERFORMANCE)
    report_performance(instance, 1, "pass")
    report_performance(instance, 2)
    request = daemon.tick().run_requests[0]
    assert request.run_key == "performance:p2"
    assert request.run_config == retrain_run_config(TINY, window_end(2), "performance")
    assert not daemon.tick().run_requests
    assert {id_: outcome for id_, (outcome, _) in daemon.decisions().items()} == {"p2": "started"}


def test_passing_and_insufficient_evaluations_start_nothing(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    for number, outcome in enumerate(["pass", "insufficient", "pass"]):
        report_verdict(instance, number, outcome)
    data = daemon.tick()
    assert not data.run_requests
    assert data.skip_message == "no failing drift evaluation since the last tick"


def test_a_sensor_acts_on_its_own_kind_of_verdict_alone(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = Daemon(layout, instance), Daemon(layout, instance, trigger=PERFORMANCE)
    report_performance(instance, 1)
    assert not drift.tick().run_requests
    assert performance.tick().run_requests


def test_a_live_verdict_starts_a_run_as_a_daily_one_does(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_live_verdict(instance, 1)
    assert daemon.tick().run_requests[0].run_key == "drift:live1"


def test_a_verdict_older_than_the_one_just_read_of_another_asset_is_not_passed_over(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1, "pass")
    daemon.tick()
    before = Cursor.parse(daemon.cursor)
    report_verdict(instance, 2)
    report_live_verdict(instance, 2, "pass")
    seen = instance.fetch_materializations(dg.AssetKey([TINY.name, "live_drift_verdict"]), limit=1).records[0]
    # As if the daily verdict had been read before it was there, and the live one, which is younger, after it.
    daemon.cursor = Cursor({**before.after, "live_drift_verdict": seen.storage_id}).text()
    daemon.tick()
    assert daemon.runs() == ["e2"]


def test_a_failure_hidden_behind_later_passes_is_seen(
    layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluations, "PAGE", 3)
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
    assert daemon.decisions()["e1"] == ("skipped", "answered by the run for drift e3")
    assert not daemon.tick().run_requests


def test_judging_the_same_window_again_starts_no_second_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    for _ in range(3):
        report_verdict(instance, 1)
        daemon.tick()
    assert daemon.runs() == ["e1"]
    assert daemon.decisions()["e1"][0] == "started"


def test_a_failure_that_late_data_took_back_starts_nothing_any_more(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.run({})
    report_verdict(instance, 1)
    assert "cooldown" in daemon.tick().skip_message
    report_verdict(instance, 1, "pass", evaluation_id="e1-with-late-data")
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"
    assert daemon.decisions()["e1"] == ("skipped", "the window was judged anew since, on other data")


def test_a_failure_is_not_taken_back_by_an_evaluation_without_enough_evidence(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    report_verdict(instance, 1, "insufficient", evaluation_id="e1-without-data")
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_a_window_that_fails_again_with_late_data_starts_one_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    running = daemon.run({}, dg.DagsterRunStatus.STARTED)
    report_verdict(instance, 1)
    daemon.tick()
    report_verdict(instance, 1, evaluation_id="e1-with-late-data")
    instance.report_run_canceled(instance.get_runs(dg.RunsFilter(run_ids=[running]))[0])
    for _ in range(2):
        daemon.tick()
    assert daemon.runs() == [None, "e1-with-late-data"]
    assert daemon.decisions()["e1"] == ("skipped", "the window was judged anew since, on other data")


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


def test_a_tick_that_dies_before_the_launch_starts_its_run_at_the_next(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    assert daemon.evaluate().run_requests
    daemon.tick()
    assert daemon.runs() == ["e1"]


@pytest.mark.parametrize(
    "cursor",
    [
        *(None, "", "garbage", "{", "[]", "null", "true", "-3", '"x"', '{"after": "x"}', '{"after": {"x": "y"}}'),
        *('{"after": null, "recorded_run": 3}', '{"after": 0, "unlinked": {}}', '{"recorded_run": "no such run"}'),
    ],
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
    facts = {"outcome": "fail", "window_end": "no time"}
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=facts))
    daemon = Daemon(layout, instance)
    daemon.tick()
    assert [str(run).startswith("storage-") for run in daemon.runs()] == [True]


def test_a_run_is_tagged_with_what_asked_for_it(layout: Layout, instance: dg.DagsterInstance) -> None:
    report_verdict(instance, 1)
    tags = Daemon(layout, instance).tick().run_requests[0].tags
    assert tags["shadow/trigger"] == "drift"
    assert tags[TRIGGER_ID_TAG] == "e1"
    assert tags["shadow/as_of"] == window_end(1).isoformat()


@pytest.mark.parametrize("trigger", ["drift", "performance", "data", "schedule"])
def test_the_run_config_fits_the_retrain_job(trigger: str) -> None:
    from shadow_platform.definitions import build_definitions

    job = build_definitions([TINY]).resolve_job_def("tiny_retrain")
    config = retrain_run_config(TINY, window_end(0), trigger)
    assert dg.validate_run_config(job, config)


def test_the_config_of_a_nightly_decision_fits_the_decide_job() -> None:
    from shadow_platform.definitions import build_definitions

    job = build_definitions([TINY]).resolve_job_def("tiny_decide")
    assert dg.validate_run_config(job, decide_run_config(TINY, window_end(0)))
