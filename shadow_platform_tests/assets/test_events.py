"""The events stage lands, sorts and accounts for every raw row of the days it is asked for."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.events import build_event_assets
from shadow_platform.contracts.errors import EventFileError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

SECOND_DAY = FIRST_DAY + timedelta(days=1)
VISITS = USE_CASE.events[0]


def run(layout: Layout, first: date, last: date, *assets: str, use_case: Any = USE_CASE) -> dg.ExecuteInProcessResult:
    names = assets or ("raw_events", "events", "quarantined_events")
    return dg.materialize(
        build_event_assets(use_case),
        selection=[dg.AssetKey([use_case.name, name]) for name in names],
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        tags={
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        },
        raise_on_error=False,
    )


def drop(layout: Layout, day: date, rows: Iterable[dict[str, Any]] | bytes, kind: str = "visits") -> None:
    path = layout.raw_events("tiny", kind, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.write_bytes(content)


def visits(day: date = FIRST_DAY) -> list[dict[str, Any]]:
    return [dict(row) for row in TinySource().received_on(day)["visits"]]


def metadata(result: dg.ExecuteInProcessResult, asset: str, day: date) -> dict[str, Any]:
    (found,) = [
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == asset and event.partition == day.isoformat()
    ]
    return {name: value.value for name, value in found.items()}


def test_everything_received_becomes_an_event_of_its_day(layout: Layout) -> None:
    result = run(layout, FIRST_DAY, SECOND_DAY)
    assert result.success
    lake = Lake(layout)
    assert lake.event_days(USE_CASE, VISITS) == [FIRST_DAY, SECOND_DAY]
    n_visits = lake.events_sql("SELECT count(*) AS n FROM visits", USE_CASE, USE_CASE.events)["n"].iloc[0]
    assert n_visits == len(visits()) + len(visits(SECOND_DAY))
    assert lake.table_days(QUARANTINED_EVENTS, USE_CASE) == [FIRST_DAY, SECOND_DAY]
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_every_materialization_says_how_much_and_of_what_shape(layout: Layout) -> None:
    result = run(layout, FIRST_DAY, SECOND_DAY)
    found = metadata(result, "events", SECOND_DAY)
    received = TinySource().received_on(SECOND_DAY)
    assert found["dagster/partition_row_count"] == sum(len(rows) for rows in received.values())
    assert found["rows_by_kind"]["visits"] == len(visits()) + len(visits(SECOND_DAY))
    assert found["quarantined_rows_by_kind"] == {"visits": 0, "purchases": 0}
    assert found["null_rates"] == {}
    assert [column.name for column in found["schema_visits"].columns] == list(VISITS.schema.columns)
    quarantine = metadata(result, "quarantined_events", FIRST_DAY)
    assert [c.description for c in quarantine["dagster/column_schema"].columns] == [
        column.comment for column in QUARANTINED_EVENTS.columns
    ]


def test_a_file_that_an_external_system_dropped_is_not_replaced(layout: Layout) -> None:
    drop(layout, FIRST_DAY, visits()[:3])
    result = run(layout, FIRST_DAY, FIRST_DAY)
    assert metadata(result, "raw_events", FIRST_DAY)["files_kept"] == 1
    assert metadata(result, "events", FIRST_DAY)["rows_by_kind"]["visits"] == 3


def test_faulty_rows_are_in_quarantine_with_reason_and_payload_and_the_check_warns(layout: Layout) -> None:
    rows = visits()[:4]
    rows[1]["cart_value"] = -5
    drop(layout, FIRST_DAY, b"".join(json.dumps(row).encode() + b"\n" for row in rows) + b'{"event_id": "torn')
    result = run(layout, FIRST_DAY, FIRST_DAY)
    assert result.success
    quarantined = Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)
    assert quarantined["row"].tolist() == [2, 5]
    assert quarantined["column_name"].tolist() == ["cart_value", None]
    assert "the last line is cut off" in quarantined["reason"].iloc[1]
    assert json.loads(quarantined["payload"].iloc[0]) == rows[1]
    assert set(quarantined["file"]) == {"raw/tiny/visits/dt=2024-01-01/events.jsonl"}
    assert metadata(result, "events", FIRST_DAY)["quarantined_rows_by_kind"] == {"visits": 2, "purchases": 0}
    table = metadata(result, "quarantined_events", FIRST_DAY)["violations"]
    assert (
        "| 1 | visits | cart_value | failed in_range(0, 10000) | raw/tiny/visits/dt=2024-01-01/events.jsonl:2 |"
        in table
    )
    assert "| 1 | visits | row | the last line is cut off | raw/tiny/visits/dt=2024-01-01/events.jsonl:5 |" in table
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {
        "every_raw_row_is_valid_or_quarantined": True,
        "few_rows_are_quarantined": False,
        "every_kind_keeps_most_of_its_rows": True,
        "no_other_day_holds_an_event_again": True,
    }


@pytest.mark.parametrize("at_once", [True, False], ids=["one run", "two runs"])
def test_an_event_received_again_on_a_later_day_is_a_duplicate(layout: Layout, at_once: bool) -> None:
    again = {**visits()[0], "event_at": "2024-01-02T00:00:00Z", "received_at": "2024-01-02T00:00:00Z"}
    drop(layout, SECOND_DAY, [*visits(SECOND_DAY), again])
    if at_once:
        run(layout, FIRST_DAY, SECOND_DAY)
    else:
        run(layout, FIRST_DAY, FIRST_DAY)
        run(layout, SECOND_DAY, SECOND_DAY)
    quarantined = Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)
    assert quarantined["reason"].tolist() == ["duplicate of an event already received: {'event_id': 'visit:v000-000'}"]


def test_a_day_that_was_made_before_an_earlier_one_with_its_event_is_named_until_it_is_made_again(
    layout: Layout,
) -> None:
    again = {**visits()[0], "event_at": "2024-01-02T00:00:00Z", "received_at": "2024-01-02T00:00:00Z"}
    drop(layout, SECOND_DAY, [*visits(SECOND_DAY), again])

    def once(day: date) -> dg.AssetCheckEvaluation:
        evaluations = run(layout, day, day).get_asset_check_evaluations()
        return next(check for check in evaluations if check.check_name == "no_other_day_holds_an_event_again")

    assert once(SECOND_DAY).passed
    early = once(FIRST_DAY)
    assert (early.passed, early.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert early.metadata["days_to_rerun_by_kind"].value == {"visits": ["2024-01-02"]}
    assert once(SECOND_DAY).passed
    assert once(FIRST_DAY).passed
    held = Lake(layout).events_sql("SELECT count(*) - count(DISTINCT event_id) AS n FROM visits", USE_CASE, [VISITS])
    assert held["n"].iloc[0] == 0


def test_running_again_changes_nothing(layout: Layout) -> None:
    run(layout, FIRST_DAY, SECOND_DAY)
    before = Lake(layout).events_sql("SELECT * FROM visits ORDER BY event_id", USE_CASE, USE_CASE.events)
    assert run(layout, FIRST_DAY, SECOND_DAY).success
    after = Lake(layout).events_sql("SELECT * FROM visits ORDER BY event_id", USE_CASE, USE_CASE.events)
    assert before.equals(after)


def test_a_missing_or_unreadable_file_stops_the_run_and_writes_no_partition(layout: Layout) -> None:
    missing = run(layout, FIRST_DAY, FIRST_DAY, "events", "quarantined_events")
    drop(layout, FIRST_DAY, b"\x1f\x8b compressed")
    unreadable = run(layout, FIRST_DAY, FIRST_DAY)
    for result, words in ((missing, "materialize raw_events"), (unreadable, "is not UTF-8 JSON lines")):
        assert not result.success
        failure = result.failure_data_for_node("tiny__events")
        assert failure is not None
        assert failure.error is not None
        assert failure.error.cause is not None
        assert words in failure.error.cause.message
        assert EventFileError.__name__ in failure.error.cause.message
    assert Lake(layout).event_days(USE_CASE, VISITS) == []


def test_a_kind_without_rows_of_a_day_has_an_empty_file(layout: Layout) -> None:
    class Silent(TinySource):
        def received_on(self, day: date) -> Any:
            return {"visits": super().received_on(day)["visits"]}

    result = run(layout, FIRST_DAY, FIRST_DAY, use_case=replace(USE_CASE, source=Silent))
    assert result.success
    assert layout.raw_events("tiny", "purchases", FIRST_DAY).read_bytes() == b""
    assert metadata(result, "events", FIRST_DAY)["rows_by_kind"]["purchases"] == 0
