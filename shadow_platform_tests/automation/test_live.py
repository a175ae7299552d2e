"""Live monitoring: one run a closed hour that brought requests, and a reason wherever there is none."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from shadow_platform.adapters.log import FileLogSink
from shadow_platform.automation.live import build_live_sensor
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import USE_CASE as TINY

JOB_NAME = "tiny_monitor_live"
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Service:
    """A log that requests were answered into, and the sensor that watches it."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance) -> None:
        self.layout = layout
        self.instance = instance

    def answer(self, *at: datetime) -> None:
        """Append one line at each time."""
        for time in at:
            sink = FileLogSink(self.layout.log("predictions", TINY.name), clock=time.timestamp)
            sink.append({"request_id": time.isoformat()})
            sink.close()

    def tick(
        self, now: datetime, use_case: UseCase = TINY, status: dg.DagsterRunStatus = dg.DagsterRunStatus.SUCCESS
    ) -> Any:
        """One tick at a time; what it asks for is recorded as a run."""
        sensor = build_live_sensor(use_case, dg.define_asset_job(JOB_NAME), 300)
        platform = PlatformResource(shadow_home=str(self.layout.home), simulated_now=now.isoformat())
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": platform})
        data = sensor.evaluate_tick(context)
        for request in data.run_requests or []:
            create_run_for_test(self.instance, job_name=JOB_NAME, tags=request.tags, status=status)
        return data


@pytest.fixture
def service(layout: Layout, instance: dg.DagsterInstance) -> Service:
    return Service(layout, instance)


def test_it_is_off_by_default_and_ticks_at_the_monitoring_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    from shadow_platform.definitions import build_definitions

    monkeypatch.setenv("MONITORING_INTERVAL", "60")
    sensor = build_definitions([TINY]).resolve_sensor_def("tiny_monitor_live")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.minimum_interval_seconds == 60


def test_a_closed_hour_with_requests_is_judged_once(service: Service) -> None:
    service.answer(NOON - MINUTE, NOON + MINUTE)
    data = service.tick(NOON + 10 * MINUTE)
    request = data.run_requests[0]
    assert request.run_key == "live:2026-03-05T12"
    assert request.run_config["ops"]["tiny__live_drift_verdict"]["config"]["end"] == NOON.isoformat()
    said = service.tick(NOON + 40 * MINUTE).skip_message
    assert said.startswith("no requests since 2026-03-05 12:00 UTC, until when run")
    assert service.tick(NOON + HOUR + 10 * MINUTE).run_requests[0].run_key == "live:2026-03-05T13"


def test_an_hour_that_just_ended_still_gets_its_last_lines(service: Service) -> None:
    service.answer(NOON - MINUTE)
    assert "no request was answered" in service.tick(NOON + MINUTE).skip_message
    assert service.tick(NOON + 3 * MINUTE).run_requests


def test_the_run_covers_the_days_that_the_lookback_touches(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer(NOON - MINUTE)
    assert _days(service.tick(NOON + 5 * MINUTE)) == ("2026-03-04", "2026-03-05")
    monkeypatch.setenv("MONITORING_LOOKBACK", "12")
    service.answer(NOON + 12 * HOUR - MINUTE)
    assert _days(service.tick(NOON + 12 * HOUR + 5 * MINUTE)) == ("2026-03-05", "2026-03-05")


def _days(data: Any) -> tuple[str, str]:
    tags = data.run_requests[0].tags
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


def test_no_second_run_starts_while_one_is_running(service: Service) -> None:
    service.answer(NOON - MINUTE, NOON + MINUTE)
    service.tick(NOON + 5 * MINUTE, status=dg.DagsterRunStatus.STARTED)
    assert service.tick(NOON + HOUR + 5 * MINUTE).skip_message.endswith("of tiny_monitor_live is not finished")


@pytest.mark.parametrize("broken", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_an_hour_whose_run_broke_is_judged_at_the_next_tick_three_times_at_most(
    service: Service, broken: dg.DagsterRunStatus
) -> None:
    service.answer(NOON - MINUTE)
    ticks = [service.tick(NOON + 5 * MINUTE, status=broken) for _ in range(4)]
    first = "live:2026-03-05T12"
    keys = [request.run_key for tick in ticks for request in tick.run_requests]
    assert keys == [first, f"{first}:attempt-2", f"{first}:attempt-3"]
    assert ticks[-1].skip_message.startswith("3 runs failed or were canceled, the last is ")
    service.answer(NOON + MINUTE)
    assert service.tick(NOON + HOUR + 5 * MINUTE).run_requests


def test_hours_that_passed_without_a_daemon_make_one_run(service: Service) -> None:
    service.answer(*(NOON + n * HOUR + MINUTE for n in range(5)))
    assert len(service.tick(NOON + 5 * HOUR + 5 * MINUTE).run_requests) == 1
    assert "no requests since 2026-03-05 17:00 UTC" in service.tick(NOON + 5 * HOUR + 9 * MINUTE).skip_message


def test_silence_is_told_and_judges_nothing(service: Service) -> None:
    assert (
        "no request was answered in the 1 day, 0:00:00 until 2026-03-05 12:00 UTC"
        in service.tick(NOON + 5 * MINUTE).skip_message
    )
    service.answer(NOON - 30 * HOUR)
    assert "no request was answered" in service.tick(NOON + 5 * MINUTE).skip_message


def test_hours_of_the_future_are_judged_when_they_are_over(service: Service) -> None:
    service.answer(NOON + 400 * 24 * HOUR)
    assert "no request was answered" in service.tick(NOON).skip_message


def test_a_use_case_that_replays_the_past_has_nothing_to_watch(service: Service) -> None:
    ended = replace(TINY, last_partition=date(2024, 2, 29))
    service.answer(NOON - MINUTE)
    assert "tiny has no partition behind 2024-02-29" in service.tick(NOON + 5 * MINUTE, ended).skip_message


def test_the_run_config_fits_the_job(service: Service) -> None:
    from shadow_platform.definitions import build_definitions

    service.answer(NOON - MINUTE)
    request = service.tick(NOON + 5 * MINUTE).run_requests[0]
    job = build_definitions([TINY]).resolve_job_def(JOB_NAME)
    assert dg.validate_run_config(job, json.loads(json.dumps(request.run_config)))
