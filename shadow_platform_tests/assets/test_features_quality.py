"""A day that lost something against the days before it is told, or stopped; days that lost nothing are let alone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.events import MAX_LOST_SHARE, MIN_ROWS, Ingestion
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.assets.features.making import Making
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.features import by_weekday, rises, runs_of_days, vanished
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

VIEW = USE_CASE.views[0]
LAST_DAY = FIRST_DAY + timedelta(days=16)
GONE_ON = FIRST_DAY + timedelta(days=10)
WARNINGS = ("nulls_are_as_frequent_as_in_the_days_before", "no_weekday_loses_half_its_entities")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Seventeen days of events."""
    made = Layout(tmp_path_factory.mktemp("quality"))
    for kind in USE_CASE.events:
        for offset in range((LAST_DAY - FIRST_DAY).days + 1):
            day = FIRST_DAY + timedelta(days=offset)
            rows = pd.DataFrame(TinySource().received_on(day)[kind.name]).drop(columns="schema_version")
            Lake(made).write_events(USE_CASE, kind, day, kind.schema.validate(rows))
    return made


def run(
    layout: Layout, sql: str, first: date = FIRST_DAY, last: date = LAST_DAY, **config: Any
) -> dg.ExecuteInProcessResult:
    use_case = replace(USE_CASE, views=(replace(VIEW, sql=sql),))
    return dg.materialize(
        build_feature_assets(use_case),
        selection=[dg.AssetKey(["tiny", VIEW.name])],
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        run_config={
            "ops": {f"tiny__{VIEW.name}": {"config": config}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        tags=partition_range(first, last),
        raise_on_error=False,
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def with_column(name: str, value: str, since: date = GONE_ON) -> str:
    """The view's SQL with another value of a column from a day on."""
    other = f"CASE WHEN event_at >= TIMESTAMPTZ '{since} 00:00:00Z' THEN {value} ELSE {name} END AS {name}"
    columns = "visits_7d, purchases_7d\nFROM rolling"
    assert columns in VIEW.sql
    return VIEW.sql.replace(columns, columns.replace(name, other))


def test_a_feature_that_loses_all_its_values_stops_the_run_and_nothing_is_written_of_it(layout: Layout) -> None:
    sql = with_column("purchases_7d", "NULL")
    assert run(layout, VIEW.sql, last=GONE_ON - timedelta(days=1)).success
    result = run(layout, sql, first=GONE_ON)
    assert not result.success
    check = checks(result)["no_feature_loses_all_its_values"]
    assert (check.passed, check.blocking, check.severity) == (False, True, dg.AssetCheckSeverity.ERROR)
    lost: Any = check.metadata["features_by_day"].value
    assert lost[str(GONE_ON)] == ["purchases_7d"]
    failure = result.failure_data_for_node(f"tiny__{VIEW.name}")
    assert failure is not None
    assert "set without_values=['purchases_7d']" in str(failure.error)
    assert max(Lake(layout).feature_days(USE_CASE, VIEW)) == GONE_ON - timedelta(days=1)

    accepted = run(layout, sql, first=GONE_ON, last=GONE_ON, without_values=["purchases_7d"])
    assert accepted.success
    assert checks(accepted)["no_feature_loses_all_its_values"].passed
    assert run(layout, sql, first=GONE_ON + timedelta(days=1)).success
    assert run(layout, sql, first=GONE_ON).success


def test_a_rise_of_nulls_and_entities_that_stay_away_are_warned_of(layout: Layout) -> None:
    sql = with_column("purchases_7d", "CASE WHEN visitor_id < 'visitor-20' THEN purchases_7d END")
    checked = checks(run(layout, sql))
    risen: Any = checked[WARNINGS[0]].metadata["null_rates_by_day"].value
    assert (checked[WARNINGS[0]].passed, checked[WARNINGS[0]].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert set(risen[str(GONE_ON)]) == {"purchases_7d"}

    after = FIRST_DAY + timedelta(days=15)
    few = VIEW.sql.replace(
        "AND event_at <= $end\nORDER",
        f"AND event_at <= $end AND (event_at < TIMESTAMPTZ '{after} 00:00:00Z' OR visitor_id < 'visitor-15')\nORDER",
    )
    assert few != VIEW.sql
    checked = checks(run(layout, few))
    fallen: Any = checked[WARNINGS[1]].metadata["entities_and_fewest_of_the_weekday_by_day"].value
    assert list(fallen) == [str(after), str(LAST_DAY)]


def test_a_column_that_was_retyped_upstream_is_no_number_and_a_renamed_one_is_missing(layout: Layout) -> None:
    retyped = VIEW.sql.replace("visits_7d, purchases_7d\nFROM", "'a lot' AS visits_7d, purchases_7d\nFROM")
    renamed = VIEW.sql.replace("visits_7d, purchases_7d\nFROM", "visits_7d AS visits, purchases_7d\nFROM")
    for sql, words in ((retyped, "visits_7d is no number"), (renamed, "columns ['visits_7d'] are missing")):
        result = run(layout, sql)
        assert not result.success
        found: Any = checks(result)["rows_are_unique_complete_and_in_their_day"].metadata["violations"].value
        assert any(words in text for text in found)


PRODUCTS = {"fraud": (35, 150), "credit": (35, 1500), "churn": (35, 120), "flights": (24, 0)}


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_product_raises_a_false_alarm(name: str, tmp_path: Path) -> None:
    use_case, (n_days, n_entities) = load_use_case(name), PRODUCTS[name]
    platform = PlatformResource(shadow_home=str(tmp_path))
    days = [use_case.first_partition + timedelta(days=n) for n in range(n_days)]
    _land(platform, use_case, days, n_entities)
    tally = Ingestion(platform, use_case, days).run()
    lost = [
        at
        for at, n in tally.misshapen.items()
        if tally.received[at] >= MIN_ROWS and n > MAX_LOST_SHARE * tally.received[at]
    ]
    assert lost == []
    for view in use_case.views:
        making = Making(platform, use_case, view)
        for run_of_days in runs_of_days(days, 31):
            counted = making.counts(making.compute(run_of_days), run_of_days)
            own = {day: record for day, (_, record) in counted.items()}
            assert not any(vanished(record, making.before(day, own)) for day, record in own.items())
            list(making.replace(counted))
        alarms: Mapping[date, Any] = {
            day: (rises(making.records[day], making.before(day, {})), by_weekday(day, making.records)) for day in days
        }
        assert {day: alarm for day, alarm in alarms.items() if alarm != ({}, None)} == {}


def _land(platform: PlatformResource, use_case: UseCase, days: list[date], n_entities: int) -> None:
    plan = SimulationPlan(n_entities=n_entities or 1, drifts=())
    source = use_case.simulation.simulator(plan) if use_case.simulation else use_case.source()
    for day in days:
        received = source.received_on(day)
        for kind in use_case.events:
            platform.lake().land_raw(use_case, kind, day, received.get(kind.name, ()))
