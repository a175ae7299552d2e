"""A CSV is judged before anything is written: what it holds, and the first row and column that is wrong."""

from datetime import date
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
        ((row(1), row(3)), "'late' is False in every row; expected both true and false"),
    ],
)
def test_what_is_wrong_is_named_with_file_row_and_column(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(UseCaseError, match=message):
        judged(tmp_path, *rows)


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
    ],
)
def test_every_column_gets_a_name_that_python_and_sql_take(column: str, name: str) -> None:
    assert identifier(column) == name
