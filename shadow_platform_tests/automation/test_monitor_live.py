"""From the log to a training request, for real: a drift in the traffic of today is judged and acted on today."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_PROFILES, DRIFT_VERDICTS, PREDICTIONS
from shadow_platform.definitions import build_definitions
from shadow_platform.domain.serving import rfc3339
from shadow_platform.partitions import start_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import deploy, with_policy
from shadow_platform_tests.bento.shadowed import record

USE_CASE = with_policy(cluster=None)
HOUR = timedelta(hours=1)
N = 600


def test_traffic_that_drifts_today_asks_for_a_training_today(layout: Layout, instance: dg.DagsterInstance) -> None:
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    _answer(layout, deploy(layout), until)
    platform = PlatformResource(shadow_home=str(layout.home))
    definitions = build_definitions([USE_CASE], platform)

    request = _tick(definitions, "shop_monitor_live", instance, platform).run_requests[0]
    job = definitions.resolve_job_def("shop_monitor_live")
    assert job.execute_in_process(request.run_config, instance=instance, tags=request.tags).success

    lake = Lake(layout)
    verdicts = lake.read_table(DRIFT_VERDICTS, USE_CASE)
    assert verdicts[["scope", "outcome", "n_current"]].to_dict("records") == [
        {"scope": "live", "outcome": "fail", "n_current": N}
    ]
    assert verdicts["window_end"].tolist() == [until]
    assert (until - timedelta(microseconds=1)).date() in lake.table_days(PREDICTIONS, USE_CASE)
    assert len(lake.read_table(DRIFT_PROFILES, USE_CASE)) > 0

    again = _tick(definitions, "shop_monitor_live", instance, platform)
    assert "until when run" in again.skip_message
    training = _tick(definitions, "shop_retrain_on_drift", instance, platform).run_requests[0]
    assert training.run_key == f"drift:{verdicts['evaluation_id'].iloc[0]}"
    assert training.tags["shadow/as_of"] == start_of(until.date()).isoformat()


def _answer(layout: Layout, bundle_hash: str, until: datetime) -> None:
    """Requests with carts larger than the champion was trained on, evenly over the day until a full hour."""
    carts = np.random.default_rng(3).normal(90, 15, N).round(2)
    lines = []
    for i, cart in enumerate(carts):
        at = until - timedelta(days=1) * (i + 0.5) / N
        line = record(i, at, float(cart))
        lines.append(asdict(replace(line, use_case=USE_CASE.name, requested_at=rfc3339(at), bundle_hash=bundle_hash)))
    sink = FileLogSink(layout.log("predictions", USE_CASE.name), clock=(until - HOUR / 2).timestamp)
    sink.append_many(lines)
    sink.close()


def _tick(definitions: dg.Definitions, sensor: str, instance: dg.DagsterInstance, platform: PlatformResource) -> Any:
    context = dg.build_sensor_context(instance=instance, resources={"platform": platform})
    return definitions.resolve_sensor_def(sensor).evaluate_tick(context)
