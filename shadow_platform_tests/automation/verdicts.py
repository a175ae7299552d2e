"""Materializations of verdicts as the verdict assets report them, without judging anything.

Upstream: Dagster events. Downstream: tests of the retrain sensors.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from shadow_platform_tests.tiny import USE_CASE

KEY = dg.AssetKey([USE_CASE.name, "drift_verdict"])
FIRST_END = datetime(2024, 2, 13, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def window_end(number: int) -> datetime:
    """End of the window of the evaluation with this number."""
    return FIRST_END + timedelta(days=number)


def report_verdict(
    instance: dg.DagsterInstance, number: int, outcome: str = "fail", evaluation_id: str | None = None
) -> None:
    """Materialize the drift verdict of one day; ``number`` makes its evaluation id unless one is given."""
    end = window_end(number)
    day = f"{end - timedelta(days=1):%Y-%m-%d}"
    _report(instance, "drift_verdict", outcome, evaluation_id or f"e{number}", end, partition=day)


def report_live_verdict(
    instance: dg.DagsterInstance, number: int, outcome: str = "fail", hour: int = 0, evaluation_id: str | None = None
) -> None:
    """Materialize a drift verdict of the last hours, which has no partition; its window ends at an hour of the day."""
    end = window_end(number) + timedelta(hours=hour)
    _report(instance, "live_drift_verdict", outcome, evaluation_id or f"live{number}", end)


def report_performance(instance: dg.DagsterInstance, number: int, outcome: str = "fail") -> None:
    """Materialize the performance verdict on the labels known at the same time as drift verdict ``number`` ends.

    Its requests are older: their labels had to mature.
    """
    end = window_end(number)
    as_of = (end - INSTANT).isoformat()
    _report(instance, "performance_verdict", outcome, f"p{number}", end - timedelta(days=1), labels_as_of=as_of)


def _report(
    instance: dg.DagsterInstance,
    asset: str,
    outcome: str,
    evaluation_id: str,
    end: datetime,
    partition: str | None = None,
    **facts: str,
) -> None:
    metadata = {"outcome": outcome, "evaluation_id": evaluation_id, "window_end": end.isoformat(), **facts}
    key = dg.AssetKey([USE_CASE.name, asset])
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, metadata=metadata))
