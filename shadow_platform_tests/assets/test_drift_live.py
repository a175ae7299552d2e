"""The live verdict: the last hours, up to the last that is over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.verdict import build_live_drift_verdict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import (
    FIRST,
    N_DAYS,
    SHIFTS_ON,
    USE_CASE,
    deploy,
    facts,
    materialize_live,
    requests,
    serve,
    with_policy,
)

PER_DAY = 480


@pytest.fixture
def lake(layout: Layout) -> Lake:
    """Two weeks of predictions, twenty an hour; carts are bigger from the eighth day on."""
    return serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON, per_day=PER_DAY), deploy(layout))


def live(instance: dg.DagsterInstance) -> dict[str, Any]:
    return facts(instance, "live_drift_verdict")["None"]


@pytest.mark.parametrize(("end", "outcome"), [("2024-02-07T13:47:12", "pass"), ("2024-02-09T13:00:00Z", "fail")])
def test_the_hours_until_the_last_full_one_are_judged(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, end: str, outcome: str
) -> None:
    assert materialize_live(layout, end, instance).success
    found = live(instance)
    assert found["outcome"] == outcome
    assert found["window_end"] == f"{end[:13]}:00:00+00:00"
    assert datetime.fromisoformat(str(found["window_start"])) == datetime.fromisoformat(
        str(found["window_end"])
    ) - timedelta(hours=24)
    row = lake.read_table(DRIFT_VERDICTS, USE_CASE).iloc[0]
    assert (row["scope"], row["outcome"], row["evaluation_id"]) == ("live", outcome, found["evaluation_id"])
    assert PER_DAY * 0.8 < row["n_current"] < PER_DAY * 1.2


def test_the_lookback_is_that_of_the_environment(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_LOOKBACK", "48")
    materialize_live(layout, "2024-02-07T13:00:00", instance, with_policy(window_rows=10))
    row = lake.read_table(DRIFT_VERDICTS, USE_CASE).iloc[0]
    assert row["window_end"] - row["window_start"] == timedelta(hours=48)


def test_the_same_hour_again_is_the_same_evaluation_and_another_hour_is_another(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    for end in ("2024-02-07T13:00", "2024-02-07T13:59", "2024-02-07T14:00"):
        materialize_live(layout, end, instance)
    assert sorted(lake.read_table(DRIFT_VERDICTS, USE_CASE)["window_end"].dt.hour) == [13, 14]


def test_a_clock_that_jumped_ahead_sees_no_requests_and_cannot_judge(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    result = materialize_live(layout, "2031-01-01", instance)
    check = next(iter(result.get_asset_check_evaluations()))
    assert live(instance)["outcome"] == "insufficient"
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_a_clock_that_jumped_back_does_not_see_later_requests_and_says_that_there_are_some(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize_live(layout, "2024-02-05T00:00", instance)
    found = live(instance)
    assert found["outcome"] == "pass"
    assert str(found["days_after_window"]).startswith("2024-02-06, 2024-02-07")


def test_without_a_time_the_window_ends_with_the_last_full_hour_of_the_clock(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    recent = requests(FIRST, 1, 3, per_day=PER_DAY)
    now = datetime.now(UTC)
    ages = pd.to_timedelta(range(1, PER_DAY + 1), unit="m")
    serve(layout, recent.assign(requested_at=pd.Timestamp(now).floor("h") - ages), deploy(layout))
    resources = {"platform": PlatformResource(shadow_home=str(layout.home))}
    assert dg.materialize([build_live_drift_verdict(USE_CASE)], resources=resources, instance=instance).success
    end = datetime.fromisoformat(str(live(instance)["window_end"]))
    assert now - timedelta(hours=1) < end <= datetime.now(UTC)
    assert live(instance)["dagster/row_count"] >= PER_DAY - 60


def test_a_rolling_reference_is_compared_live_too(layout: Layout, lake: Lake, instance: dg.DagsterInstance) -> None:
    rolling = replace(USE_CASE.drift.reference, kind="rolling", length=timedelta(days=5), gap=timedelta(days=1))
    materialize_live(layout, "2024-02-09T13:00", instance, with_policy(reference=rolling))
    found = live(instance)
    assert found["outcome"] == "fail"
    assert found["compared_with"] == "rolling: requests from 2024-02-02 13:00 to 2024-02-07 13:00 UTC"
