"""The nightly schedule: it asks what every trigger asks, and says on record why a night was left out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.automation import retrain_run_config
from shadow_platform.automation.nightly import build_decide_schedule, build_schedule, decide_run_config
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.location import JOB
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.automation.verdicts import report_verdict, window_end
from shadow_platform_tests.tiny import USE_CASE as TINY

CREATED, FAILURE = dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.FAILURE
NIGHT = datetime(2024, 3, 5, 2, 0, tzinfo=UTC)
MIDNIGHT = datetime(2024, 3, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance in a folder: a schedule opens its instance by reference."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as made:
        yield made


@pytest.fixture
def instance(kept: dg.DagsterInstance) -> dg.DagsterInstance:
    """The kept instance, emptied."""
    kept.wipe()
    return kept


def test_it_runs_at_two_in_the_morning_and_is_off_by_default() -> None:
    schedule = build_schedule(TINY, JOB)
    assert (schedule.cron_schedule, schedule.default_status) == ("0 2 * * *", dg.DefaultScheduleStatus.STOPPED)


def test_a_night_trains_as_of_midnight_and_stands_in_pipeline_runs(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    request = daemon.night(NIGHT).run_requests[0]
    assert request.run_key == "schedule:2024-03-05"
    assert request.run_config == retrain_run_config(TINY, MIDNIGHT, "schedule")
    assert daemon.decisions()["2024-03-05"][0] == "started"
    daemon.tick()
    assert daemon.run_ids() == {"2024-03-05": instance.get_runs()[0].run_id}


def test_a_night_is_left_out_while_a_training_runs(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    run_id = daemon.run({}, dg.DagsterRunStatus.STARTED)
    _left_out(daemon, f"run {run_id} (asked for by a person) of tiny_retrain is not finished")


def test_a_night_is_left_out_during_a_cooldown(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    report_verdict(instance, 1)
    daemon.tick()
    _left_out(daemon, "cooldown of 6:00:00 after run")


def test_a_night_is_left_out_without_enough_new_labels(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.trained(MIDNIGHT - timedelta(days=1))
    daemon.labelled(MIDNIGHT - timedelta(hours=3), 199)
    _left_out(daemon, "199 new labels since the training as of 2024-03-04 00:00 UTC, at least 200 are needed")


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=1)])
def test_a_night_is_left_out_when_a_model_knows_as_much(
    layout: Layout, instance: dg.DagsterInstance, ahead: timedelta
) -> None:
    daemon = Daemon(layout, instance)
    daemon.trained(MIDNIGHT + ahead)
    _left_out(daemon, "already knows the window")


def test_a_night_is_left_out_after_a_verdict_of_the_same_midnight(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    number = (MIDNIGHT - window_end(0)).days
    report_verdict(instance, number)
    daemon.tick()
    _left_out(daemon, "trained as of 2024-03-05 00:00 UTC, which answers this too")


def test_a_night_is_left_out_when_a_sensor_is_about_to_start_one(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    report_verdict(instance, 1)
    assert daemon.evaluate().run_requests
    _left_out(daemon, "the run for drift e1 is about to start")


def _left_out(daemon: Daemon, reason: str) -> None:
    data = daemon.night(NIGHT)
    assert not data.run_requests
    assert reason in data.skip_message
    outcome, told = daemon.decisions()["2024-03-05"]
    assert (outcome, told) == ("skipped", data.skip_message)


def test_a_night_asks_for_the_same_run_again_and_is_not_left_out(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    first = daemon.night(NIGHT, CREATED).run_requests[0]
    assert daemon.night(NIGHT, CREATED).run_requests[0].run_key == first.run_key == "schedule:2024-03-05"
    assert daemon.decisions()["2024-03-05"][0] == "started"


def test_a_night_that_was_ticked_once_more_after_its_run_was_launched_starts_none(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance)
    daemon.night(NIGHT)
    assert "was already started for schedule 2024-03-05" in daemon.night(NIGHT).skip_message
    assert daemon.decisions()["2024-03-05"][0] == "started"


def test_a_night_whose_run_was_given_up_before_it_began_is_tried_again(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.night(NIGHT, FAILURE)
    assert daemon.night(NIGHT).run_requests[0].run_key == "schedule:2024-03-05:attempt-2"


def test_a_night_waits_for_no_dead_run_of_its_own_but_for_those_of_others(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.night(NIGHT, FAILURE)
    daemon.run({}, FAILURE)
    assert "cooldown of 6:00:00 after run" in daemon.night(NIGHT).skip_message


def test_every_night_is_decided_once_as_of_midnight(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance)
    schedule = build_decide_schedule(TINY, JOB)
    assert (schedule.cron_schedule, schedule.default_status) == ("0 3 * * *", dg.DefaultScheduleStatus.STOPPED)
    three = NIGHT + timedelta(hours=1)
    assert "use case tiny serves no model yet" in daemon.night(three, schedule=schedule).skip_message
    deployed(layout)
    assert "no day of labels" in daemon.night(three, schedule=schedule).skip_message
    daemon.labelled(MIDNIGHT, 1)
    (request,) = daemon.night(three, schedule=schedule).run_requests
    assert request.run_key == "decide:2024-03-05"
    assert request.run_config == decide_run_config(TINY, MIDNIGHT)


def test_a_night_whose_decision_died_is_decided_once_more_and_one_that_is_decided_is_not(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    daemon, schedule = Daemon(layout, instance), build_decide_schedule(TINY, JOB)
    deployed(layout)
    daemon.labelled(MIDNIGHT, 1)

    def night(status: dg.DagsterRunStatus) -> Any:
        return daemon.night(NIGHT, status, schedule)

    first, again = night(CREATED).run_requests[0], night(CREATED).run_requests[0]
    assert (again.run_key, again.tags) == (first.run_key, first.tags)
    for run in instance.get_runs():
        instance.report_run_failed(run)
    assert night(dg.DagsterRunStatus.SUCCESS).run_requests[0].run_key == "decide:2024-03-05:attempt-3"
    assert "was already started for decide:2024-03-05" in night(FAILURE).skip_message


def deployed(layout: Layout) -> None:
    """Let a model serve."""
    champion = DeployedModel(version="1", bundle_hash="x", model_name="line", since=MIDNIGHT)
    manifest = DeploymentManifest(use_case=TINY.name, generation=1, champion=champion, written_at=MIDNIGHT)
    layout.manifest(TINY.name).parent.mkdir(parents=True, exist_ok=True)
    write_manifest(layout.manifest(TINY.name), manifest)
