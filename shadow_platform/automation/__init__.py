"""What starts runs without a person, with their whys: sensors on verdicts and late days, the night, live monitoring.

Belongs here: deciding when. Does not belong here: what a run does (jobs, assets). Upstream: materializations, run
records, tables, the log. Downstream: definitions. A trigger that is held back says why in the table pipeline_runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from shadow_platform.automation.late_days import build_late_sensor
from shadow_platform.automation.live import build_live_sensor
from shadow_platform.automation.nightly import build_schedule
from shadow_platform.automation.requests import retrain_run_config
from shadow_platform.automation.verdicts import DRIFT, PERFORMANCE, Job, build_retrain_sensor
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
    live_sensor = build_live_sensor(use_case, jobs["monitor_live"], load_settings().monitoring_interval)
    late_sensor = build_late_sensor(use_case, jobs["reopen"])
    return Automation([*retrain_sensors, live_sensor, late_sensor], [build_schedule(use_case, retrain)])
