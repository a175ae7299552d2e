"""The features stage writes point-in-time rows, tells Feast of them and brings them online."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.features import OnlineWindow, build_feature_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

LAST_DAY = FIRST_DAY + timedelta(days=3)
VIEW = USE_CASE.views[0]
CHECKS = (
    "rows_are_unique_complete_and_in_their_day",
    "no_feature_is_null_throughout",
    "no_feature_loses_all_its_values",
    "nulls_are_as_frequent_as_in_the_days_before",
    "no_weekday_loses_half_its_entities",
)


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Four days of events."""
    layout = Layout(tmp_path_factory.mktemp("events") / "home")
    write_events(layout, LAST_DAY)
    return layout


def write_events(layout: Layout, last: date) -> None:
    for offset in range((last - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=offset)
        for kind in USE_CASE.events:
            rows = pd.DataFrame(TinySource().received_on(day)[kind.name]).drop(columns="schema_version")
            Lake(layout).write_events(USE_CASE, kind, day, kind.schema.validate(rows))


def run(
    layout: Layout,
    *assets: str,
    first: date = FIRST_DAY,
    last: date = LAST_DAY,
    use_case: UseCase = USE_CASE,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        build_feature_assets(use_case),
        selection=[dg.AssetKey([use_case.name, name]) for name in assets],
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        run_config={"ops": {"tiny__online_features": {"config": config}}} if config else None,
        tags={
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        if assets == (VIEW.name,)
        else None,
        raise_on_error=False,
    )


def with_sql(sql: str) -> UseCase:
    return replace(USE_CASE, views=(replace(VIEW, sql=sql),))


def test_rows_lie_in_the_partition_of_their_day(received: Layout) -> None:
    result = run(received, VIEW.name)
    assert result.success
    assert {check.check_name: check.passed for check in result.get_asset_check_evaluations()} == dict.fromkeys(
        CHECKS, True
    )
    for day in (FIRST_DAY, LAST_DAY):
        rows = Lake(received).read_features(USE_CASE, VIEW, day, day + timedelta(days=1))
        assert not rows.empty
        assert set(rows["event_at"].dt.date) == {day}


def test_a_day_alone_gives_the_rows_it_gives_within_a_longer_run(received: Layout, layout: Layout) -> None:
    run(received, VIEW.name)
    together = Lake(received).read_features(USE_CASE, VIEW)
    for offset in range(4):
        day = FIRST_DAY + timedelta(days=offset)
        write_events(layout, day)
        assert run(layout, VIEW.name, first=day, last=day).success
    pd.testing.assert_frame_equal(Lake(layout).read_features(USE_CASE, VIEW), together)


def test_no_row_knows_an_event_received_after_it(received: Layout, layout: Layout) -> None:
    run(received, VIEW.name)
    full = Lake(received).read_features(USE_CASE, VIEW)
    moment = datetime(2024, 1, 3, 12, tzinfo=UTC)
    for day in Lake(received).event_days(USE_CASE, "visits"):
        for kind in USE_CASE.events:
            query = f"SELECT * FROM {kind.name} WHERE received_at <= $moment AND received_at::DATE = $day"
            cut = Lake(received).events_sql(query, USE_CASE, [kind], {"moment": moment, "day": day})
            Lake(layout).write_events(USE_CASE, kind, day, cut)
    assert run(layout, VIEW.name).success
    cut_off = Lake(layout).read_features(USE_CASE, VIEW)
    pd.testing.assert_frame_equal(
        cut_off[cut_off["event_at"] <= moment].reset_index(drop=True),
        full[full["event_at"] <= moment].reset_index(drop=True),
    )


def test_every_materialization_carries_counts_null_rates_and_described_columns(received: Layout) -> None:
    result = run(received, VIEW.name)
    found = result.get_asset_materialization_events()[0].materialization.metadata
    rows = Lake(received).read_features(USE_CASE, VIEW)
    assert found["dagster/row_count"].value == len(rows)
    assert found["null_rates"].value == {"visits_7d": 0.0, "purchases_7d": 0.0}
    schema: Any = found["dagster/column_schema"].value
    columns = {column.name: column.description for column in schema.columns}
    assert columns["visits_7d"] == "Visits, last 7 days [visits]"
    assert list(columns) == list(rows.columns)
    by_day = {
        event.partition: event.materialization.metadata["dagster/partition_row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert by_day == {str(day): n for day, n in rows.groupby(rows["event_at"].dt.date).size().items()}


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (VIEW.sql.replace("FROM rolling\n", "FROM rolling, range(2)\n"), "(visitor_id, event_at) is not unique"),
        (
            VIEW.sql.replace("event_at AS created_at", "event_at - INTERVAL 1 SECOND AS created_at"),
            "created_at is before",
        ),
        (VIEW.sql.replace("AND event_at <= $end\nORDER", "AND event_at <= $end + INTERVAL 2 HOUR\nORDER"), "outside"),
        (VIEW.sql.replace(", purchases_7d\n", "\n"), "columns ['purchases_7d'] are missing"),
    ],
    ids=["twice", "created early", "outside", "column missing"],
)
def test_unsound_rows_fail_the_blocking_check_and_are_not_written(
    received: Layout, layout: Layout, sql: str, words: str
) -> None:
    assert sql != VIEW.sql
    write_events(layout, LAST_DAY)
    result = run(layout, VIEW.name, first=FIRST_DAY, last=FIRST_DAY, use_case=with_sql(sql))
    assert not result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.blocking) == (CHECKS[0], False, True)
    violations: Any = check.metadata["violations"].value
    assert any(words in text for text in violations)
    assert Lake(layout).feature_days(USE_CASE, VIEW) == []


def test_a_feature_that_is_null_throughout_is_warned_of(layout: Layout) -> None:
    write_events(layout, FIRST_DAY)
    sql = VIEW.sql.replace("visits_7d, purchases_7d\nFROM", "visits_7d, NULL::DOUBLE AS purchases_7d\nFROM")
    result = run(layout, VIEW.name, last=FIRST_DAY, use_case=with_sql(sql))
    assert result.success
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks[CHECKS[0]].passed
    assert not checks[CHECKS[1]].passed
    assert checks[CHECKS[1]].metadata["null_features"].value == ["purchases_7d"]


def test_definitions_and_an_explicit_window_bring_features_online(received: Layout) -> None:
    run(received, VIEW.name)
    assert run(received, "feature_definitions").success
    until = datetime(2024, 1, 3, tzinfo=UTC)
    result = run(received, "online_features", start="2024-01-01T00:00:00Z", end="2024-01-03T00:00:00Z")
    assert result.success
    rows = Lake(received).read_features(USE_CASE, VIEW)
    newest = rows[rows["event_at"] <= until].sort_values("event_at").drop_duplicates("visitor_id", keep="last")
    found = result.get_asset_materialization_events()[0].materialization.metadata
    assert found["rows_by_view"].value == {"visitor_history": len(newest)}
    store = PlatformResource(shadow_home=str(received.home)).feature_store(USE_CASE)
    online = store.online().read([{"visitor_id": visitor} for visitor in newest["visitor_id"]])
    assert [row["visitor_history"].event_at for row in online] == newest["event_at"].tolist()
    assert [row["visitor_history"].values["visits_7d"] for row in online] == newest["visits_7d"].tolist()


def test_the_default_window_ends_with_the_last_day_of_rows(received: Layout) -> None:
    run(received, VIEW.name)
    run(received, "feature_definitions")
    result = run(received, "online_features")
    found = result.get_asset_materialization_events()[0].materialization.metadata
    end = datetime(2024, 1, 5, tzinfo=UTC) - timedelta(microseconds=1)
    assert found["window_end"].value == pytest.approx(end.timestamp())
    assert found["window_start"].value == pytest.approx((end - VIEW.ttl).timestamp())


@pytest.mark.parametrize(
    ("config", "words"),
    [({"end": "tomorrow"}, "end='tomorrow' is no RFC 3339 time"), ({}, "not every view of 'tiny' has rows")],
)
def test_a_window_that_cannot_be_told_is_named(layout: Layout, config: dict[str, Any], words: str) -> None:
    result = run(layout, "online_features", **config)
    failure = result.failure_data_for_node("tiny__online_features")
    assert failure is not None
    assert failure.error is not None
    assert failure.error.cause is not None
    assert words in failure.error.cause.message


def test_the_window_is_configured_by_two_texts() -> None:
    assert set(OnlineWindow.model_fields) == {"start", "end"}
