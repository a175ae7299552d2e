"""A code location for the daemon: the retrain sensors of ``tiny`` over a retrain job that does nothing.

Belongs here: definitions of one test. Upstream: automation. Downstream: the daemon that the test starts and kills.
"""

from dataclasses import replace
from datetime import timedelta

import dagster as dg

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


@dg.asset(key=[USE_CASE.name, "training_frame"])
def training_frame(context: dg.AssetExecutionContext, config: AsOf) -> None:
    """Nothing, as of a time."""
    context.log.info(config.as_of)


@dg.asset(key=[USE_CASE.name, "challenger_model"], deps=[training_frame])
def challenger_model(context: dg.AssetExecutionContext, config: Trigger) -> None:
    """Nothing, for a reason."""
    context.log.info(config.trigger)


EAGER = replace(USE_CASE, retrain=RetrainPolicy(cooldown=timedelta(0), min_new_labels=0))
JOB = dg.define_asset_job("tiny_retrain", [training_frame, challenger_model])
defs = dg.Definitions(
    assets=[training_frame, challenger_model],
    jobs=[JOB],
    sensors=[build_retrain_sensor(EAGER, JOB, trigger, interval_s=1) for trigger in (DRIFT, PERFORMANCE)],
    resources={"platform": PlatformResource()},
    executor=dg.in_process_executor,
)
