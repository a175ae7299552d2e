"""The drift verdict on a real lake and bundle: a verdict a day, its rows, facts for the sensor, its check."""

from datetime import timedelta

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.served import Served
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_SEGMENTS, DRIFT_VERDICTS
from shadow_platform.domain.drift.references import window_by_time
from shadow_platform.partitions import end_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.assets.drifting import (
    FIRST,
    LAST,
    N_DAYS,
    SHIFTS_ON,
    USE_CASE,
    deploy,
    facts,
    materialize,
    requests,
    serve,
    with_policy,
)


@pytest.fixture
def bundle_hash(layout: Layout) -> str:
    return deploy(layout)


@pytest.fixture
def lake(layout: Layout, bundle_hash: str) -> Lake:
    """Two weeks of predictions; carts are bigger from the eighth day on."""
    return serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON), bundle_hash)


def test_every_day_of_a_range_has_its_own_verdict_in_metadata_and_tables(
    layout: Layout, lake: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    result = materialize(layout, [FIRST, LAST], instance)

    assert result.success
    found = facts(instance)
    outcomes = {day: fact["outcome"] for day, fact in found.items()}
    assert outcomes["2024-02-01"] == "insufficient"
    assert outcomes["2024-02-07"] == "pass"
    assert outcomes["2024-02-14"] == "fail"
    assert found["2024-02-14"]["window_start"] == "2024-02-08T00:00:00+00:00"
    assert found["2024-02-14"]["window_end"] == "2024-02-15T00:00:00+00:00"
    assert found["2024-02-14"]["compared_with"] == f"frozen reference of bundle {bundle_hash}"
    assert "feature_drift" in found["2024-02-14"]["rules_fired"]
    assert "data:image/png;base64" in found["2024-02-14"]["plot"]
    assert "plot" not in found["2024-02-13"]
    verdicts = lake.read_table(DRIFT_VERDICTS, USE_CASE)
    assert len(verdicts) == N_DAYS
    assert set(verdicts["evaluation_id"]) == {fact["evaluation_id"] for fact in found.values()}
    assert set(verdicts["reference_fingerprint"]) == {bundle_hash}
    assert set(verdicts["scope"]) == {"daily"}
    assert set(verdicts["method"]) == {"exact"}
    metrics = lake.read_table(DRIFT_METRICS, USE_CASE)
    judged = verdicts[verdicts["outcome"] != "insufficient"]
    assert metrics.groupby("evaluation_id").size().to_dict() == dict.fromkeys(judged["evaluation_id"], 3)


def test_the_shift_of_the_scores_is_laid_on_features_and_levels(
    layout: Layout, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    lake = serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON, only_in="mail"), bundle_hash)
    materialize(layout, [LAST], instance)

    verdict = lake.read_table(DRIFT_VERDICTS, USE_CASE).iloc[0]
    shift = verdict["score_current"] - verdict["score_reference"]
    assert shift > 0.02
    segments = lake.read_table(DRIFT_SEGMENTS, USE_CASE)
    assert segments["contribution"].sum() == pytest.approx(shift)
    assert segments.set_index("level")["contribution"].idxmax() == "mail"
    contributions = lake.read_table(DRIFT_METRICS, USE_CASE).set_index("feature")["score_contribution"]
    assert contributions["cart_value"] == pytest.approx(shift, abs=0.02)
    assert "cart_value rose, mostly in channel mail" in verdict["headline"]
    assert "| channel=mail |" in facts(instance)[str(LAST)]["segments"]


def test_rows_and_counts_give_the_same_verdict(layout: Layout, lake: Lake, instance: dg.DagsterInstance) -> None:
    materialize(layout, [LAST], instance)
    exact = facts(instance)[str(LAST)]
    materialize(layout, [LAST], instance, with_policy(exact_rows=0))
    counted = facts(instance)[str(LAST)]
    assert exact["method"].startswith("exact")
    assert counted["method"].startswith("profiles")
    for name in ("outcome", "rules_fired", "drift_score"):
        assert counted[name] == exact[name]


def test_a_window_by_count_is_the_newest_hours_that_hold_so_many(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance, with_policy(window_rows=250))
    row = lake.read_table(DRIFT_VERDICTS, USE_CASE).iloc[0]
    assert 250 <= row["n_current"] < 270
    assert timedelta(days=2) < row["window_end"] - row["window_start"] < timedelta(days=3)


def test_too_few_requests_for_a_window_by_count_are_insufficient(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [FIRST], instance, with_policy(window_rows=250))
    found = facts(instance)[str(FIRST)]
    assert found["outcome"] == "insufficient"
    assert "all requests before 2024-02-02 00:00 UTC are fewer than the 250 of a window" in found["headline"]


def test_a_failing_verdict_fails_the_check_but_not_the_run(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    result = materialize(layout, [LAST], instance)
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == "drift_verdict_passes")
    assert result.success
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "cart_value: median" in str(check.description)


def test_an_insufficient_window_is_a_warning(layout: Layout, lake: Lake, instance: dg.DagsterInstance) -> None:
    result = materialize(layout, [FIRST], instance)
    check = next(iter(result.get_asset_check_evaluations()))
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_the_threshold_of_the_environment_is_in_force_only_when_set(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize(layout, [LAST], instance)
    assert "drift_score" in facts(instance)[str(LAST)]["rules_fired"]
    monkeypatch.setenv("DRIFT_THRESHOLD", "0.9")
    materialize(layout, [LAST], instance)
    assert "drift_score" not in facts(instance)[str(LAST)]["rules_fired"]


def test_scores_of_another_bundle_are_left_out(layout: Layout, bundle_hash: str, instance: dg.DagsterInstance) -> None:
    lake = serve(layout, requests(FIRST, N_DAYS, 2), "another")
    materialize(layout, [LAST], instance)
    row = lake.read_table(DRIFT_VERDICTS, USE_CASE).iloc[0]
    assert row["outcome"] == "pass"
    assert row[["score_reference", "score_current"]].isna().all()
    assert "__score__" not in set(lake.read_table(DRIFT_METRICS, USE_CASE)["feature"])


def test_of_more_rows_than_asked_for_the_same_part_is_read_every_time(layout: Layout, lake: Lake) -> None:
    served = Served(PlatformResource(shadow_home=str(layout.home)), USE_CASE)
    span = window_by_time(served.policy, end_of(LAST))
    everything, once, again = (served.rows([span], at_most) for at_most in (700, 200, 200))
    assert len(everything) == 700
    assert 120 < len(once) < 280
    pd.testing.assert_frame_equal(once, again)
    assert set(once["requested_at"]) < set(everything["requested_at"])
