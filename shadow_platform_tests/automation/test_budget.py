"""The budget of a week: what counts, what does not, and when the next training fits."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.retraining import NOTHING_TO_DO_TAG
from shadow_platform.contracts.use_case import RetrainPolicy
from shadow_platform_tests.automation.conftest import SetClock
from shadow_platform_tests.automation.location import EAGER
from shadow_platform_tests.automation.ticking import Daemon
from shadow_platform_tests.automation.verdicts import report_verdict

TWO_A_WEEK = replace(EAGER, retrain=replace(EAGER.retrain, max_per_week=2))
WEEK = timedelta(days=7)


def test_a_week_without_budget_defers_a_failure_until_the_oldest_training_is_a_week_old(
    layout: Layout, instance: dg.DagsterInstance, set_clock: SetClock
) -> None:
    daemon = Daemon(layout, instance, TWO_A_WEEK)
    for number in (1, 2, 3):
        report_verdict(instance, number)
        told = daemon.tick().skip_message
    assert told.startswith("deferred: budget: 2 trainings started within seven days, at most 2 may; the next one fits")
    assert daemon.decisions()["e3"][0] == "deferred"

    set_clock(WEEK - timedelta(hours=1))
    assert "budget" in daemon.tick().skip_message
    set_clock(WEEK)
    daemon.tick()
    assert daemon.runs() == ["e1", "e2", "e3"]


def test_a_run_by_hand_costs_budget_and_one_that_found_nothing_to_do_does_not(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, TWO_A_WEEK)
    daemon.run({})
    for _ in range(3):
        daemon.run({NOTHING_TO_DO_TAG: "nothing to do: no drift"})
    for number in (1, 2):
        report_verdict(instance, number)
        told = daemon.tick()
    assert "budget: 2 trainings" in told.skip_message
    assert daemon.runs()[-1] == "e1"


def test_without_a_budget_nothing_is_counted(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, EAGER)
    for number in range(1, 18):
        report_verdict(instance, number)
        daemon.tick()
    assert len(daemon.runs()) == 17


def test_a_patience_below_none_is_refused() -> None:
    with pytest.raises(UseCaseError, match="patience=-1 day, 0:00:00; expected none"):
        RetrainPolicy(patience=timedelta(days=-1))


def test_a_budget_below_one_is_refused() -> None:
    with pytest.raises(UseCaseError, match="max_per_week=0; expected at least 1, or None"):
        RetrainPolicy(max_per_week=0)
