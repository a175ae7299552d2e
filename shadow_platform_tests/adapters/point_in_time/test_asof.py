"""The join by DuckDB answers as the reference does, whatever the rows, however they are stored."""

import itertools
import shutil
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store import asof
from shadow_platform.adapters.feature_store.asof import JoinedView, point_in_time_join, read_unchanged
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform_tests.adapters.feature_rows import HOUR, START
from shadow_platform_tests.adapters.point_in_time.reference import (
    ODD_KEYS,
    Asked,
    Row,
    answer,
    every_request,
    feature_rows,
    partitions,
    table,
)

USERS = ["u1", "u2", None, *ODD_KEYS[1:3]]
FEATURES = {"visits": "visits", "device": "device"}
TTL = 6 * HOUR


def spine(asked: Sequence[Asked]) -> pa.Table:
    times = pa.array([request.at for request in asked], pa.timestamp("us", "UTC"))
    return pa.table({"user": pa.array([request.user for request in asked], pa.string()), "event_timestamp": times})


def joined(rows: pa.Table | list[str], entities: pa.Table | pd.DataFrame, ttl: timedelta | None = TTL) -> list[object]:
    found = point_in_time_join(entities, [JoinedView(rows, {"user": "user"}, {"visits": "visits"}, ttl)])
    values: list[object] = found.column("visits").to_pylist()
    return values


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    ttl=st.sampled_from([None, timedelta(0), HOUR, TTL]),
    known_only=st.booleans(),
    is_table=st.booleans(),
    few=st.sampled_from([0, asof.FEW]),
)
def test_the_join_answers_as_the_reference(
    data: st.DataObject, ttl: timedelta | None, known_only: bool, is_table: bool, few: int
) -> None:
    """Late, early, doubled and undated rows, null keys, ties in every column."""
    rows = data.draw(feature_rows(USERS, 50))
    undated = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=3))
    rows = [row._replace(created_at=None) if n in undated else row for n, row in enumerate(rows)]
    asked = every_request([*USERS, "u9"])
    folder = Path(tempfile.mkdtemp(prefix="join-"))
    held = rows if is_table else partitions(folder, rows)
    files = table(rows) if is_table else sorted(map(str, folder.rglob("*.parquet")))
    view = JoinedView(files, {"user": "user"}, FEATURES, ttl)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asof, "FEW", few)
        found = point_in_time_join(spine(asked), [view], known_only=known_only).to_pylist()
    shutil.rmtree(folder)
    for request, values in zip(asked, found, strict=True):
        expected = answer(held, request, ttl, known_only)
        assert values == {
            "user": request.user,
            "event_timestamp": request.at,
            "visits": expected and expected.visits,
            "device": expected and expected.device,
        }


def test_entities_keep_their_order_and_their_columns() -> None:
    asked = [Asked(user, START + hour * HOUR) for hour, user in ((5, "b"), (1, "a"), (5, "b"), (2, None), (3, "a"))]
    entities = spine(asked).append_column("label", pa.array([[1], [], None, [2, 3], [4]]))
    rows = table([Row("a", START, START, 1.0), Row("b", START, START, 2.0)])
    found = point_in_time_join(entities, [JoinedView(rows, {"user": "user"}, {"visits": "n_visits"})])
    assert found.column_names == ["user", "event_timestamp", "label", "n_visits"]
    assert found.column("n_visits").to_pylist() == [2, 1, 2, None, 1]
    assert found.select(["user", "event_timestamp", "label"]).equals(entities)


def test_a_row_has_several_keys_or_none_and_views_are_joined_side_by_side() -> None:
    rows = pa.table(
        {
            "user": ["a", "a", "b", None],
            "shop": [1, 2, 1, 1],
            "at": [START + n * HOUR for n in range(4)],
            "visits": [10.0, 20.0, 30.0, 40.0],
        }
    )
    both = JoinedView(rows, {"buyer": "user", "store": "shop"}, {"visits": "both"}, None, "at", None)
    none = JoinedView(rows, {}, {"visits": "none"}, None, "at", None)
    entities = pa.table({"buyer": ["a", "a", "b", "b", None], "store": [1, 2, 1, 2, 1], "t": [START + HOUR] * 5})
    found = point_in_time_join(entities, [both, none], "t")
    assert found.column("both").to_pylist() == [10, 20, None, None, None]
    assert found.column("none").to_pylist() == [20] * 5


def test_of_rows_alike_the_last_of_the_last_file_counts(tmp_path: Path) -> None:
    for name, visits in (("1", [1.0, 2.0, 3.0]), ("2", [4.0])):
        pq.write_table(table([Row("a", START, START, value) for value in visits]), tmp_path / name)
    files = [str(tmp_path / name) for name in ("1", "2")]
    assert joined(files, spine([Asked("a", START)])) == [4]
    assert joined(files[::-1], spine([Asked("a", START)])) == [3]


def test_no_entity_at_all_and_none_with_a_time_or_a_key_are_answered() -> None:
    rows = table([Row("a", START, START)])
    assert joined(rows, spine([])) == []
    assert (
        joined(rows, pa.table({"user": ["a", "a"], "event_timestamp": pa.nulls(2, pa.timestamp("us"))})) == [None] * 2
    )
    assert joined(rows, pa.table({"user": pa.nulls(2), "event_timestamp": [START + HOUR] * 2})) == [None] * 2
    assert joined(table([]), spine([Asked("a", START)])) == [None]


BERLIN_WINTER = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(["2024-01-01T01:00:00", "2024-01-01T02:00:00+01:00", "2024-01-01 03:59:59.5Z"]),
        pd.Series([START + HOUR, (START + HOUR).astimezone(BERLIN_WINTER), START + 3 * HOUR], dtype=object),
        pd.Series(pd.to_datetime([START + HOUR, START + HOUR, START + 3 * HOUR])).astype("datetime64[ns, UTC]"),
        pd.Series(pd.to_datetime([START + HOUR, START + HOUR, START + 3 * HOUR])).dt.tz_localize(None),
        pd.Series(pd.to_datetime([START + HOUR, START + HOUR, START + 3 * HOUR])).dt.as_unit("s"),
    ],
    ids=["text", "mixed zones", "nanoseconds", "naive", "seconds"],
)
def test_a_time_is_read_however_it_is_written(times: pd.Series) -> None:
    rows = table([Row("a", START + HOUR, START + HOUR, 1.0), Row("a", START + 3 * HOUR, START + 3 * HOUR, 3.0)])
    assert joined(rows, pd.DataFrame({"user": "a", "event_timestamp": times})) == [1, 1, 3]


def test_a_date_is_its_midnight_in_utc() -> None:
    rows = table([Row("a", START, START)])
    entities = pd.DataFrame({"user": "a", "event_timestamp": [date(2023, 12, 31), date(2024, 1, 1)]})
    assert joined(rows, entities) == [None, 1]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_rows_keep_their_instants_in_any_unit_and_zone(tmp_path: Path, unit: str, zone: str | None) -> None:
    kind = pa.timestamp(unit, zone)
    instants = pa.array([START + HOUR, START + 2 * HOUR], pa.timestamp("us", "UTC"))
    times = instants.cast(pa.timestamp("us")).cast(kind) if zone is None else instants.cast(kind)
    rows = pa.table({"user": ["a", "a"], "event_at": times, "created_at": times, "visits": [1.0, 2.0]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    asked = spine([Asked("a", START + hour * HOUR) for hour in (0.99, 1, 1.99, 2)])
    assert joined(rows, asked) == joined([str(tmp_path / "rows.parquet")], asked) == [None, 1, 1, 2]


def test_a_request_between_two_microseconds_does_not_see_the_later_one() -> None:
    at = START + timedelta(microseconds=1)
    rows = table([Row("a", START, START, 1.0), Row("a", at, at, 2.0)])
    times = pd.Series(pd.to_datetime([START])).astype("datetime64[ns, UTC]") + pd.Timedelta(999, "ns")
    assert joined(rows, pd.DataFrame({"user": "a", "event_timestamp": times})) == [1]


def test_a_feature_that_older_partitions_lack_is_null_there(tmp_path: Path) -> None:
    old, new = table([Row("a", START, START)]), table([Row("a", START + HOUR, START + HOUR, 2.0)])
    pq.write_table(old.drop_columns("visits"), tmp_path / "1.parquet")
    pq.write_table(new.select(["visits", "device", "created_at", "event_at", "user"]), tmp_path / "2.parquet")
    files = [str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")]
    assert joined(files, spine([Asked("a", START), Asked("a", START + HOUR)])) == [None, 2]
    assert joined(files[::-1], spine([Asked("a", START), Asked("a", START + HOUR)])) == [None, 2]


def test_what_cannot_be_joined_is_named(tmp_path: Path) -> None:
    rows, asked = table([Row("a", START, START)]), spine([Asked("a", START)])
    with pytest.raises(
        FeatureStoreError, match=r"feature rows have no column \['visits'\]; they have \['user', 'event"
    ):
        joined(rows.drop_columns("visits"), asked)
    with pytest.raises(FeatureStoreError, match=r"feature rows have no column \['created_at'\]"):
        joined(rows.drop_columns("created_at"), asked)
    with pytest.raises(FeatureStoreError, match=r"entities have no column \['user'\]"):
        joined(rows, asked.drop_columns("user"))
    with pytest.raises(FeatureStoreError, match=r"entities already have \['visits'\]; rename them"):
        joined(rows, asked.append_column("visits", pa.array([1])))
    with pytest.raises(FeatureStoreError, match="key 'user' is int64 in the entities and VARCHAR in the rows"):
        joined(rows, asked.set_column(0, "user", pa.array([7])))
    with pytest.raises(FeatureStoreError, match="'event_timestamp' is of type double; expected timestamps"):
        joined(rows, asked.set_column(1, "event_timestamp", pa.array([1.5])))
    with pytest.raises(FeatureStoreError, match=r"'event_timestamp' holds no times: .*; expected ISO 8601"):
        joined(rows, asked.set_column(1, "event_timestamp", pa.array(["yesterday"])))
    with pytest.raises(FeatureStoreError, match=r"1\.parquet is gone; materialize its partition, then retry"):
        joined([str(tmp_path / "1.parquet")], asked)


@pytest.mark.parametrize("n_replaced", [1, 3])
def test_partitions_replaced_between_finding_and_fetching_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_replaced: int
) -> None:
    """Found in one file and fetched from another, the values would be those of other entities."""
    users = ["u1", "u2", "u3"]
    versions = [
        table(
            [Row(user, START, START, 10.0 * turn + n) for n, user in enumerate(users[turn % 3 :] + users[: turn % 3])]
        )
        for turn in range(n_replaced + 1)
    ]
    path, fetch, turns = tmp_path / "data.parquet", asof._values, iter(versions[1:])
    pq.write_table(versions[0], path)

    def replace_and_fetch(*arguments: Any) -> str:
        for version in itertools.islice(turns, 1):
            pq.write_table(version, tmp_path / "beside")
            (tmp_path / "beside").replace(path)
        return fetch(*arguments)

    monkeypatch.setattr(asof, "_values", replace_and_fetch)
    asked = spine([Asked(user, START) for user in users])
    found = dict(zip(users, joined([str(path)], asked), strict=True))
    assert found == {row["user"]: row["visits"] for row in versions[-1].to_pylist()}


def test_partitions_that_never_stop_changing_are_given_up(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(table([Row("u1", START, START)]), path)

    def read_while_written() -> pa.Table:
        path.touch()
        return pq.read_table(path)

    with pytest.raises(FeatureStoreError, match=r"data\.parquet and others were replaced during 20 reads"):
        read_unchanged([str(path)], read_while_written)
