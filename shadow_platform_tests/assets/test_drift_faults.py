"""Broken inputs of the drift verdict: a clear answer, or a clear failure and nothing half-written."""

from datetime import date, timedelta

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform_tests.assets.drifting import (
    FIRST,
    LAST,
    N_DAYS,
    USE_CASE,
    deploy,
    facts,
    files_of,
    materialize,
    requests,
    serve,
)


def served(layout: Layout, instance: dg.DagsterInstance, rows: pd.DataFrame, digest: str) -> dict[str, object]:
    """Facts of the verdict on the last day when these rows were served."""
    serve(layout, rows, digest)
    assert materialize(layout, [LAST], instance).success
    return facts(instance)[str(LAST)]


def test_without_a_champion_the_run_says_what_to_do(layout: Layout, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.Failure, match="run the job shop_train first"):
        materialize(layout, [FIRST], instance)
    assert files_of(layout.home) == set()


def test_no_predictions_at_all_are_insufficient(layout: Layout, instance: dg.DagsterInstance) -> None:
    deploy(layout)
    assert materialize(layout, [FIRST], instance).success
    assert facts(instance)[str(FIRST)]["outcome"] == "insufficient"


def test_a_missing_reference_file_fails_the_run_and_writes_nothing(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    digest = deploy(layout)
    serve(layout, requests(FIRST, N_DAYS, 2), digest)
    next((layout.bundles / digest).glob("*.parquet")).unlink()
    with pytest.raises(BundleError, match="fetch"):
        materialize(layout, [LAST], instance)
    assert files_of(layout.home) == set()


def test_a_reference_of_another_schema_names_the_feature_and_what_to_do(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    digest = deploy(layout, requests(date(2024, 1, 1), 28, 1).drop(columns="channel"))
    found = served(layout, instance, requests(FIRST, N_DAYS, 2), digest)
    assert found["outcome"] == "fail"
    assert str(found["rules_fired"]).startswith("schema")
    assert "channel: missing from the reference; train a model that knows it" in str(found["explanation"])


def test_a_feature_that_nobody_sends_any_more_is_named(layout: Layout, instance: dg.DagsterInstance) -> None:
    found = served(layout, instance, requests(FIRST, N_DAYS, 2).drop(columns="channel"), deploy(layout))
    assert str(found["rules_fired"]).startswith("schema")
    assert "channel: missing from the window" in str(found["explanation"])


def test_values_of_another_type_are_named_and_keep_the_scores_from_being_split_only(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    rows = requests(FIRST, N_DAYS, 2)
    found = served(layout, instance, rows.assign(cart_value=rows["cart_value"].map("{} EUR".format)), deploy(layout))
    assert found["outcome"] == "fail"
    assert "cart_value: type changed" in str(found["explanation"])
    assert "segments" not in found


def test_level_names_of_any_script_are_kept(layout: Layout, instance: dg.DagsterInstance) -> None:
    names = {"mail": "почта", "search": "検索 | a", "shop": "läden\n🛒"}
    frozen, rows = (requests(day, n, seed) for day, n, seed in ((date(2024, 1, 1), 28, 1), (FIRST, N_DAYS, 2)))
    frozen, rows = (part.assign(channel=part["channel"].map(names)) for part in (frozen, rows))
    found = served(layout, instance, rows, deploy(layout, frozen))
    assert found["outcome"] == "pass"
    assert "| channel=почта |" in str(found["segments"])


def test_requests_dated_in_the_future_or_long_ago_are_in_no_window_of_today(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    rows = requests(FIRST, N_DAYS, 2)
    days_off = [timedelta(days=3_650)] * 50 + [-timedelta(days=3_650)] * 50
    strays = rows.head(100).assign(cart_value=1e6, requested_at=rows["requested_at"].head(100) + pd.Series(days_off))
    found = served(layout, instance, pd.concat([rows, strays], ignore_index=True), deploy(layout))
    assert found["outcome"] == "pass"
    assert found["dagster/row_count"] == 700


def test_verdicts_of_days_before_a_failing_one_of_the_same_run_stay(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    lake = serve(layout, requests(FIRST, N_DAYS, 2), deploy(layout))
    layout.table("predictions", USE_CASE.name, LAST).write_bytes(b"torn")
    result = materialize(layout, [LAST - timedelta(days=2), LAST], instance, raises=False)
    assert not result.success
    ends = lake.read_table(DRIFT_VERDICTS, USE_CASE)["window_end"].dt.date
    assert sorted(ends) == [LAST - timedelta(days=1), LAST]
