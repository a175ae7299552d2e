"""The table pipeline_runs: every request and every run stand in it once, whoever asked."""

from pathlib import Path

import dagster as dg
import pytest

from shadow_platform.automation.verdicts import PERFORMANCE
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.retraining import HOLDS_TAG, NOTHING_TO_DO_TAG
from shadow_platform.contracts.tables import PIPELINE_RUNS
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import report_verdict
from shadow_platform_tests.tiny import USE_CASE as TINY


def test_the_run_of_a_trigger_stands_in_pipeline_runs(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick()
    assert daemon.run_ids() == {}
    daemon.tick()
    assert daemon.run_ids() == {"e1": instance.get_runs()[0].run_id}
    assert daemon.decisions()["e1"][0] == "started"


def test_a_launch_by_hand_stands_in_pipeline_runs_once(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = Daemon(layout, instance), Daemon(layout, instance, trigger=PERFORMANCE)
    by_hand = [drift.run({}) for _ in range(3)]
    for daemon in (drift, performance, drift):
        daemon.tick()
    rows = drift.lake.read_table(PIPELINE_RUNS, TINY)
    assert sorted(rows["run_id"]) == sorted(by_hand)
    assert set(rows["trigger"]) == {"manual"}
    assert set(rows["outcome"]) == {"started"}


def test_a_run_that_was_executed_again_stands_with_its_newest_run(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    request = daemon.tick(dg.DagsterRunStatus.FAILURE).run_requests[0]
    again = daemon.run(request.tags)
    daemon.tick()
    assert daemon.run_ids() == {"e1": again}


def test_reading_everything_again_rewrites_no_row_whose_run_is_known(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    for number in (1, 2):
        report_verdict(instance, number)
        daemon.tick()
    daemon.tick()
    before = daemon.lake.read_table(PIPELINE_RUNS, TINY)
    daemon.cursor = "garbage"
    daemon.tick()
    after = daemon.lake.read_table(PIPELINE_RUNS, TINY)
    columns = list(before.columns)
    assert before.sort_values("trigger_id")[columns].to_dict("records") == after.sort_values("trigger_id")[
        columns
    ].to_dict("records")


def test_an_idle_tick_writes_nothing(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    for _ in range(2):
        daemon.tick()

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in daemon.lake.files(PIPELINE_RUNS, TINY)}

    before = written()
    for _ in range(2):
        daemon.tick()
    assert written() == before != {}


def test_what_holds_back_the_attempt_after_a_run_that_broke_is_told_beside_that_run(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    drift, performance = Daemon(layout, instance, PATIENT), Daemon(layout, instance, PATIENT, PERFORMANCE)
    report_verdict(instance, 1)
    drift.tick(dg.DagsterRunStatus.FAILURE)
    for daemon in (drift, performance, drift, performance):
        daemon.tick()
        outcome, reason = drift.decisions()["e1"]
        assert (outcome, reason.partition(" of ")[0]) == ("deferred", "cooldown")
    assert drift.run_ids() == {"e1": instance.get_runs()[0].run_id}


def test_a_run_that_was_asked_less_than_its_version_was_says_so_in_pipeline_runs(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    daemon.run({HOLDS_TAG: "version 3 is not promoted"})
    daemon.tick()
    ((_, reason),) = daemon.decisions().values()
    assert reason == "a person launched the job; version 3 is not promoted"


@pytest.mark.parametrize(("tag", "outcome"), [("", "started"), ("nothing to do", "skipped")])
def test_a_run_that_found_something_to_do_after_all_has_started(
    layout: Layout, instance: dg.DagsterInstance, tag: str, outcome: str
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.run({NOTHING_TO_DO_TAG: tag})
    report_verdict(instance, 1)
    assert ("cooldown" in str(daemon.tick().skip_message)) == (outcome == "started")
    assert outcome in {told for told, _ in daemon.decisions().values()}
