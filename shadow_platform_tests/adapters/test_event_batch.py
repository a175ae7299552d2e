"""Events enter the lake once: no key twice, all partitions or none, whatever comes in which parts."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind
from shadow_platform_tests.tiny import USE_CASE

DAY = date(2024, 1, 1)
MOMENT = datetime(2024, 1, 1, tzinfo=UTC)
KIND = EventKind(
    "marks", "Marks of a pupil", pa.DataFrameSchema({"pupil": pa.Column(str), "mark": pa.Column("int64")}), ("pupil",)
)


@pytest.fixture
def lake(layout: Layout) -> Lake:
    return Lake(layout)


def marks(pupils: str | Sequence[str], first_row: int = 1) -> pd.DataFrame:
    """One event a letter, on ascending lines."""
    rows = range(first_row, first_row + len(pupils))
    return pd.DataFrame({"pupil": list(pupils), "mark": list(rows)}, index=pd.Index(rows))


def write(lake: Lake, *files: Sequence[str], first: int = 0, kind: EventKind = KIND) -> dict[int, list[int]]:
    """Write one file a day, each of some parts; lines that repeated a key, by day."""
    repeated: dict[int, list[int]] = {}
    with lake.event_batch(USE_CASE, kind) as batch:
        for offset, parts in enumerate(files, first):
            day, row = DAY + timedelta(days=offset), 1
            batch.open(day)
            for part in parts:
                batch.append(day, marks(part, row))
                row += len(part)
            batch.close(day)
        for day, rows in batch.remove_repeated():
            repeated[(day - DAY).days] = rows.tolist()
    return repeated


def pupils(lake: Lake, offset: int = 0) -> str:
    path = lake.layout.events("tiny", "marks", DAY + timedelta(days=offset))
    return "".join(pq.read_table(path, partitioning=None)["pupil"].to_pylist())


def test_the_second_of_two_events_with_one_key_is_repeated(lake: Lake) -> None:
    assert write(lake, ["ab", "ca"]) == {0: [4]}
    assert pupils(lake) == "abc"


def test_a_key_of_an_earlier_day_is_repeated_within_a_batch_and_over_batches(lake: Lake) -> None:
    assert write(lake, ["ab"], ["bc"]) == {1: [1]}
    assert write(lake, ["cad"], first=2) == {2: [1, 2]}
    assert (pupils(lake), pupils(lake, 1), pupils(lake, 2)) == ("ab", "c", "d")


def test_a_day_written_again_does_not_repeat_itself_nor_days_behind_it(lake: Lake) -> None:
    write(lake, ["ab"], ["cd"])
    assert write(lake, ["cab"]) == {}
    assert (pupils(lake), pupils(lake, 1)) == ("cab", "cd")


@pytest.mark.parametrize(("early", "outrun"), [("a", (1,)), ("xa", (1,)), ("xyz", ()), ("ac", (1, 2)), ("", ())])
def test_days_that_came_before_an_earlier_one_with_their_keys_are_named_until_they_are_made_again(
    lake: Lake, early: str, outrun: tuple[int, ...]
) -> None:
    write(lake, ["ab"], ["c"], first=1)
    with lake.event_batch(USE_CASE, KIND) as batch:
        batch.open(DAY)
        batch.append(DAY, marks(early))
        batch.close(DAY)
        assert list(batch.remove_repeated()) == []
        assert batch.outrun == tuple(DAY + timedelta(days=offset) for offset in outrun)
    write(lake, ["ab"], ["c"], first=1)
    assert sorted(pupils(lake) + pupils(lake, 1) + pupils(lake, 2)) == sorted({*early, *"abc"})


def test_a_key_is_all_of_its_columns(lake: Lake) -> None:
    by_both = EventKind("marks", "", KIND.schema, ("pupil", "mark"))
    assert write(lake, ["aaa"], kind=by_both) == {}
    assert pupils(lake) == "aaa"


def test_a_file_delivered_twice_leaves_an_empty_day(lake: Lake) -> None:
    write(lake, ["abc"])
    assert write(lake, ["abc"], first=1) == {1: [1, 2, 3]}
    assert pupils(lake, 1) == ""
    assert lake.event_days(USE_CASE, KIND) == [DAY, DAY + timedelta(days=1)]


DAYS = st.lists(st.lists(st.text("abcdef", max_size=6), max_size=3), min_size=1, max_size=4)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=DAYS, at_once=st.booleans())
def test_each_key_stays_where_it_first_came(
    files: list[list[str]], at_once: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = Lake(Layout(tmp_path_factory.mktemp("home")))
    if at_once:
        write(lake, *files)
    else:
        for offset, parts in enumerate(files):
            write(lake, parts, first=offset)
    seen: set[str] = set()
    for offset, parts in enumerate(files):
        expected = [pupil for pupil in dict.fromkeys("".join(parts)) if pupil not in seen]
        assert pupils(lake, offset) == "".join(expected)
        seen.update(expected)


def break_off(lake: Lake) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    with lake.table_batch(QUARANTINED_EVENTS, USE_CASE, days) as refused, lake.event_batch(USE_CASE, KIND) as batch:
        for day in days:
            batch.open(day)
            batch.append(day, marks("xyz"))
            refused.append(quarantined(day, 9))
        raise KeyError("the source broke off")


def test_a_batch_that_fails_leaves_every_old_partition_and_no_remnant(lake: Lake) -> None:
    write(lake, ["ab"])
    with pytest.raises(KeyError, match="source"):
        break_off(lake)
    assert pupils(lake) == "ab"
    files = [path.name for path in lake.layout.events("tiny", "marks").rglob("*") if path.is_file()]
    assert files == ["data.parquet"]


def test_a_value_of_another_type_is_refused(lake: Lake) -> None:
    with lake.event_batch(USE_CASE, KIND) as batch:
        batch.open(DAY)
        with pytest.raises(LakeError, match=r"tiny/marks of 2024-01-01: a value does not fit the declared types"):
            batch.append(DAY, marks("a").assign(mark="good"))


def test_an_event_keeps_the_line_it_came_from(lake: Lake) -> None:
    write(lake, ["ab", "ac"])
    path = lake.layout.events("tiny", "marks", DAY)
    assert pq.read_table(path, partitioning=None)["_raw_row"].to_pylist() == [1, 2, 4]
    assert list(lake.events_sql("SELECT * FROM marks", USE_CASE, [KIND]).columns) == ["pupil", "mark"]


def quarantined(day: date, *rows: int) -> pd.DataFrame:
    values: dict[str, Any] = {"use_case": "tiny", "received_on": MOMENT + (day - DAY), "kind": "marks", "file": "f"}
    records = [{**values, "row": row, "column_name": None, "reason": "r", "payload": "p"} for row in rows]
    return pd.DataFrame(records, columns=list(QUARANTINED_EVENTS.column_names))


def test_rows_of_many_days_go_to_their_partitions_and_days_without_rows_are_empty(lake: Lake) -> None:
    days = [DAY + timedelta(days=offset) for offset in range(3)]
    with lake.table_batch(QUARANTINED_EVENTS, USE_CASE, days) as batch:
        batch.append(quarantined(days[2], 1))
        batch.append(quarantined(days[0], 7, 8))
        batch.append(quarantined(days[2], 2))
    assert lake.table_days(QUARANTINED_EVENTS, USE_CASE) == days
    read = [lake.read_table(QUARANTINED_EVENTS, USE_CASE, day, day + timedelta(days=1))["row"].tolist() for day in days]
    assert read == [[7, 8], [], [1, 2]]


def test_a_table_batch_that_fails_leaves_every_old_partition_and_no_remnant(lake: Lake) -> None:
    with lake.table_batch(QUARANTINED_EVENTS, USE_CASE, [DAY]) as batch:
        batch.append(quarantined(DAY, 1))
    with pytest.raises(KeyError, match="source"):
        break_off(lake)
    assert lake.read_table(QUARANTINED_EVENTS, USE_CASE)["row"].tolist() == [1]
    files = [path.name for path in (lake.layout.tables / "quarantined_events").rglob("*") if path.is_file()]
    assert files == ["data.parquet"]
