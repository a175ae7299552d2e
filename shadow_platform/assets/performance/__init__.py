"""Performance stage: how well champion and challengers do, on matured labels and without, and whether that got worse.

Upstream: predictions, shadow_comparisons, labels, bundles. Downstream: warehouse, the retrain sensor.
"""

import dagster as dg

from shadow_platform.assets.performance.daily import build_performance_daily
from shadow_platform.assets.performance.proxy import build_proxy_metrics
from shadow_platform.assets.performance.timeline import build_performance_timeline
from shadow_platform.assets.performance.verdict import build_performance_verdict
from shadow_platform.contracts.use_case import UseCase


def build_performance_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the performance stage."""
    return [
        build_performance_daily(use_case),
        build_proxy_metrics(use_case),
        build_performance_verdict(use_case),
        build_performance_timeline(use_case),
    ]
