"""A code location for the daemon: every trigger of ``tiny``, switched on, over a retrain job that does nothing.

The night comes every minute, so that a test need not wait for it; it is one night all the same.

Belongs here: definitions of one test. Upstream: automation. Downstream: the daemon that the test starts and kills.
"""

import time
from dataclasses import replace
from datetime import timedelta

import dagster as dg

from shadow_platform.automation.nightly import build_schedule
from shadow_platform.automation.pushed import build_data_sensor
from shadow_platform.automation.verdicts import DRIFT, PERFORMANCE, build_retrain_sensor
from shadow_platform.contracts.use_case import RetrainPolicy
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import USE_CASE


class AsOf(dg.Config):
    """As of when to train."""

    as_of: str


class Trigger(dg.Config):
    """Why."""

    trigger: str


class Forced(dg.Config):
    """What a trigger asks."""

    force_retrain: bool
    environment: str


@dg.asset(key=[USE_CASE.name, "retraining_request"])
def retraining_request(context: dg.AssetExecutionContext, config: Forced) -> None:
    """Nothing, asked for."""
    context.log.info(config.environment)


@dg.asset(key=[USE_CASE.name, "training_frame"], deps=[retraining_request])
def training_frame(context: dg.AssetExecutionContext, config: AsOf) -> None:
    """Nothing, as of a time."""
    context.log.info(config.as_of)


@dg.asset(key=[USE_CASE.name, "challenger_model"], deps=[training_frame])
def challenger_model(context: dg.AssetExecutionContext, config: Trigger) -> None:
    """Nothing, for a reason, for so long that a run can be killed in the middle."""
    context.log.info(config.trigger)
    time.sleep(1)


EAGER = replace(USE_CASE, retrain=RetrainPolicy(cooldown=timedelta(0), min_new_labels=0, max_per_week=None))
JOB = dg.define_asset_job("tiny_retrain", [retraining_request, training_frame, challenger_model])
SENSORS = [
    *(build_retrain_sensor(EAGER, JOB, trigger, interval_s=1) for trigger in (DRIFT, PERFORMANCE)),
    build_data_sensor(EAGER, JOB, interval_s=1),
]
NIGHTLY = build_schedule(EAGER, JOB, cron="* * * * *")
# As a person does who switches them on in the UI.
SENSORS[-1]._default_status = dg.DefaultSensorStatus.RUNNING
NIGHTLY._default_status = dg.DefaultScheduleStatus.RUNNING
defs = dg.Definitions(
    assets=[retraining_request, training_frame, challenger_model],
    jobs=[JOB],
    sensors=SENSORS,
    schedules=[NIGHTLY],
    resources={"platform": PlatformResource()},
    executor=dg.in_process_executor,
)
