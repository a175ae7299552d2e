"""What a CSV of events says of itself: which columns can be features, when labels are known, what is wrong with it.

Belongs here: reading and judging the file once, before anything is written. Does not belong here: how long to train and
serve (``windows``), rendering (``package``). Upstream: the kit's reader of files. Downstream: windows, package.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.use_case_kit.files import as_json_type, read_table

MAX_LEVELS = 50
DAY = pd.Timedelta(days=1)
TAKEN = {
    "event_id",
    "event_at",
    "received_at",
    "created_at",
    "schema_version",
    "subject_id",
    "requested_at",
    "asked_at",
}
UNITS = {"pct": "percent", "eur": "EUR", "usd": "USD", "kg": "kg", "km": "km", "h": "hours", "min": "minutes", "s": "s"}


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns of the file that mean something to the platform.

    Attributes:
        subject: what is predicted, and is named in the request; with its time it is unique.
        entity: whose history counts.
        asked_at: when the prediction is asked for.
        label: the truth: true or false.
        label_at: when it was known; may be empty where it is false.
    """

    subject: str
    entity: str
    asked_at: str
    label: str
    label_at: str

    def columns(self) -> dict[str, str]:
        """Column by role."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class InputColumn:
    """A column that a request brings as a feature. ``name`` is it as an identifier."""

    column: str
    name: str
    kind: Literal["numeric", "categorical"]
    example: float | str
    low: float | None = None
    limit: float | None = None

    @property
    def words(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ").capitalize()

    @property
    def unit(self) -> str:
        """Unit, by the end of the name."""
        return UNITS.get(self.name.rpartition("_")[2], "as in the file")


@dataclass(frozen=True, slots=True)
class EventTable:
    """What was found in a file.

    Attributes:
        left_out: why a column is no feature, by column.
        end: first day behind the events.
        horizon_days: after this long every label of the file was known.
    """

    path: Path
    roles: Roles
    inputs: tuple[InputColumn, ...]
    left_out: Mapping[str, str]
    n_rows: int
    positive_share: float
    first: date
    end: date
    horizon_days: int
    subject_example: str
    entity_example: str

    @property
    def numeric(self) -> tuple[InputColumn, ...]:
        """Inputs that are numbers."""
        return tuple(column for column in self.inputs if column.kind == "numeric")


def read_event_table(
    path: Path, roles: Roles, leave_out: frozenset[str] = frozenset(), horizon_days: int | None = None
) -> EventTable:
    """Judge a CSV.

    Args:
        leave_out: columns that are not known when the prediction is asked for.
        horizon_days: ``None``: as long as the slowest label took, in whole days.

    Raises:
        UseCaseError: naming file, row and column of the first thing that is wrong.
    """
    content = read_table(path)
    for column in (*roles.columns().values(), *leave_out):
        if column not in content.columns:
            raise UseCaseError(f"{path} has no column {column!r}; it has: {', '.join(map(str, content.columns))}")
    asked_at, label_at = _times(path, content, roles.asked_at), _times(path, content, roles.label_at)
    label = _labels(path, content, roles)
    _check_order(path, content, roles, (asked_at, label_at), label)
    slowest = max(1, -(-(label_at - asked_at).max() // DAY))
    given = set(roles.columns().values()) | leave_out
    found = {str(name): _input(str(name), content[name]) for name in content.columns if name not in given}
    latest = max(asked_at.max(), label_at.max())
    return EventTable(
        path=path,
        roles=roles,
        inputs=tuple(column for column in found.values() if isinstance(column, InputColumn)),
        left_out={name: why for name, why in found.items() if isinstance(why, str)}
        | dict.fromkeys(sorted(leave_out), "as you said"),
        n_rows=len(content),
        positive_share=float(label.mean()),
        first=asked_at.min().date(),
        end=latest.date() + timedelta(days=1),
        horizon_days=horizon_days or int(slowest),
        subject_example=str(content[roles.subject].iloc[0]),
        entity_example=str(content[roles.entity].iloc[0]),
    )


def identifier(column: str) -> str:
    """A column's name as Python and SQL take it.

    >>> identifier("Price (EUR)"), identifier("2nd order"), identifier("event_at")
    ('price_eur', 'c_2nd_order', 'event_at_value')
    """
    name = re.sub(r"[^0-9a-z]+", "_", column.lower()).strip("_") or "unnamed"
    name = f"c_{name}" if name[0].isdigit() else name
    return f"{name}_value" if name in TAKEN | _reserved() else name


@lru_cache(maxsize=1)
def _reserved() -> set[str]:
    import duckdb

    with duckdb.connect() as con:
        words = con.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'")
        return {str(word) for (word,) in words.fetchall()}


def _times(path: Path, content: pd.DataFrame, column: str) -> "pd.Series[Any]":
    moments = pd.to_datetime(content[column], utc=True, errors="coerce", format="ISO8601")
    for row in content.index[moments.isna() & content[column].notna()]:
        raise _wrong(path, row, column, content[column][row], "a time such as 2024-01-31T09:30:00Z")
    return moments


def _labels(path: Path, content: pd.DataFrame, roles: Roles) -> "pd.Series[Any]":
    label = as_json_type(content[roles.label], "bool")
    for row in content.index[~label.isin([True, False])]:
        raise _wrong(path, row, roles.label, content[roles.label][row], "true or false")
    if label.nunique() < 2:
        raise UseCaseError(f"{path}: {roles.label!r} is {label.iloc[0]} in every row; expected both true and false")
    return label.astype(bool)


def _check_order(
    path: Path,
    content: pd.DataFrame,
    roles: Roles,
    times: "tuple[pd.Series[Any], pd.Series[Any]]",
    label: "pd.Series[Any]",
) -> None:
    asked_at, label_at = times
    for column in (roles.subject, roles.entity, roles.asked_at):
        for row in content.index[content[column].isna()]:
            raise _wrong(path, row, column, None, "a value")
    for row in content.index[label & label_at.isna()]:
        raise _wrong(path, row, roles.label_at, None, f"the time at which {roles.label!r} became known to be true")
    for row in content.index[label_at <= asked_at]:
        raise _wrong(path, row, roles.label_at, content[roles.label_at][row], f"a time after {roles.asked_at!r}")
    repeated = pd.concat([content[roles.subject], asked_at], axis=1).duplicated()
    for row in content.index[repeated]:
        what = f"no second row of the same {roles.subject!r} and {roles.asked_at!r}"
        raise _wrong(path, row, roles.subject, content[roles.subject][row], what)


def _wrong(path: Path, row: int, column: str, value: Any, expected: str) -> UseCaseError:
    found = "empty" if value is None else repr(value)
    return UseCaseError(f"{path} row {row}, column {column!r}: is {found}; expected {expected}")


def _input(column: str, values: "pd.Series[Any]") -> InputColumn | str:
    """The column as a feature, or why it is none."""
    present = values.dropna()
    if present.empty:
        return "has no value"
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.notna().all():
        limit = float(10 ** (len(str(int(numbers.abs().max()))) + 2))
        low = 0.0 if numbers.min() >= 0 else None
        return InputColumn(column, identifier(column), "numeric", float(numbers.iloc[0]), low, limit)
    n_levels = present.nunique()
    if n_levels > MAX_LEVELS:
        return f"has {n_levels:,} different texts"
    return InputColumn(column, identifier(column), "categorical", str(present.iloc[0]))
