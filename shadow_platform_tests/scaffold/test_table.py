"""A CSV is judged before anything is written: what it holds, and the first row and column that is wrong."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.scaffold.table import EventTable, Roles, identifier, read_event_table

ROLES = Roles("Order No", "Customer", "at", "late", "known at")
HEADER = "Order No,Customer,at,late,known at,Price (EUR),select,note,empty"


def row(number: int, **changes: str) -> str:
    at = f"2024-01-{number:02d}"
    values = {"no": str(number), "customer": "c", "at": f"{at}T08:00:00Z", "late": "no", "known": "", "price": "2.5"}
    return ",".join([*(values | changes).values(), "gold" if number % 2 else "silver", f"note {number}", ""])


LATE = row(2, late="yes", known="2024-01-04T09:00:00+00:00")


def judged(folder: Path, *rows: str, **arguments: object) -> EventTable:
    path = folder / "orders.csv"
    path.write_text("\n".join((HEADER, *rows)), encoding="utf-8")
    return read_event_table(path, ROLES, **arguments)  # type: ignore[arg-type]


def test_columns_become_features_by_what_they_hold(tmp_path: Path) -> None:
    table = judged(
        tmp_path, row(1), LATE, *(row(n) for n in range(3, 30)), *(row(n % 28 + 1, no=f"{n}") for n in range(30, 90))
    )
    numeric, categorical = (column for column in table.inputs if column.name in {"price_eur", "select_value"})
    assert (numeric.kind, numeric.unit, numeric.low, numeric.column) == ("numeric", "EUR", 0.0, "Price (EUR)")
    assert (categorical.kind, categorical.example, categorical.column) == ("categorical", "gold", "select")
    assert table.left_out["empty"] == "has no value"


def test_a_column_of_free_text_is_left_out_with_the_reason(tmp_path: Path) -> None:
    rows = (f"{row(n % 28 + 1, no=str(n))[:-1].rsplit(',', 1)[0]},note {n}," for n in range(3, 80))
    table = judged(tmp_path, row(1), LATE, *rows)
    assert table.left_out["note"] == "has 79 different texts"


def test_a_column_that_is_not_known_in_time_can_be_left_out(tmp_path: Path) -> None:
    table = judged(tmp_path, row(1), LATE, leave_out=frozenset({"select"}))
    assert "select" in table.left_out
    assert "select" not in {column.column for column in table.inputs}


def test_the_horizon_is_as_long_as_the_slowest_label_took_in_whole_days(tmp_path: Path) -> None:
    assert judged(tmp_path, row(1), LATE).horizon_days == 3
    assert judged(tmp_path, row(1), row(2, late="yes", known="2024-01-04T08:00:00Z")).horizon_days == 2
    assert judged(tmp_path, row(1), LATE, horizon_days=9).horizon_days == 9


def test_the_recording_reaches_from_the_first_request_to_the_last_label(tmp_path: Path) -> None:
    table = judged(tmp_path, row(1), LATE, row(3))
    assert (table.first, table.end) == (date(2024, 1, 1), date(2024, 1, 5))
    assert table.n_rows == 3
    assert table.positive_share == pytest.approx(1 / 3)
    assert (table.subject_example, table.entity_example) == ("1", "c")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((LATE, row(3, at="soon")), r"orders\.csv row 2, column 'at': is 'soon'; expected a time"),
        ((LATE, row(3, at="")), "row 2, column 'at': is empty; expected a value"),
        ((LATE, row(3, customer="")), "row 2, column 'Customer': is empty; expected a value"),
        ((LATE, row(3, late="perhaps")), "row 2, column 'late': is 'perhaps'; expected true or false"),
        (
            (LATE, row(1), row(3, late="yes")),
            "row 3, column 'known at': is empty; expected the time at which 'late' became",
        ),
        ((LATE, row(3, known="2024-01-02")), "row 2, column 'known at': is '2024-01-02'; expected a time after 'at'"),
        ((row(1), LATE, row(1)), "row 3, column 'Order No': is '1'; expected no second row of the same"),
        (
            (LATE, row(3, at="2099-01-03T08:00:00Z")),
            "row 2, column 'at': is '2099-01-03T08:00:00Z'; expected a time that is not in the future: it is 20",
        ),
        ((LATE, row(3, known="2099-01-01")), "row 2, column 'known at': is '2099-01-01'; expected a time that is not"),
        ((LATE, row(3, at="0001-01-01")), "row 2, column 'at': is '0001-01-01'; expected a time such as"),
        ((LATE, row(3, price="inf")), r"row 2, column 'Price \(EUR\)': is 'inf'; expected a finite number, or nothing"),
        ((LATE, row(3, price="1e999")), r"row 2, column 'Price \(EUR\)': is '1e999'; expected a finite number"),
        ((LATE, row(3)[:-9]), "row 2: has 7 values; expected 9"),
        ((), "holds no row; expected at least one"),
        ((row(1), row(3)), "'late' is False in every row; expected both true and false"),
    ],
)
def test_what_is_wrong_is_named_with_file_row_and_column(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(UseCaseError, match=message):
        judged(tmp_path, *rows)


def test_now_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match="not in the future: it is 2024-01-01T12:00:00"):
        judged(tmp_path, row(1), LATE, now=datetime(2024, 1, 1, 12, tzinfo=UTC))


def test_columns_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    rows = [f"{line},{number}" for number, line in enumerate((f"{HEADER},price_eur", row(1), LATE))]
    path.write_text("\n".join([f"{HEADER},price_eur", *rows[1:]]), encoding="utf-8")
    with pytest.raises(UseCaseError, match=r"'Price \(EUR\)' and 'price_eur' would both be called 'price_eur'; rename"):
        read_event_table(path, ROLES)
    table = read_event_table(path, ROLES, leave_out=frozenset({"price_eur"}))
    assert [column.column for column in table.inputs if column.name == "price_eur"] == ["Price (EUR)"]


def as_json(line: str, **more: object) -> str:
    values = [None if value == "" else value for value in line.split(",")]
    return json.dumps(dict(zip(HEADER.split(","), values, strict=True)) | more)


def test_what_is_no_text_and_no_number_is_no_feature(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    more = {"bool": True, "list": [1], "object": {"a": 1}, "big": 1e308, "lines": "a\nb", "fits": 10**18}
    path.write_text("\n".join(as_json(line, **more) for line in (row(1), LATE)), encoding="utf-8")
    table = read_event_table(path, ROLES)
    assert table.left_out["bool"] == "holds True, which is no text and no number"
    assert table.left_out["list"] == "holds [1], which is no text and no number"
    assert table.left_out["object"] == "holds {'a': 1}, which is no text and no number"
    assert table.left_out["lines"] == "holds no text of 1 to 256 printable characters"
    assert {column.name: column.limit for column in table.inputs if column.name in more} == {
        "big": pytest.approx(1e38),
        "fits": pytest.approx(1e21),
    }


@pytest.mark.parametrize(
    ("subject", "expected"),
    [(["1"], "a text or a number"), ("line\nbreak", "texts of 1 to 256 printable"), ("x" * 257, "texts of 1 to 256")],
)
def test_a_subject_that_no_request_can_name_is_refused(tmp_path: Path, subject: object, expected: str) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(as_json(line, **{"Order No": subject}) for line in (row(1), LATE)), encoding="utf-8")
    with pytest.raises(UseCaseError, match=f"row 1, column 'Order No': is .*; expected {expected}"):
        read_event_table(path, ROLES)


def test_an_unknown_column_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UseCaseError, match="no column 'gone'; it has: Order No, Customer"):
        judged(tmp_path, row(1), LATE, leave_out=frozenset({"gone"}))


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Order", "order_value"),
        ("label", "label"),
        ("requested_at", "requested_at_value"),
        ("%", "unnamed"),
        ("Ä b", "b"),
        ("left", "left_value"),
        ("_asked", "asked"),
    ],
)
def test_every_column_gets_a_name_that_python_and_sql_take(column: str, name: str) -> None:
    assert identifier(column) == name
