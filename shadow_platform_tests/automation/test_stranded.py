"""A run that was created and never submitted, because the daemon died in between: it is submitted, and alone.

Dagster submits a created run when it is asked for under the same run key; so that is what a trigger must do.
"""

import dagster as dg

from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.ticking import Daemon
from shadow_platform_tests.automation.verdicts import report_verdict

CREATED, FAILURE = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.FAILURE


def test_a_sensor_asks_for_the_same_run_again(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    first = daemon.tick(CREATED).run_requests[0]
    again = daemon.evaluate().run_requests[0]
    assert (again.run_key, again.tags) == (first.run_key, first.tags)


def test_a_later_attempt_is_asked_for_again_under_its_own_key(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(FAILURE)
    assert daemon.tick(CREATED).run_requests[0].run_key == "drift:e1:attempt-2"
    assert daemon.evaluate().run_requests[0].run_key == "drift:e1:attempt-2"


def test_a_run_that_is_being_launched_is_not_asked_for_again(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    daemon.tick(dg.DagsterRunStatus.STARTING)
    assert "was already started for drift e1" in daemon.tick().skip_message
