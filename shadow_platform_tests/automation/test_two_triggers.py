"""Drift and performance ask for the same training: one run answers both, however their ticks interleave."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from shadow_platform.automation.requests import TRIGGER_TAG
from shadow_platform.automation.verdicts import PERFORMANCE
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.conftest import SetClock
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import report_performance, report_verdict, window_end


def _both(layout: Layout, instance: dg.DagsterInstance, number: int = 1) -> tuple[Daemon, Daemon]:
    report_verdict(instance, number)
    report_performance(instance, number)
    return Daemon(layout, instance), Daemon(layout, instance, trigger=PERFORMANCE)


def test_one_run_answers_both_and_the_other_says_so(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = _both(layout, instance)
    drift.tick(dg.DagsterRunStatus.STARTED)
    run = instance.get_runs()[0]
    waiting = performance.tick().skip_message
    assert f"run {run.run_id} (asked for by drift e1) of tiny_retrain is not finished" in waiting
    assert "which would answer this too" in waiting
    assert performance.decisions()["p1"][0] == "deferred"

    instance.handle_new_event(_finished(run))
    assert "which answers this too" in performance.tick().skip_message
    assert performance.decisions()["p1"][0] == "skipped"
    assert performance.tick().skip_message == "no failing performance evaluation since the last tick"
    assert drift.runs() == ["e1"]


def _finished(run: dg.DagsterRun) -> dg.EventLogEntry:
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
    return dg.EventLogEntry(
        error_info=None, user_message="", level=20, run_id=run.run_id, timestamp=0.0, dagster_event=event
    )


def test_a_run_that_broke_answers_nobody_else(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = _both(layout, instance)
    drift.tick(dg.DagsterRunStatus.FAILURE)
    performance.tick()
    assert drift.runs() == ["e1", "p1"]


def test_a_model_trained_for_one_verdict_is_known_to_the_other(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift, performance = _both(layout, instance)
    drift.tick(dg.DagsterRunStatus.FAILURE)
    drift.trained(window_end(1) + timedelta(days=1))
    assert "already knows the window" in performance.tick().skip_message


def test_a_trigger_that_decides_before_the_run_of_another_exists_waits_for_it(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    drift, performance = _both(layout, instance)
    granted = drift.evaluate()
    assert "the run for drift e1 is about to start" in performance.tick().skip_message
    drift.launch(granted)
    performance.tick()
    assert drift.runs() == ["e1"]
    assert performance.decisions()["p1"][0] == "skipped"


def test_a_grant_whose_daemon_died_holds_others_back_for_minutes_only(
    layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock
) -> None:
    drift, performance = _both(layout, instance)
    assert drift.evaluate().run_requests
    assert not performance.tick().run_requests
    set_clock(timedelta(minutes=3))
    performance.tick()
    assert drift.runs() == ["p1"]


def test_a_grant_from_the_future_holds_nobody_back(
    layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock
) -> None:
    drift, performance = _both(layout, instance)
    assert drift.evaluate().run_requests
    set_clock(-timedelta(days=400))
    performance.tick()
    assert drift.runs() == ["p1"]


def test_two_sensors_that_tick_at_once_start_one_run(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        for number in range(1, 6):
            daemons = _both(layout, instance, number)
            start = threading.Barrier(2)
            with ThreadPoolExecutor(2) as pool:
                ticks = [pool.submit(_evaluate_at, start, daemon) for daemon in daemons]
            granted = [tick.result() for tick in ticks if tick.result().run_requests]
            assert len(granted) == 1
            daemons[0].launch(granted[0])
        assert len(instance.get_runs()) == 5


def _evaluate_at(start: threading.Barrier, daemon: Daemon) -> Any:
    start.wait()
    return daemon.evaluate()


def test_both_share_the_cooldown(layout: Layout, instance: dg.DagsterInstance) -> None:
    drift = Daemon(layout, instance, PATIENT)
    performance = Daemon(layout, instance, PATIENT, PERFORMANCE)
    report_verdict(instance, 1)
    drift.tick()
    report_performance(instance, 2)
    assert "cooldown of 6:00:00 after run" in performance.tick().skip_message
    assert [run.tags[TRIGGER_TAG] for run in instance.get_runs()] == ["drift"]
