"""The data sensor: a further day of events and labels asks once, and only if it brings enough to learn."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.automation.pushed import build_data_sensor
from shadow_platform.contracts.layout import Layout
from shadow_platform.partitions import end_of, start_of
from shadow_platform_tests.automation.location import JOB
from shadow_platform_tests.automation.ticking import PATIENT, Daemon
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

DAY = timedelta(days=1)
SECOND_DAY = FIRST_DAY + DAY


class Lab(Daemon):
    """A home that data comes to, one day after another; 200 new labels are enough."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance) -> None:
        super().__init__(layout, instance, PATIENT)
        self.sensor = build_data_sensor(PATIENT, JOB)
        self.trained(start_of(FIRST_DAY))

    def land(self, day: date, n: int = 200, events: bool = True) -> None:
        """Let events and labels of a day have landed."""
        for kind in USE_CASE.events if events else ():
            rows = pd.DataFrame(list(TinySource().received_on(day)[kind.name]))[list(kind.schema.columns)]
            self.lake.write_events(USE_CASE, kind, day, kind.schema.validate(rows))
        self.labelled(start_of(day) + timedelta(hours=12), n)
        key = dg.AssetKey([USE_CASE.name, "labels"])
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=str(day)))


@pytest.fixture
def lab(layout: Layout, instance: dg.DagsterInstance) -> Lab:
    """A home without data, in which a model was trained."""
    return Lab(layout, instance)


def test_it_is_off_by_default(lab: Lab) -> None:
    assert lab.sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_a_further_day_of_data_starts_one_training_as_of_its_end(lab: Lab) -> None:
    lab.land(FIRST_DAY)
    (request,) = lab.tick().run_requests
    assert request.run_key == f"data:day-{FIRST_DAY}"
    assert request.tags["shadow/as_of"] == end_of(FIRST_DAY).isoformat()
    lab.tick()
    assert "no further day of data" in lab.tick().skip_message
    assert lab.runs() == [f"day-{FIRST_DAY}"]
    assert lab.decisions()[f"day-{FIRST_DAY}"][0] == "started"


def test_a_daemon_that_dies_before_it_stores_its_cursor_starts_no_second_run(lab: Lab) -> None:
    lab.land(FIRST_DAY)
    lab.tick(dies=True)
    for _ in range(2):
        lab.tick()
    assert lab.runs() == [f"day-{FIRST_DAY}"]


def test_a_day_waits_for_its_events(lab: Lab) -> None:
    lab.land(FIRST_DAY, events=False)
    assert "there is none that has events and labels" in lab.tick().skip_message
    lab.land(FIRST_DAY)
    assert lab.tick().run_requests


def test_a_day_that_is_not_over_asks_nothing(lab: Lab) -> None:
    today = datetime.now(UTC).date()
    lab.labelled(start_of(today), 500)
    assert "there is none" in lab.tick().skip_message


def test_a_day_with_too_few_new_labels_is_left_out_and_says_so(lab: Lab) -> None:
    lab.land(FIRST_DAY, n=199)
    assert lab.tick().skip_message.startswith("199 new labels since the training as of 2024-01-01")
    assert lab.decisions()[f"day-{FIRST_DAY}"][0] == "skipped"
    lab.land(SECOND_DAY, n=1)
    assert lab.tick().run_requests[0].tags["shadow/as_of"] == end_of(SECOND_DAY).isoformat()


def test_a_day_that_waited_gives_its_place_to_a_newer_one(lab: Lab, set_clock: Any) -> None:
    lab.run({})
    lab.land(FIRST_DAY)
    assert "cooldown" in lab.tick().skip_message
    assert lab.decisions()[f"day-{FIRST_DAY}"][0] == "deferred"
    lab.land(SECOND_DAY)
    assert "cooldown" in lab.tick().skip_message
    assert lab.decisions()[f"day-{FIRST_DAY}"] == ("skipped", f"the data of {SECOND_DAY} came since")
    set_clock(timedelta(hours=7))
    lab.tick()
    assert lab.runs() == [None, f"day-{SECOND_DAY}"]


def test_nothing_asks_before_the_first_training(layout: Layout, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(layout, instance, PATIENT)
    daemon.sensor = build_data_sensor(PATIENT, JOB)
    assert daemon.tick().skip_message == "no model was trained yet; run tiny_train first"
