"""What holds a training back: a run, a cooldown, too few labels, a model that knows; each with its reason."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from shadow_platform.automation.evaluations import Cursor
from shadow_platform.automation.verdicts import PERFORMANCE, VerdictTrigger
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.conftest import SetClock
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import report_performance, report_verdict, window_end

HOUR = timedelta(hours=1)


def test_an_unfinished_run_defers_a_failure_and_does_not_lose_it(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(dg.DagsterRunStatus.STARTED)
    report_verdict(instance, 2)
    before = Cursor.parse(daemon.cursor).after
    data = daemon.tick()
    assert "(asked for by drift e1) of tiny_retrain is not finished" in data.skip_message
    assert Cursor.parse(daemon.cursor).after == before
    assert daemon.decisions()["e2"][0] == "deferred"

    running = instance.get_runs()[0]
    instance.report_run_canceled(running)
    daemon.tick()
    assert daemon.runs() == ["e1", "e2"]
    assert daemon.decisions()["e2"][0] == "started"


def test_cooldown_defers_until_it_is_over(layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    daemon.tick()
    report_verdict(instance, 2)
    assert "cooldown of 6:00:00 after run" in daemon.tick().skip_message
    first = daemon.decisions()["e2"]
    assert first[0] == "deferred"
    assert not daemon.tick().run_requests
    assert daemon.decisions()["e2"] == first

    set_clock(6 * HOUR + timedelta(minutes=1))
    daemon.tick()
    assert daemon.runs() == ["e1", "e2"]
    assert daemon.decisions()["e2"][0] == "started"


@pytest.mark.parametrize("trigger", [None, PERFORMANCE], ids=["drift", "performance"])
def test_a_launch_by_hand_cools_down_every_trigger(
    layout: Layout, instance: dg.DagsterInstance, trigger: VerdictTrigger | None
) -> None:
    daemon = Daemon(layout, instance, PATIENT, *([trigger] if trigger else []))
    run_id = daemon.run({})
    report_verdict(instance, 1)
    report_performance(instance, 1)
    assert f"cooldown of 6:00:00 after run {run_id} (asked for by a person)" in daemon.tick().skip_message


def test_a_clock_that_was_put_back_holds_a_training_back_by_two_cooldowns_at_most(
    layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.run({})
    report_verdict(instance, 1)
    set_clock(-HOUR)
    assert "cooldown" in daemon.tick().skip_message
    set_clock(-400 * 24 * HOUR)
    daemon.tick()
    assert daemon.runs() == [None, "e1"]


def test_a_model_of_the_future_knows_nothing_yet(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    daemon.trained(datetime.now(UTC) + timedelta(days=400))
    report_verdict(instance, 1)
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_a_model_knows_nothing_that_came_after_it_was_made(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    daemon.trained(datetime.now(UTC) + timedelta(days=400), created_at=window_end(0))
    report_verdict(instance, 1)
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_a_failure_waits_for_enough_new_labels(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.trained(window_end(-7))
    report_verdict(instance, 1)
    assert "0 new labels since the training as of 2024-02-06" in daemon.tick().skip_message
    assert daemon.decisions()["e1"][0] == "deferred"
    daemon.labelled(window_end(-1), 199)
    assert "199 new labels" in daemon.tick().skip_message
    assert "199 new labels" in daemon.decisions()["e1"][1]
    daemon.labelled(window_end(-1), 200)
    daemon.tick()
    assert daemon.runs() == ["e1"]


def test_too_few_labels_are_final_once_all_that_could_be_known_are(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.trained(window_end(-2))
    report_verdict(instance, 1)
    for number in (-2, 0):
        daemon.labelled(window_end(number) + HOUR, 60)
    assert daemon.tick().skip_message.startswith("deferred: 120 new labels")
    daemon.labelled(window_end(-1) + HOUR, 60)
    assert daemon.tick().skip_message.startswith("180 new labels")
    assert daemon.decisions()["e1"][0] == "skipped"
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"


def test_a_window_that_the_latest_model_knows_starts_nothing_ever(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    daemon.trained(window_end(1))
    report_verdict(instance, 1)
    assert "already knows the window" in daemon.tick().skip_message
    assert daemon.tick().skip_message == "no failing drift evaluation since the last tick"
    assert daemon.decisions()["e1"][0] == "skipped"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"told": "x"}', '{"told": 1, "trigger_id": 2, "granted_at": 3}'])
def test_a_damaged_note_of_a_grant_holds_nothing_back(
    layout: Layout, instance: dg.DagsterInstance, content: str
) -> None:
    daemon = Daemon(layout, instance)
    note = layout.locks("retrain-tiny").with_suffix(".json")
    note.parent.mkdir(parents=True)
    note.write_text(content)
    report_verdict(instance, 1)
    daemon.tick()
    assert daemon.runs() == ["e1"]
