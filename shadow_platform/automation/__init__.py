"""What starts runs without a person, with their whys: every day, verdicts, new data, late days, the night, live hours.

Belongs here: deciding when. Does not belong here: what a run does (jobs, assets). Upstream: materializations, run
records, tables, the log. Downstream: definitions. A trigger that is held back says why in the table pipeline_runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from shadow_platform.automation.alerts import build_alert_sensor
from shadow_platform.automation.daily import build_daily_sensor
from shadow_platform.automation.late_days import build_late_sensor
from shadow_platform.automation.live import build_live_sensor
from shadow_platform.automation.nightly import build_decide_schedule, build_schedule
from shadow_platform.automation.promoting import build_rollout_sensor
from shadow_platform.automation.pushed import build_data_sensor
from shadow_platform.automation.requests import retrain_run_config
from shadow_platform.automation.ticks import Job
from shadow_platform.automation.verdicts import DRIFT, PERFORMANCE, build_retrain_sensor
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import load_settings

__all__ = ["Automation", "build_automation", "build_retrain_sensor", "build_schedule", "retrain_run_config"]


@dataclass(frozen=True, slots=True)
class Automation:
    """Sensors and schedules of one use case."""

    sensors: list[dg.SensorDefinition]
    schedules: list[dg.ScheduleDefinition]


def build_automation(use_case: UseCase, jobs: Mapping[str, Job]) -> Automation:
    """Sensors and schedules of one use case, over its jobs by their names without the use case."""
    retrain = jobs["retrain"]
    retrain_sensors = [build_retrain_sensor(use_case, retrain, trigger) for trigger in (DRIFT, PERFORMANCE)]
    daily_sensor = build_daily_sensor(use_case, jobs["daily"])
    data_sensor = build_data_sensor(use_case, retrain)
    live_sensor = build_live_sensor(use_case, jobs["monitor_live"], load_settings().monitoring_interval)
    late_sensor = build_late_sensor(use_case, jobs["reopen"])
    alert_sensor = build_alert_sensor(use_case, [job.name for job in jobs.values()])
    rollout_sensor = build_rollout_sensor(use_case, jobs["promote"])
    schedules = [build_schedule(use_case, retrain), build_decide_schedule(use_case, jobs["decide"])]
    return Automation(
        [daily_sensor, *retrain_sensors, data_sensor, live_sensor, late_sensor, alert_sensor, rollout_sensor], schedules
    )
