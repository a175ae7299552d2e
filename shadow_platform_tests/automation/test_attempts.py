"""A training that failed or was canceled: its evaluation is not lost, is tried again, and not for ever."""

from datetime import timedelta

import dagster as dg
import pytest

from shadow_platform.automation.attempts import MAX_RUNS
from shadow_platform.automation.verdicts import PERFORMANCE
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.conftest import SetClock
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import report_verdict

FAILURE, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("broken", [FAILURE, CANCELED])
def test_a_training_that_broke_is_tried_again_after_the_cooldown(
    layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock, broken: dg.DagsterRunStatus
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    assert daemon.tick(broken).run_requests[0].run_key == "drift:e1"
    assert "cooldown" in daemon.tick().skip_message
    set_clock(timedelta(hours=7))
    assert daemon.tick().run_requests[0].run_key == "drift:e1:attempt-2"
    daemon.tick()
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"
    assert daemon.runs() == ["e1", "e1"]


def test_three_attempts_are_all(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    keys = [request.run_key for _ in range(3) for request in daemon.tick(FAILURE).run_requests]
    assert keys == ["drift:e1", "drift:e1:attempt-2", "drift:e1:attempt-3"]
    given_up = daemon.tick().skip_message
    assert given_up.startswith("3 runs failed or were canceled, the last is ")
    assert daemon.decisions()["e1"] == ("skipped", given_up)
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"
    report_verdict(instance, 2)
    assert daemon.tick().run_requests[0].run_key == "drift:e2"


def test_how_a_training_ended_stands_in_pipeline_runs(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = Daemon(layout, instance), Daemon(layout, instance, trigger=PERFORMANCE)
    report_verdict(instance, 1)
    drift.tick(dg.DagsterRunStatus.STARTED)
    drift.tick()
    assert drift.decisions()["e1"][1].endswith("as of the last midnight of its window")
    instance.report_run_failed(instance.get_runs()[0])
    performance.tick()
    assert drift.decisions()["e1"][1].endswith("; attempt 1 failed")
    drift.tick(CANCELED)
    performance.tick()
    assert drift.decisions()["e1"][1].endswith("; attempt 2 was canceled")
    assert drift.run_ids() == {"e1": instance.get_runs()[0].run_id}


def test_a_failure_that_an_older_one_waits_with_answers_it(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(FAILURE)
    report_verdict(instance, 2)
    daemon.tick()
    daemon.tick()
    assert daemon.runs() == ["e1", "e2"]
    assert daemon.decisions()["e1"] == ("skipped", "answered by the run for drift e2")
    assert daemon.run_ids()["e1"] == instance.get_runs()[-1].run_id


def test_a_failure_that_late_data_took_back_is_not_tried_again(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(FAILURE)
    report_verdict(instance, 1, "pass", evaluation_id="e1-with-late-data")
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"


def test_a_run_that_an_outage_kept_from_beginning_is_asked_for_again_at_once_and_costs_nothing(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    for number in range(4):
        key = "drift:e1" if number == 0 else f"drift:e1:attempt-{number + 1}"
        assert daemon.tick(dg.DagsterRunStatus.NOT_STARTED).run_requests[0].run_key == key
        daemon.gives_up(instance.get_runs()[0].run_id)
    assert daemon.tick(FAILURE).run_requests[0].run_key == "drift:e1:attempt-5"
    assert "cooldown" in daemon.tick().skip_message


def test_where_no_run_ever_begins_nobody_tries_for_ever(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    for _ in range(MAX_RUNS):
        assert daemon.tick(dg.DagsterRunStatus.NOT_STARTED).run_requests
        daemon.gives_up(instance.get_runs()[0].run_id)
    assert daemon.tick().skip_message.startswith("10 runs failed or were canceled")
