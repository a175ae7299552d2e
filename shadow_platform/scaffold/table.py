"""What a CSV of events says of itself: which columns can be features, when labels are known, what is wrong with it.

Belongs here: reading and judging the file once, before anything is written. Does not belong here: how long to train and
serve (``windows``), rendering (``package``). Upstream: the kit's reader of files. Downstream: windows, package.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.domain.serving import CONTROL, MAX_TEXT
from shadow_platform.use_case_kit.files.reading import read_table
from shadow_platform.use_case_kit.files.values import converter, utc_time

MAX_LEVELS = 50
MAX_LIMIT_DIGITS = 38
"""Of the largest number accepted: models compute in float32."""
TEXT_PATTERN = rf"^[^{CONTROL}]{{1,{MAX_TEXT}}}\Z"
"""Texts that a request may hold."""
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
    path: Path,
    roles: Roles,
    leave_out: frozenset[str] = frozenset(),
    horizon_days: int | None = None,
    now: datetime | None = None,
) -> EventTable:
    """Judge a CSV.

    Args:
        leave_out: columns that are not known when the prediction is asked for.
        horizon_days: ``None``: as long as the slowest label took, in whole days.
        now: nothing can have happened later; ``None``: by the clock.

    Raises:
        UseCaseError: naming file, row and column of the first thing that is wrong.
    """
    content = read_table(path)
    for column in (*roles.columns().values(), *leave_out):
        if column not in content.columns:
            raise UseCaseError(f"{path} has no column {column!r}; it has: {', '.join(map(str, content.columns))}")
    if content.empty:
        raise UseCaseError(f"{path} holds no row; expected at least one below its column names")
    now = now or datetime.now(UTC)
    asked_at, label_at = (_times(path, content, column, now) for column in (roles.asked_at, roles.label_at))
    label = _labels(path, content, roles)
    _check_order(path, content, roles, (asked_at, label_at), label)
    slowest = max(1, -(-(label_at - asked_at).max() // DAY))
    given = set(roles.columns().values()) | leave_out
    found = {str(name): _input(path, str(name), content[name]) for name in content.columns if name not in given}
    inputs = tuple(column for column in found.values() if isinstance(column, InputColumn))
    _check_names(path, [roles.subject, roles.entity, roles.label, *(column.column for column in inputs)])
    latest = max(asked_at.max(), label_at.max())
    return EventTable(
        path=path,
        roles=roles,
        inputs=inputs,
        left_out={name: why for name, why in found.items() if isinstance(why, str)}
        | dict.fromkeys(sorted(leave_out), "as you said"),
        n_rows=len(content),
        positive_share=float(label.mean()),
        first=asked_at.min().date(),
        end=latest.date() + timedelta(days=1),
        horizon_days=horizon_days or int(slowest),
        subject_example=_key_example(path, roles.subject, content),
        entity_example=_key_example(path, roles.entity, content),
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
        # Those that name types or functions cannot name a column either: left, full, like.
        taken = "keyword_category IN ('reserved', 'type_function')"
        words = con.execute(f"SELECT keyword_name FROM duckdb_keywords() WHERE {taken}")
        return {str(word) for (word,) in words.fetchall()}


def _check_names(path: Path, columns: Iterable[str]) -> None:
    by_name: dict[str, str] = {}
    for column in columns:
        other = by_name.setdefault(identifier(column), column)
        if other != column:
            raise UseCaseError(
                f"{path}: columns {other!r} and {column!r} would both be called {identifier(column)!r}; rename one, or "
                "take it out with --leave-out"
            )


def _times(path: Path, content: pd.DataFrame, column: str, now: datetime) -> "pd.Series[Any]":
    found = content[column].map(utc_time)
    moments = pd.to_datetime(found, utc=True, errors="coerce")
    for row in content.index[found.map(lambda moment: moment is not None and moment > now)]:
        what = f"a time that is not in the future: it is {now.isoformat(timespec='seconds')}"
        raise _wrong(path, row, column, content[column][row], what)
    for row in content.index[moments.isna() & content[column].notna()]:
        raise _wrong(path, row, column, content[column][row], "a time such as 2024-01-31T09:30:00Z")
    return moments


def _labels(path: Path, content: pd.DataFrame, roles: Roles) -> "pd.Series[Any]":
    label = content[roles.label].map(converter("bool"))
    for row in content.index[~label.map(lambda value: isinstance(value, bool))]:
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
        for row in content.index[~content[column].map(_is_value)]:
            raise _wrong(path, row, column, content[column][row], "a text or a number")
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


def _input(path: Path, column: str, values: "pd.Series[Any]") -> InputColumn | str:
    """The column as a feature, or why it is none."""
    present = values.dropna()
    if present.empty:
        return "has no value"
    others = present[~present.map(_is_value)]
    if len(others):
        return f"holds {others.iloc[0]!r:.40}, which is no text and no number"
    if _are_numbers(path, column, present):
        numbers = present.astype(float)
        digits = len(f"{numbers.abs().max():.0f}") + 2
        low = 0.0 if numbers.min() >= 0 else None
        limit = 10.0 ** min(digits, MAX_LIMIT_DIGITS)
        return InputColumn(column, identifier(column), "numeric", float(numbers.iloc[0]), low, limit)
    n_levels = present.nunique()
    if n_levels > MAX_LEVELS:
        return f"has {n_levels:,} different texts"
    example = _example(present)
    if example is None:
        return f"holds no text of 1 to {MAX_TEXT} printable characters"
    return InputColumn(column, identifier(column), "categorical", example)


def _is_value(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _example(values: "pd.Series[Any]") -> str | None:
    """The first value that a request may hold."""
    return next((text for text in map(str, values) if re.match(TEXT_PATTERN, text)), None)


def _key_example(path: Path, column: str, content: pd.DataFrame) -> str:
    example = _example(content[column])
    if example is None:
        expected = f"texts of 1 to {MAX_TEXT} printable characters"
        raise _wrong(path, content.index[0], column, content[column].iloc[0], expected)
    return example


def _are_numbers(path: Path, column: str, present: "pd.Series[Any]") -> bool:
    """Whether all are numbers; raises ``UseCaseError`` where one is, but no finite one."""
    is_number = present.map(converter("float64")).map(lambda value: isinstance(value, float))
    if is_number.all():
        return True
    others = present[~is_number]
    if is_number.any() and others.map(_is_not_finite).all():
        raise _wrong(path, others.index[0], column, others.iloc[0], "a finite number, or nothing")
    return False


def _is_not_finite(value: Any) -> bool:
    try:
        return not math.isfinite(float(value))
    except ValueError:
        return False
    except OverflowError:
        return True
