"""A window against requests served before: rolling and seasonal references, on the cells of the frozen one."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.served import Served
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_VERDICTS
from shadow_platform.contracts.use_case import ReferencePolicy, UseCase
from shadow_platform.domain.drift.references import Span
from shadow_platform.partitions import end_of, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import (
    USE_CASE,
    deploy,
    facts,
    materialize,
    requests,
    serve,
    with_policy,
)

FIRST, N_DAYS = date(2024, 2, 1), 42
LAST = FIRST + timedelta(days=N_DAYS - 1)
ROLLING = with_policy(reference=ReferencePolicy("rolling", length=timedelta(days=14), gap=timedelta(days=1)))
SEASONAL = with_policy(window=timedelta(days=2), reference=ReferencePolicy("seasonal", cycles=4))


@pytest.fixture
def bundle_hash(layout: Layout) -> str:
    return deploy(layout)


@pytest.fixture
def moved_long_ago(layout: Layout, bundle_hash: str) -> Lake:
    """Six weeks of requests that all differ from the frozen reference in the same way."""
    return serve(layout, requests(FIRST, N_DAYS, 2, FIRST), bundle_hash)


def weekly(rows: pd.DataFrame) -> pd.DataFrame:
    """Carts are bigger on weekends."""
    is_weekend = rows["requested_at"].dt.dayofweek >= 5
    return rows.assign(cart_value=rows["cart_value"] + 40.0 * is_weekend)


def test_what_moved_long_ago_drifts_from_the_frozen_reference_and_not_from_the_rolling_one(
    layout: Layout, moved_long_ago: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance)
    assert facts(instance)[str(LAST)]["outcome"] == "fail"
    materialize(layout, [LAST], instance, ROLLING)

    found = facts(instance)[str(LAST)]
    assert found["outcome"] == "pass"
    assert found["compared_with"] == "rolling: requests from 2024-02-21 00:00 to 2024-03-06 00:00 UTC"
    rows = moved_long_ago.read_table(DRIFT_VERDICTS, USE_CASE).set_index("reference_kind")
    assert rows.loc["rolling", "n_reference"] == 14 * 100
    assert rows.loc["rolling", "reference_fingerprint"] == bundle_hash
    assert rows.loc["rolling", "replaces"] is None


def test_a_weekend_differs_from_the_rolling_reference_and_not_from_the_weekends_before(
    layout: Layout, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    serve(layout, weekly(requests(FIRST, N_DAYS, 2, per_day=300)), bundle_hash)
    sunday = date(2024, 3, 10)
    materialize(layout, [sunday], instance, SEASONAL)
    found = facts(instance)[str(sunday)]
    assert found["outcome"] == "pass"
    assert found["compared_with"] == "seasonal: requests from 2024-02-10 00:00 to 2024-03-04 00:00 UTC"
    materialize(layout, [sunday], instance, with_policy(window=timedelta(days=2)))
    assert facts(instance)[str(sunday)]["outcome"] == "fail"


@pytest.mark.parametrize(("use_case", "first"), [(ROLLING, "2024-01-18"), (SEASONAL, "2024-01-13")])
def test_a_reference_before_the_first_request_is_insufficient_and_says_what_to_do(
    layout: Layout, moved_long_ago: Lake, instance: dg.DagsterInstance, use_case: object, first: str
) -> None:
    early = FIRST + timedelta(days=10)
    result = materialize(layout, [early], instance, use_case)  # type: ignore[arg-type]
    found = facts(instance)[str(early)]
    check = next(iter(result.get_asset_check_evaluations()))
    assert found["outcome"] == "insufficient"
    assert "requests are known from 2024-02-01 00:00 UTC on; wait, or choose a shorter reference" in found["headline"]
    assert check.severity == dg.AssetCheckSeverity.WARN


def test_scores_of_another_bundle_count_in_neither(
    layout: Layout, moved_long_ago: Lake, instance: dg.DagsterInstance
) -> None:
    deploy(layout, slope=0.03)
    materialize(layout, [LAST], instance, ROLLING)
    metrics = moved_long_ago.read_table(DRIFT_METRICS, USE_CASE)
    assert set(metrics["feature"]) == {"cart_value", "channel"}
    assert metrics["score_contribution"].isna().all()


def test_a_seasonal_reference_that_lacks_a_week_is_insufficient_and_names_the_hours(
    layout: Layout, moved_long_ago: Lake, instance: dg.DagsterInstance
) -> None:
    day = date(2024, 3, 10)
    for week in (1, 2, 3):
        for back in (0, 1):
            layout.table("predictions", USE_CASE.name, day - timedelta(days=7 * week + back)).unlink()
    materialize(layout, [day], instance, SEASONAL)
    found = facts(instance)[str(day)]
    assert found["outcome"] == "insufficient"
    assert "there are none from 2024-02-17 00:00 UTC to 2024-02-19 00:00 UTC" in found["headline"]


def test_a_single_request_dated_long_ago_makes_no_reference(
    layout: Layout, moved_long_ago: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    serve(layout, requests(date(2019, 5, 1), 1, 3, per_day=1), bundle_hash)
    early = FIRST + timedelta(days=10)
    materialize(layout, [early], instance, ROLLING)
    found = facts(instance)[str(early)]
    assert found["outcome"] == "insufficient"
    assert "requests are known from 2024-02-01 00:00 UTC on" in found["headline"]


@pytest.mark.parametrize("use_case", [USE_CASE, ROLLING])
def test_days_that_nobody_made_are_named_and_fail_nothing(
    layout: Layout, moved_long_ago: Lake, instance: dg.DagsterInstance, use_case: UseCase
) -> None:
    materialize(layout, [LAST], instance, use_case)
    whole = facts(instance)[str(LAST)]
    assert "no partition" not in str(whole["explanation"])
    for back in (1, 2, 4):
        layout.table("predictions", USE_CASE.name, LAST - timedelta(days=back)).unlink()
    materialize(layout, [LAST], instance, use_case)
    found = facts(instance)[str(LAST)]
    assert found["outcome"] == whole["outcome"]
    named = "3 of the 7 days of the window (2024-03-09, 2024-03-11 to 2024-03-12)"
    assert named in str(found["explanation"])
    stored = moved_long_ago.read_table(DRIFT_VERDICTS, USE_CASE).set_index("evaluation_id")["explanation"]
    assert named in stored[found["evaluation_id"]]


def test_a_backfill_asks_for_the_requests_of_a_day_once(
    layout: Layout, moved_long_ago: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = Lake.request_hours, []

    def noted(self: Lake, use_case: UseCase, start: datetime, end: datetime) -> pd.DataFrame:
        asked.append(start.date())
        return ask(self, use_case, start, end)

    monkeypatch.setattr(Lake, "request_hours", noted)
    materialize(layout, [LAST - timedelta(days=3), LAST], instance, ROLLING)
    assert asked
    assert len(asked) == len(set(asked))


def test_rows_that_are_replaced_while_they_are_read_are_read_again(
    layout: Layout, moved_long_ago: Lake, bundle_hash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, is_replaced = Lake.request_batches, list[bool]()

    def disturbed(self: Lake, *args: Any, **kwargs: Any) -> Iterator[pd.DataFrame]:
        for batch in read(self, *args, **kwargs):
            yield batch
            if not is_replaced:
                is_replaced.append(True)
                serve(layout, requests(LAST, 1, 5), bundle_hash)

    monkeypatch.setattr(Lake, "request_batches", disturbed)
    served = Served(PlatformResource(shadow_home=str(layout.home)), USE_CASE)
    rows = served.rows([Span(start_of(LAST), end_of(LAST))], 1_000)
    assert sorted(rows["cart_value"]) == sorted(requests(LAST, 1, 5)["cart_value"])
