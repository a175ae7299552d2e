"""Drift stage: hourly profiles, verdicts on windows of them, and Evidently's report for people.

One room of several files: ``profiles`` counts requests once, ``served`` reads them, ``judging`` compares a window with
its reference, ``recording`` keeps verdicts, ``verdict`` and ``report`` are the assets. Upstream: predictions as served,
the champion bundle's frozen reference. Downstream: the retrain sensor, people.
"""

import dagster as dg

from shadow_platform.assets.drift.profiles import build_drift_profiles
from shadow_platform.assets.drift.report import build_drift_report
from shadow_platform.assets.drift.verdict import build_drift_verdict, build_live_drift_verdict
from shadow_platform.contracts.use_case import UseCase


def build_drift_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the drift stage."""
    return [
        build_drift_profiles(use_case),
        build_drift_verdict(use_case),
        build_live_drift_verdict(use_case),
        build_drift_report(use_case),
    ]
