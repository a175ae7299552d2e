"""Events in files: named, placed on their days, and left as they were written where they are no good."""

import gc
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events import SortedRows, parse_events
from shadow_platform.use_case_kit.files import EventFile, FileSource, spool
from shadow_platform.use_case_kit.schemas import event_schema, flag, measured, moment, text, whole

ORDERS = EventKind(
    "orders",
    "A customer ordered",
    event_schema(
        {
            "order_id": text(),
            "price_eur": measured(0, 1_000),
            "pieces": whole(1, 100),
            "is_gift": flag(),
            "due_at": moment(),
        }
    ),
)
HEADER = "order_id,ordered_at,price,pieces,is_gift,due_at"
FIRST = "007,2024-03-01T09:30:00Z,19.5,2,yes,2024-03-04"
SECOND = "008,2024-03-02T01:00:00+02:00,,1,false,2024-03-05T12:00:00Z"
COLUMNS = {"event_at": "ordered_at", "price_eur": "price"}
DAY = date(2024, 3, 1)
JUST_ORDERED = EventKind("orders", "Ordered", event_schema({"order_id": text()}))

LATER = EventKind("later", "Ordered later", JUST_ORDERED.schema)


def csv(folder: Path, *lines: str, name: str = "orders.csv") -> EventFile:
    path = folder / name
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return EventFile(ORDERS, path, COLUMNS)


def as_json(line: str, **changes: object) -> str:
    """A row of the CSV as a line of JSON."""
    order_id, ordered_at, price, pieces, is_gift, due_at = line.split(",")
    row = {"order_id": order_id, "ordered_at": ordered_at, "price": float(price) if price else None}
    row |= {"pieces": int(pieces), "is_gift": is_gift == "yes", "due_at": due_at}
    return json.dumps(row | changes, ensure_ascii=False)


def sort(source: FileSource, kind: EventKind, day: date) -> SortedRows:
    """What the events stage makes of a day's rows."""
    rows = source.received_on(day)[kind.name]
    lines = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
    return parse_events(lines.encode(), kind, f"{kind.name}.jsonl", day)


def refused(source: FileSource, kind: EventKind, day: date) -> dict[str, set[str | None]]:
    """Columns at fault by event."""
    found: dict[str, set[str | None]] = {}
    for event in sort(source, kind, day).quarantined:
        found.setdefault(json.loads(event.payload)["event_id"], set()).add(event.column)
    return found


def test_a_row_becomes_an_event_of_its_schema(tmp_path: Path) -> None:
    (row,) = FileSource(csv(tmp_path, FIRST)).received_on(DAY)["orders"]
    assert row == {
        "event_id": "orders-1",
        "event_at": "2024-03-01T09:30:00.000000Z",
        "received_at": "2024-03-01T09:30:00.000000Z",
        "order_id": "007",
        "price_eur": 19.5,
        "pieces": 2,
        "is_gift": True,
        "due_at": "2024-03-04T00:00:00.000000Z",
        "schema_version": 1,
    }


def test_rows_lie_on_the_utc_day_of_their_receipt(tmp_path: Path) -> None:
    source = FileSource(csv(tmp_path, SECOND, FIRST))
    assert (source.first_day(), source.last_day()) == (DAY, DAY)
    assert [row["order_id"] for row in source.received_on(DAY)["orders"]] == ["007", "008"]
    assert source.received_on(date(2024, 3, 2)) == {"orders": []}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_every_format_gives_the_same_events(tmp_path: Path, suffix: str) -> None:
    expected = FileSource(csv(tmp_path, FIRST, SECOND)).received_on(DAY)
    frame = pd.read_csv(tmp_path / "orders.csv", dtype={"order_id": str})
    path = tmp_path / f"orders{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert FileSource(EventFile(ORDERS, path, COLUMNS)).received_on(DAY) == expected


def test_the_events_stage_accepts_what_is_good_and_quarantines_the_rest_with_its_reason(tmp_path: Path) -> None:
    bad = {
        "price_eur": "a,2024-03-01,dear,1,no,2024-03-04",
        "pieces": "b,2024-03-01,1,1.5,no,2024-03-04",
        "is_gift": "c,2024-03-01,1,1,perhaps,2024-03-04",
        "due_at": "d,2024-03-01,1,1,no,soon",
    }
    rows = FileSource(csv(tmp_path, *bad.values(), FIRST, SECOND)).received_on(DAY)["orders"]
    lines = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
    parsed = parse_events(lines.encode(), ORDERS, "orders.jsonl", DAY)
    assert list(parsed.valid["order_id"]) == ["007", "008"]
    assert {(json.loads(event.payload)["order_id"], event.column) for event in parsed.quarantined} == {
        (row[0], column) for column, row in bad.items()
    }


@pytest.mark.parametrize("number", ["inf", "nan", "-Infinity"])
def test_what_json_cannot_hold_stays_text(tmp_path: Path, number: str) -> None:
    (row,) = FileSource(csv(tmp_path, f"a,2024-03-01,{number},1,no,2024-03-04")).received_on(DAY)["orders"]
    assert row["price_eur"] == number


def test_rows_without_the_event_are_left_out(tmp_path: Path) -> None:
    returned = EventKind("returns", "Came back", event_schema({"order_id": text()}))
    path = tmp_path / "orders.csv"
    path.write_text("order_id,returned_at\n1,\n2,2024-03-01T10:00:00Z\n", encoding="utf-8")
    source = FileSource(EventFile(returned, path, {"event_at": "returned_at"}, present="returned_at"))
    (row,) = source.received_on(DAY)["returns"]
    assert (row["order_id"], row["event_id"]) == ("2", "returns-2")


def test_a_time_of_receipt_of_its_own_counts_and_a_row_without_one_goes_into_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,event_at,received_at\n1,2024-03-01T10:00:00Z,2024-03-02T10:00:00Z\n2,2024-03-01T23:00:00Z,\n",
        encoding="utf-8",
    )
    source = FileSource(EventFile(JUST_ORDERED, path))
    assert source.first_day() == source.last_day() == date(2024, 3, 2)
    assert refused(source, JUST_ORDERED, date(2024, 3, 2)) == {"orders-2": {"received_at"}}


def test_a_column_can_be_said_not_to_be_what_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,event_at,received_at,event_id\n1,2024-03-01T10:00:00Z,2024-03-03T10:00:00Z,concert\n",
        encoding="utf-8",
    )
    (row,) = FileSource(EventFile(JUST_ORDERED, path, {"event_id": None, "received_at": None})).received_on(DAY)[
        "orders"
    ]
    assert (row["event_id"], row["received_at"]) == ("orders-1", "2024-03-01T10:00:00.000000Z")


BAD_LINES = {
    "orders.csv": (
        "a,yesterday,1,1,no,2024-03-04",
        "b,2024-13-01,1,1,no,2024-03-04",
        "c,2024-03-01",
        "d,2024-03-01,1,1,no,2024-03-04,more",
        'e,"2024"-03-01,1,1,no,2024-03-04',
        "M\udcfcller,2024-03-01,1,1,no,2024-03-04",
    ),
    "orders.jsonl": (
        '{"order_id": "a", "ordered_at": "yesterday", "price": 1, "pieces": 1, "is_gift": false, "due_at": null}',
        '{"order_id": "b", "ordered_at',
        "[1]",
        '{"order_id": NaN}',
        '{"order_id": 1e999}',
        '{"order_id": "M\udcfcller"}',
        "[" * 5_000,
        '{"order_id": "' + "x" * (1 << 21) + '"}',
    ),
}


@pytest.mark.parametrize(("name", "bad"), BAD_LINES.items(), ids=BAD_LINES)
def test_a_bad_row_costs_no_good_one_and_goes_into_quarantine(tmp_path: Path, name: str, bad: tuple[str, ...]) -> None:
    good = [FIRST, SECOND] if name.endswith(".csv") else [as_json(FIRST), as_json(SECOND)]
    header = [HEADER] if name.endswith(".csv") else []
    lines = [*header, bad[0], "", good[0], "\r", *bad[1:], good[1]]
    (tmp_path / name).write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    source = FileSource(EventFile(ORDERS, tmp_path / name, COLUMNS))
    assert (source.first_day(), source.last_day()) == (DAY, DAY)
    parsed = sort(source, ORDERS, DAY)
    assert sorted(parsed.valid["order_id"]) == ["007", "008"]
    assert parsed.n_rows == len(good) + len(bad)
    assert parsed.n_quarantined == len(bad)


def test_a_row_that_cannot_be_read_is_shown_with_file_row_and_reason(tmp_path: Path) -> None:
    source = FileSource(csv(tmp_path, FIRST, "c,2024-03-01", SECOND))
    (found,) = sort(source, ORDERS, DAY).quarantined
    assert found.column == "unreadable"
    assert json.loads(found.payload)["unreadable"] == {
        "file": "orders.csv",
        "row": 2,
        "why": "has 2 values; expected 6, one a column name",
        "text": "c,2024-03-01\n",
    }


def test_what_has_no_day_comes_with_the_first_day_of_all_files(tmp_path: Path) -> None:
    early, later = csv(tmp_path, FIRST, name="early.csv"), csv(tmp_path, "a,2024-03-05,1,1,no,", "b", name="later.csv")
    source = FileSource(early, replace(later, kind=LATER))
    assert [row["event_id"] for row in source.received_on(DAY)["later"]] == ["later-2"]
    assert [row["event_id"] for row in source.received_on(date(2024, 3, 5))["later"]] == ["later-1"]


def test_a_time_in_the_future_goes_into_quarantine_and_moves_no_day(tmp_path: Path) -> None:
    source = FileSource(csv(tmp_path, FIRST, "a,2099-01-01,1,1,no,2024-03-04"))
    assert (source.first_day(), source.last_day()) == (DAY, DAY)
    assert refused(source, ORDERS, DAY) == {"orders-2": {"received_at"}}
    at_noon = FileSource(
        csv(tmp_path, FIRST, "b,2024-03-02,1,1,no,2024-03-04"), now=datetime(2024, 3, 1, 12, tzinfo=UTC)
    )
    assert at_noon.last_day() == DAY
    assert [row["order_id"] for row in at_noon.received_on(DAY)["orders"]] == ["007", "b"]


def test_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text(as_json(FIRST, order_id="one\u2028order\x85id") + "\n", encoding="utf-8")
    (row,) = FileSource(EventFile(ORDERS, path, COLUMNS)).received_on(DAY)["orders"]
    assert row["order_id"] == "one\u2028order\x85id"


def test_a_quote_that_is_never_closed_costs_no_row_before_it(tmp_path: Path) -> None:
    source = FileSource(csv(tmp_path, FIRST, SECOND, '"d,2024-03-01,1,1,no,2024-03-04'))
    parsed = sort(source, ORDERS, DAY)
    assert (len(parsed.valid), parsed.n_quarantined) == (2, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("order_id", ["007"]),
        ("order_id", {"id": "007"}),
        ("order_id", True),
        ("price", True),
        ("price", [1.0]),
        ("pieces", False),
        ("pieces", 1.5),
        ("is_gift", {}),
        ("due_at", 20240304),
    ],
)
def test_a_value_of_a_wrong_type_stays_as_it_is_and_goes_into_quarantine(
    tmp_path: Path, column: str, value: object
) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text(f"{as_json(FIRST, **{column: value})}\n{as_json(SECOND)}\n", encoding="utf-8")
    source, name = FileSource(EventFile(ORDERS, path, COLUMNS)), "price_eur" if column == "price" else column
    assert refused(source, ORDERS, DAY) == {"orders-1": {name}}
    assert next(row for row in source.received_on(DAY)["orders"] if row["event_id"] == "orders-1")[name] == value


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_whole_numbers_stay_exact(tmp_path: Path, suffix: str) -> None:
    n, path = 2**53 + 1, tmp_path / f"counts{suffix}"
    frame = pd.DataFrame({"event_at": ["2024-03-01T10:00:00Z"], "n": [n], "name": [n]})
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    kind = EventKind("counts", "Counted", event_schema({"n": whole(0, 1e18), "name": text()}))
    (row,) = FileSource(EventFile(kind, path)).received_on(DAY)["counts"]
    assert (row["n"], row["name"]) == (n, str(n))


def test_values_of_parquet_that_json_does_not_know_become_texts(tmp_path: Path) -> None:
    kind = EventKind(
        "orders", "Ordered", event_schema({"price": measured(0, 9), "due_at": moment(), "name": text(r"^.*$")})
    )
    frame = pd.DataFrame(
        {
            "event_at": pd.to_datetime(["2024-03-01T10:00:00.123456789", "2024-03-01T11:00:00.000000000"]),
            "price": [Decimal("1.50"), None],
            "due_at": [date(2024, 3, 4), date(2024, 3, 5)],
            "name": [b"abc", b""],
        }
    )
    frame.to_parquet(tmp_path / "orders.parquet")
    first, second = FileSource(EventFile(kind, tmp_path / "orders.parquet")).received_on(DAY)["orders"]
    assert (first["event_at"], first["price"]) == ("2024-03-01T10:00:00.123456Z", 1.5)
    assert (second["due_at"], second["price"]) == ("2024-03-05T00:00:00.000000Z", None)


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen times the rows may not take four times the memory; other threads of this process take some of it."""
    monkeypatch.setattr(spool, "ROWS_IN_MEMORY", 256)
    small, large = (peak_bytes(recording(tmp_path / f"{n_days}.csv", n_days)) for n_days in (10, 160))
    assert large < 4 * small


def recording(path: Path, n_days: int) -> EventFile:
    days = [(date(2024, 1, 1) + timedelta(days=n)).isoformat() for n in range(n_days)]
    rows = [f"{n},{day},1,1,no,2024-12-01" for n in range(100) for day in days]
    path.write_text("\n".join((HEADER, *rows)), encoding="utf-8")
    return EventFile(ORDERS, path, COLUMNS)


def peak_bytes(file: EventFile) -> int:
    """Most memory held at once while every day of a file is read."""
    tracemalloc.start()
    try:
        source = FileSource(file)
        day = source.first_day()
        n_rows = 0
        while day <= source.last_day():
            n_rows += len(source.received_on(day)["orders"])
            day += timedelta(days=1)
        assert n_rows == 100 * (source.last_day() - source.first_day()).days + 100
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_what_is_kept_beside_goes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads of this process may keep something there too, by other names."""
    beside = tmp_path / "beside"
    beside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(beside))
    source = FileSource(csv(tmp_path, FIRST))
    assert source.first_day() == DAY
    assert len(list(beside.glob("shadow-events-*"))) == 1
    del source
    gc.collect()
    assert list(beside.glob("shadow-events-*")) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("orders.csv", b"", "is empty; expected column names and rows"),
        ("orders.csv", HEADER.encode() + b"\n", "holds no orders; expected at least one row"),
        ("orders.csv", b"order_id,ordered_at\na,2024-03-01\n", "has no column 'price'.*it has: order_id, ordered_at"),
        ("orders.csv", b"order_id,n\xfcmmer\n1,2\n", "is not UTF-8 at byte 10; save it"),
        ("orders.csv", HEADER.encode("utf-16"), "is not UTF-8 at byte 0; save it"),
        ("orders.csv", HEADER.encode() + b",price\n", "has more than one column 'price'; give every column"),
        ("orders.csv", HEADER.encode() + b"\nM\xfc,2024-03-01,1,1,no,2024-03-04\n", "row 1: not UTF-8; save the file"),
        ("orders.csv", HEADER.encode() + b"\n1,2,3,4,5,6,7,8\n", "row 1: has 8 values; expected 6, one a column name"),
        (
            "orders.csv",
            HEADER.encode() + b"\na,yesterday,1,1,no,2024-03-04\n",
            "row 1, column 'ordered_at': 'yesterday' is no time in the past; expected ISO 8601",
        ),
        ("orders.parquet", b"PAR1 cut off", "cannot be read"),
        ("orders.jsonl", b"", "is empty; expected one object a line"),
        ("orders.jsonl", b'{"order_id": "1"}\n', "has no column 'ordered_at'"),
        ("orders.jsonl", b'\n{"order', "holds no row; row 2: not JSON: Unterminated"),
        ("orders.jsonl", b"[1]\n", "holds no row; row 1: is a list; expected one object a line"),
        ("orders.xlsx", b"PK", r"no known format; expected a name that ends in \.csv, \.jsonl"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UseCaseError, match=message):
        FileSource(EventFile(ORDERS, tmp_path / name, COLUMNS)).first_day()


def test_a_column_that_says_whether_there_is_an_event_must_be_there(tmp_path: Path) -> None:
    file = replace(csv(tmp_path, FIRST), present="returned_at")
    with pytest.raises(UseCaseError, match="no column 'returned_at', from which whether a row holds an event is read"):
        FileSource(file).first_day()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match=r"orders\.csv cannot be read: .*No such file"):
        FileSource(EventFile(ORDERS, tmp_path / "orders.csv", COLUMNS)).first_day()
