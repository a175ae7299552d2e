"""Events from files that somebody exported: CSV, Parquet or JSON lines become raw rows without a line of code.

Belongs here: reading a file whole, naming its columns, placing its rows on their days. Does not belong here: judging a
value; what is no number stays as it was written, and the events stage puts it into quarantine with the reason.
Upstream: files, event schemas. Downstream: use cases whose events lie in files.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.simulating import rows_received

_TRUTHS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class EventFile:
    """Events of one kind in one file, a row each.

    A time without an offset is UTC. Without a column ``received_at`` an event counts as received when it happened;
    without a column ``event_id`` it is named after its kind and row, so that rows may only ever be appended.

    Attributes:
        path: ends in ``.csv``, ``.parquet``, ``.jsonl`` or ``.ndjson``; text is UTF-8.
        columns: column of the file by column of the event, where the two differ.
        present: column of the file that is empty in rows which hold no such event; ``None``: every row holds one.
    """

    kind: EventKind
    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    present: str | None = None

    def column_of(self, name: str) -> str:
        """Column of the file that a column of the event is read from."""
        return self.columns.get(name, name)


class FileSource:
    """Event source over files, one a kind; each is read when first asked for, and kept."""

    def __init__(self, *files: EventFile) -> None:
        self._files = files

    def first_day(self) -> date:
        """First day with events."""
        return min(self._received_at).date()

    def last_day(self) -> date:
        """Last day with events."""
        return max(self._received_at).date()

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, in order of receipt."""
        return {kind: rows_received(frame, day) for kind, frame in self._frames.items()}

    @cached_property
    def _frames(self) -> dict[str, pd.DataFrame]:
        return {file.kind.name: read_events(file) for file in self._files}

    @cached_property
    def _received_at(self) -> list[pd.Timestamp]:
        return [moment for frame in self._frames.values() for moment in frame["received_at"].iloc[[0, -1]]]


def read_events(file: EventFile) -> pd.DataFrame:
    """Events of a file in the columns of their schema, sorted by ``received_at``, times naive UTC.

    Raises:
        UseCaseError: the file cannot be read, lacks a column, holds no event, or one without a time of receipt.
    """
    content = read_table(file.path)
    for column in {file.present} - {None, *content.columns}:
        raise _lacks(file, str(column), "rows that hold an event", content)
    if file.present:
        content = content[content[file.present].notna()]
    if content.empty:
        raise UseCaseError(f"{file.path} holds no {file.kind.name}; expected at least one row below its column names")
    frame = pd.DataFrame({name: _column(file, content, name) for name in file.kind.schema.columns})
    frame["received_at"] = _placed(file, content, frame["received_at"])
    frame["schema_version"] = file.kind.schema_version
    return frame.sort_values("received_at", kind="stable", ignore_index=True)


def read_table(path: Path) -> pd.DataFrame:
    """Content of a file, its index the row numbers from 1; text of CSV as written, empty cells missing.

    Raises:
        UseCaseError: naming the file, the row where one is at fault, and what was expected.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UseCaseError(f"{path} has no known format; expected a name that ends in {', '.join(sorted(_READERS))}")
    try:
        frame = reader(path)
    except UnicodeDecodeError as error:
        raise UseCaseError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise UseCaseError(f"{path} is empty; expected column names and rows") from error
    except (OSError, ValueError) as error:
        raise UseCaseError(f"{path} cannot be read: {error}; export it again, whole") from error
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _csv(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for an index, without a word
        raise UseCaseError(f"{path} row 1 has more values than there are column names; give every column a name")
    return frame


def _json_lines(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UseCaseError(f"{path} row {number} is not JSON: {error}; expected one object a line") from error
        if not isinstance(row, dict):
            raise UseCaseError(f"{path} row {number} is a {type(row).__name__}; expected one object a line")
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _csv,
    ".parquet": pd.read_parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}


def _column(file: EventFile, content: pd.DataFrame, name: str) -> "pd.Series[Any]":
    column = file.column_of(name)
    if column in content.columns:
        return as_json_type(content[column], str(file.kind.schema.columns[name].dtype))
    if name == "event_id" and name not in file.columns:
        return pd.Series([f"{file.kind.name}-{row}" for row in content.index], index=content.index, dtype=object)
    if name == "received_at" and name not in file.columns:
        return _column(file, content, "event_at")
    raise _lacks(file, column, f"{name!r} of {file.kind.name}", content)


def _lacks(file: EventFile, column: str, what: str, content: pd.DataFrame) -> UseCaseError:
    found = ", ".join(map(str, content.columns))
    return UseCaseError(f"{file.path} has no column {column!r}, from which {what} is read; it has: {found}")


def _placed(file: EventFile, content: pd.DataFrame, received_at: "pd.Series[Any]") -> "pd.Series[Any]":
    """Times of receipt: a row without one belongs to no day, so it can be neither an event nor in quarantine."""
    moments = _moments(received_at)
    unplaced = moments.index[moments.isna()]
    if len(unplaced):
        column = next(c for c in map(file.column_of, ("received_at", "event_at")) if c in content.columns)
        more = f" (and {len(unplaced) - 1} more rows)" if len(unplaced) > 1 else ""
        raise UseCaseError(
            f"{file.path} row {unplaced[0]}, column {column!r}: {content[column][unplaced[0]]!r} is no time{more}; "
            "expected ISO 8601 such as 2024-01-31T09:30:00Z; correct it or take the row out"
        )
    return moments


def as_json_type(values: "pd.Series[Any]", dtype: str) -> "pd.Series[Any]":
    """Values as JSON holds them for a column of this type; what does not convert stays as it was, for the quarantine.

    >>> as_json_type(pd.Series(["1", "two", None]), "float64").tolist()
    [1.0, 'two', nan]
    >>> as_json_type(pd.Series(["yes", "FALSE", "?"]), "bool").tolist()
    [True, False, '?']
    """
    lowered = dtype.lower()
    if lowered.startswith("datetime"):
        moments = _moments(values)
        is_lost = moments.isna() & values.notna()
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ").where(~is_lost, values) if is_lost.any() else moments
    if lowered.startswith("bool"):
        return values.map(lambda value: _TRUTHS.get(str(value).lower(), value)).astype(object)
    if lowered.startswith(("float", "int", "uint")):
        return _numbers(values, is_whole=not lowered.startswith("float"))
    return values.map(lambda value: str(value) if pd.notna(value) else None).astype(object)


def _moments(values: "pd.Series[Any]") -> "pd.Series[Any]":
    moments = pd.to_datetime(values, utc=True, errors="coerce", format="ISO8601")
    return moments.dt.tz_localize(None).astype("datetime64[us]")


def _numbers(values: "pd.Series[Any]", *, is_whole: bool) -> "pd.Series[Any]":
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    is_lost = ~np.isfinite(numbers) & values.notna()
    if is_whole:
        whole = [int(number) if number.is_integer() else number for number in numbers.tolist()]
        numbers = pd.Series(whole, index=values.index, dtype=object)
    return numbers.astype(object).where(~is_lost, values) if is_lost.any() else numbers
