"""The table pipeline_runs: every request and every run stand in it once, whoever asked."""

from datetime import UTC, datetime

import dagster as dg

from shadow_platform.automation.verdicts import PERFORMANCE
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PIPELINE_RUNS
from shadow_platform_tests.automation.ticking import Daemon
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
    path = layout.table("pipeline_runs", TINY.name, datetime.now(UTC).date())
    written = path.stat().st_mtime_ns
    for _ in range(2):
        daemon.tick()
    assert path.stat().st_mtime_ns == written
