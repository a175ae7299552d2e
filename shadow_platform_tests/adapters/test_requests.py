"""Served requests come out of their JSON as they were served, typed, in batches, and every hour has its fingerprint."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake import Lake, requests
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform_tests.tiny import USE_CASE

DAY = datetime(2024, 1, 1, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ANYTHING = NUMBERS | TEXTS | st.booleans() | st.lists(st.integers(), max_size=2)


def served(home: Path, features: list[dict[str, Any]], *, bundle: str = "b", first_id: int = 0) -> Lake:
    """A lake of one day whose requests come every 20 minutes."""
    lake = Lake(Layout(home))
    rows = [
        dict.fromkeys(PREDICTIONS.column_names)
        | {"use_case": "tiny", "request_id": f"r{first_id + n:03}", "requested_at": DAY + n * timedelta(minutes=20)}
        | {"features": json.dumps(row), "probability": n / 100, "bundle_hash": bundle}
        for n, row in enumerate(features)
    ]
    lake.write_table(PREDICTIONS, USE_CASE, DAY.date(), pd.DataFrame(rows, columns=list(PREDICTIONS.column_names)))
    return lake


def read(lake: Lake, start: datetime = DAY, end: datetime = NEXT, batch_rows: int = 100_000) -> list[pd.DataFrame]:
    return list(lake.request_batches(USE_CASE, start, end, batch_rows))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"cart_value": NUMBERS, "channel": TEXTS}), min_size=1, max_size=5))
def test_features_come_back_as_they_were_served(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (frame,) = read(served(tmp_path, rows))

    assert frame["cart_value"].dtype == np.float64
    found = frame[["cart_value", "channel"]].astype(object)
    assert found.where(found.notna(), None).to_dict("records") == rows
    assert frame["score"].tolist() == [n / 100 for n in range(len(rows))]
    assert frame["requested_at"].tolist() == [DAY + n * timedelta(minutes=20) for n in range(len(rows))]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANYTHING, min_size=1, max_size=5))
def test_values_of_another_kind_are_told_from_null(tmp_path: Path, values: list[Any]) -> None:
    (frame,) = read(served(tmp_path, [{"cart_value": value, "channel": value} for value in values]))
    expected = [json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value for value in values]

    for name in ("cart_value", "channel"):
        found = frame[name].astype(object)
        assert found.where(found.notna(), None).tolist() == expected


def test_a_number_in_quotes_is_no_number(tmp_path: Path) -> None:
    (frame,) = read(served(tmp_path, [{"cart_value": "12"}, {"cart_value": 1.5}]))

    assert frame["cart_value"].tolist() == ["12", 1.5]


def test_a_feature_that_nobody_mentions_has_no_column_and_one_that_is_null_has(tmp_path: Path) -> None:
    (frame,) = read(served(tmp_path, [{"cart_value": None}, {"cart_value": None, "unknown": 1}]))

    assert sorted(frame.columns) == ["bundle_hash", "cart_value", "requested_at", "score"]


def test_batches_are_no_larger_than_asked_and_complete(tmp_path: Path) -> None:
    lake = served(tmp_path, [{"cart_value": n} for n in range(70)])
    batches = read(lake, batch_rows=30)

    assert [len(batch) for batch in batches] == [30, 30, 10]
    assert pd.concat(batches)["cart_value"].tolist() == list(range(70))


def test_only_requests_of_the_time_are_read(tmp_path: Path) -> None:
    lake = served(tmp_path, [{"cart_value": n} for n in range(9)])
    (frame,) = read(lake, DAY + timedelta(hours=1), DAY + timedelta(hours=2))

    assert frame["cart_value"].tolist() == [3, 4, 5]


def test_a_time_without_requests_has_no_batch_and_no_hour(tmp_path: Path) -> None:
    lake = served(tmp_path, [])

    assert (read(lake), read(lake, NEXT, NEXT + timedelta(days=1))) == ([], [])
    assert lake.request_hours(USE_CASE, DAY, NEXT).empty


def test_every_hour_tells_its_requests_and_their_fingerprint(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"cart_value": n} for n in range(5)]
    before = served(tmp_path, rows).request_hours(USE_CASE, DAY, NEXT)
    again = served(tmp_path, rows).request_hours(USE_CASE, DAY, NEXT)

    assert before["hour_at"].tolist() == [DAY, DAY + timedelta(hours=1)]
    assert before["n"].tolist() == [3, 2]
    assert before["input_fingerprint"].tolist() == again["input_fingerprint"].tolist()


@pytest.mark.parametrize("change", [{"features": [{"cart_value": 9}]}, {"bundle": "other"}, {"first_id": 9}])
def test_another_request_changes_the_fingerprint_of_its_hour(tmp_path: Path, change: dict[str, Any]) -> None:
    before = served(tmp_path, [{"cart_value": 1}]).request_hours(USE_CASE, DAY, NEXT)
    after = served(tmp_path, **({"features": [{"cart_value": 1}]} | change)).request_hours(USE_CASE, DAY, NEXT)

    assert before["input_fingerprint"].tolist() != after["input_fingerprint"].tolist()


def test_a_corrupt_file_is_named(tmp_path: Path) -> None:
    lake = served(tmp_path, [{"cart_value": 1}])
    lake.files(PREDICTIONS, USE_CASE)[0].write_bytes(b"no parquet")

    with pytest.raises(LakeError, match=r"query failed: .*data\.parquet.*it is corrupt: delete it"):
        read(lake)


def test_a_file_whose_last_requests_are_corrupt_is_a_failed_query_that_says_what_to_do(tmp_path: Path) -> None:
    lake = served(tmp_path, [])
    (file,) = lake.files(PREDICTIONS, USE_CASE)
    many = """SELECT i::VARCHAR AS request_id, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS requested_at, 'b' AS bundle_hash,
        0.5 AS probability, json_object('channel', repeat(md5(i::VARCHAR), 8)) AS features FROM range(20000) t(i)"""
    duckdb.sql(f"COPY ({many}) TO '{file}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    whole = file.read_bytes()
    place = int(len(whole) * 0.9)
    file.write_bytes(whole[:place] + bytes(5_000) + whole[place + 5_000 :])

    with pytest.raises(LakeError, match=r"query failed: .*materialize its partition again"):
        read(lake, batch_rows=1_000)


def replaced_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, torn: bytes | None, features: list[dict[str, Any]]
) -> None:
    """Let the first reader find the file replaced: by one that it cannot read, or by other requests."""
    decode, (file,) = requests._decoding_sql, lake.files(PREDICTIONS, USE_CASE)

    def disturbed(*args: Any) -> str:
        monkeypatch.setattr(requests, "_decoding_sql", decode)
        served(lake.layout.home, features) if torn is None else file.write_bytes(torn)
        return decode(*args)

    monkeypatch.setattr(requests, "_decoding_sql", disturbed)


@pytest.mark.parametrize("torn", [b"no parquet", None])
def test_requests_that_are_replaced_while_they_are_read_are_not_called_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes | None
) -> None:
    lake = served(tmp_path, [{"cart_value": 1}])
    replaced_once(lake, monkeypatch, torn, [{"cart_value": 2}])

    with pytest.raises(LakeError, match="requests were replaced while they were read; run again"):
        read(lake)


def test_what_collects_requests_reads_them_again_when_they_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = served(tmp_path, [{"cart_value": 1}])
    replaced_once(lake, monkeypatch, None, [{"cart_value": 2}])

    (frame,) = lake.undisturbed(USE_CASE, DAY, NEXT, lambda: read(lake))
    assert frame["cart_value"].tolist() == [2]
