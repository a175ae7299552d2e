"""A window judged again: the same inputs change nothing, others leave the old verdict and say what changed."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.recording import history
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_METRICS, DRIFT_SEGMENTS, DRIFT_VERDICTS, TableSchema
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
    materialize_live,
    requests,
    serve,
)

TABLES = (DRIFT_METRICS, DRIFT_SEGMENTS, DRIFT_VERDICTS)


@pytest.fixture
def bundle_hash(layout: Layout) -> str:
    return deploy(layout)


@pytest.fixture
def lake(layout: Layout, bundle_hash: str) -> Lake:
    """Two weeks of requests like those of the reference."""
    return serve(layout, requests(FIRST, N_DAYS, 2), bundle_hash)


def rows(lake: Lake, schema: TableSchema) -> pd.DataFrame:
    return lake.read_table(schema, USE_CASE).sort_values(list(schema.key)).reset_index(drop=True)


def test_judging_again_gives_the_same_evaluation_and_no_second_row(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance)
    before = {schema.name: rows(lake, schema).drop(columns="evaluated_at", errors="ignore") for schema in TABLES}
    materialize(layout, [LAST], instance)
    for schema in TABLES:
        after = rows(lake, schema).drop(columns="evaluated_at", errors="ignore")
        pd.testing.assert_frame_equal(after, before[schema.name])
    assert "replaces" not in facts(instance)[str(LAST)]


def test_the_same_requests_in_another_order_are_the_same_evaluation(
    layout: Layout, lake: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance)
    serve(layout, requests(FIRST, N_DAYS, 2).sample(frac=1, random_state=1), bundle_hash)
    materialize(layout, [LAST], instance)
    assert len(rows(lake, DRIFT_VERDICTS)) == 1


def test_late_requests_give_a_new_verdict_that_names_the_old_one_which_stays(
    layout: Layout, lake: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance)
    old = rows(lake, DRIFT_VERDICTS).iloc[0]
    serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON), bundle_hash)
    materialize(layout, [LAST], instance)

    found = facts(instance)[str(LAST)]
    assert found["replaces"] == old["evaluation_id"]
    assert found["outcome_changed"] == "pass → fail"
    both = rows(lake, DRIFT_VERDICTS).set_index("evaluation_id")
    assert both.loc[old["evaluation_id"], ["outcome", "replaces"]].to_list() == ["pass", None]
    assert both.loc[found["evaluation_id"], ["outcome", "replaces"]].to_list() == ["fail", old["evaluation_id"]]

    serve(layout, requests(FIRST, N_DAYS, 2), bundle_hash)
    materialize(layout, [LAST], instance)
    again = rows(lake, DRIFT_VERDICTS).set_index("evaluation_id")
    assert len(again) == 2
    assert again.loc[old["evaluation_id"], "replaces"] is None


def test_the_verdict_against_another_champion_replaces_nothing(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST], instance)
    deploy(layout, slope=0.03)
    materialize(layout, [LAST], instance)
    assert rows(lake, DRIFT_VERDICTS)["replaces"].isna().all()
    assert len(rows(lake, DRIFT_VERDICTS)) == 2


@pytest.mark.parametrize("n_written", [0, 1, 2])
def test_a_run_that_dies_between_its_tables_is_completed_by_the_next(
    layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    write, calls = Lake.append_rows, []

    def dies(self: Lake, schema: TableSchema, *args: Any) -> int:
        if schema in TABLES:
            calls.append(schema)
            if len(calls) > n_written:
                raise LakeError("no space left")
        return write(self, schema, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "append_rows", dies)
        with pytest.raises(LakeError, match="no space left"):
            materialize(layout, [LAST], instance)
    assert rows(lake, DRIFT_VERDICTS).empty
    materialize(layout, [LAST], instance)
    judged = rows(lake, DRIFT_VERDICTS)["evaluation_id"].tolist()
    assert len(judged) == 1
    assert rows(lake, DRIFT_METRICS)["evaluation_id"].tolist() == judged * 3
    assert rows(lake, DRIFT_SEGMENTS)["evaluation_id"].tolist() == judged * 3


def test_the_history_of_a_picture_is_the_newest_verdict_of_every_window(
    layout: Layout, lake: Lake, bundle_hash: str, instance: dg.DagsterInstance
) -> None:
    materialize(layout, [LAST - timedelta(days=1), LAST], instance)
    serve(layout, requests(FIRST, N_DAYS, 2, SHIFTS_ON), bundle_hash)
    materialize(layout, [LAST], instance)
    platform = PlatformResource(shadow_home=str(layout.home))
    shown = history(platform, USE_CASE, end_of(LAST), "daily")
    assert shown["outcome"].tolist() == ["pass", "fail"]
    assert history(platform, USE_CASE, end_of(LAST) - timedelta(hours=1), "daily")["outcome"].tolist() == ["pass"]
    assert history(platform, USE_CASE, end_of(LAST), "live").empty


@pytest.mark.parametrize("is_live_first", [False, True])
def test_live_and_daily_verdicts_on_the_same_hours_are_both_kept_and_shown(
    is_live_first: bool, layout: Layout, lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_LOOKBACK", str(7 * 24))
    for is_live in (is_live_first, not is_live_first):
        if is_live:
            materialize_live(layout, str(LAST + timedelta(days=1)), instance)
        else:
            materialize(layout, [LAST], instance)
    both = rows(lake, DRIFT_VERDICTS)
    assert both["evaluation_id"].nunique() == 1
    assert both["scope"].tolist() == ["daily", "live"]
    platform = PlatformResource(shadow_home=str(layout.home))
    assert [len(history(platform, USE_CASE, end_of(LAST), scope)) for scope in ("daily", "live")] == [1, 1]
