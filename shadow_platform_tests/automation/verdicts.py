"""Drift materializations as the drift asset reports them, without judging anything.

Upstream: Dagster events. Downstream: tests of the retrain sensor.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from shadow_platform_tests.tiny import USE_CASE

KEY = dg.AssetKey([USE_CASE.name, "drift_verdict"])
FIRST_END = datetime(2024, 2, 13, tzinfo=UTC)


def window_end(number: int) -> datetime:
    """End of the window of the evaluation with this number."""
    return FIRST_END + timedelta(days=number)


def report_verdict(instance: dg.DagsterInstance, number: int, outcome: str = "fail") -> None:
    """Materialize the verdict of one day; ``number`` makes its evaluation id."""
    end = window_end(number)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            KEY,
            partition=f"{end - timedelta(days=1):%Y-%m-%d}",
            metadata={"outcome": outcome, "evaluation_id": f"e{number}", "window_end": end.isoformat()},
        )
    )
