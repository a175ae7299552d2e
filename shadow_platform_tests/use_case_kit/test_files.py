"""Events in files: named, placed on their days, and left as they were written where they are no good."""

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events import parse_events
from shadow_platform.use_case_kit.files import EventFile, FileSource
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


def csv(folder: Path, *lines: str, name: str = "orders.csv") -> EventFile:
    path = folder / name
    path.write_text("\n".join((HEADER, *lines)) + "\n", encoding="utf-8")
    return EventFile(ORDERS, path, COLUMNS)


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


def test_a_time_of_receipt_of_its_own_counts(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "order_id,event_at,received_at\n1,2024-03-01T10:00:00Z,2024-03-02T10:00:00Z\n2,2024-03-01T23:00:00Z,\n",
        encoding="utf-8",
    )
    kind = EventKind("orders", "Ordered", event_schema({"order_id": text()}))
    with pytest.raises(UseCaseError, match=r"orders\.csv row 2, column 'received_at': nan is no time; expected ISO"):
        FileSource(EventFile(kind, path)).first_day()


def test_a_time_that_is_none_is_named_with_its_row_and_column(tmp_path: Path) -> None:
    file = csv(tmp_path, FIRST, "a,yesterday,1,1,no,2024-03-04", "b,2024-13-01,1,1,no,2024-03-04")
    with pytest.raises(UseCaseError, match=r"row 2, column 'ordered_at': 'yesterday' is no time \(and 1 more rows\)"):
        FileSource(file).first_day()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("orders.csv", b"", "is empty; expected column names and rows"),
        ("orders.csv", b"order_id,ordered_at,price,pieces,is_gift,due_at\n", "holds no orders"),
        ("orders.csv", b"order_id,ordered_at\na,2024-03-01\n", "has no column 'price'.*it has: order_id, ordered_at"),
        ("orders.csv", HEADER.encode() + b"\nM\xfcller,2024-03-01,1,1,no,2024-03-04\n", "is not UTF-8 at byte"),
        ("orders.csv", HEADER.encode() + b"\n1,2,3,4,5,6,7,8\n", "row 1 has more values than"),
        ("orders.csv", HEADER.encode() + b"\n1,2,3,4,5,6\n1,2,3,4,5,6,7\n", "cannot be read: .*line 3"),
        ("orders.parquet", b"PAR1 cut off", "cannot be read"),
        ("orders.jsonl", b'{"order_id": "1"}\n{"order', "row 2 is not JSON"),
        ("orders.jsonl", b"[1]\n", "row 1 is a list; expected one object a line"),
        ("orders.xlsx", b"PK", r"no known format; expected a name that ends in \.csv, \.jsonl"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UseCaseError, match=message):
        FileSource(EventFile(ORDERS, tmp_path / name, COLUMNS)).first_day()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match=r"orders\.csv cannot be read: .*No such file"):
        FileSource(EventFile(ORDERS, tmp_path / "orders.csv", COLUMNS)).first_day()
