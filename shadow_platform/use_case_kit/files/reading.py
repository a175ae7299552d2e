"""Rows of an exported file, one after the other, whatever its format; one that is no row says why, and costs no other.

Belongs here: CSV, JSON lines, Parquet. Does not belong here: which column means what (source). Upstream: files.
Downstream: source, scaffold.

A quote that is never closed would make one value of all that follows. Its line alone is no row: what it swallowed, at
most ``MAX_RECORD_BYTES``, is read again.
"""

import csv
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from shadow_platform.contracts.errors import UseCaseError

MAX_RECORD_BYTES = 1 << 20
"""A longer line of text, or record of several, is no row."""
MAX_READS = 8
"""So often the text of a file is read again, on average, for quotes that are not closed; then no record spans lines."""
BATCH_ROWS = 1 << 14
_TOO_LONG = f"longer than {MAX_RECORD_BYTES >> 20} MiB"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is none: why, and its text."""

    why: str
    text: str


Values = dict[str, Any]
Row = tuple[int, Values | Unreadable]


def rows(path: Path) -> Iterator[Row]:
    """Rows with their numbers, from 1: records of CSV and Parquet, lines of JSON lines, of which blank ones are none.

    Values of CSV are texts, empty cells ``None``. Values of the others are what JSON knows; what it does not is text.

    Raises:
        UseCaseError: the file as a whole cannot be read.
    """
    read = _format(path).rows
    with _explained(path):
        yield from read(path)


def columns(path: Path) -> list[str]:
    """Names of a file's columns; of JSON lines, of the fields of any row. Raises ``UseCaseError``."""
    read = _format(path).columns
    with _explained(path):
        return list(read(path))


def read_table(path: Path) -> pd.DataFrame:
    """Content of a file, held whole, its index the row numbers.

    Raises:
        UseCaseError: naming the file, the row where one is at fault, and what was expected.
    """
    numbers, content = [], []
    for row, values in rows(path):
        if isinstance(values, Unreadable):
            raise UseCaseError(f"{path} row {row}: {values.why}")
        numbers.append(row)
        content.append(values)
    return pd.DataFrame(content, index=numbers, columns=columns(path), dtype=object)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise UseCaseError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except (OSError, ValueError, csv.Error) as error:
        raise UseCaseError(f"{path} cannot be read: {error}; export it again, whole") from error


def _lines(path: Path) -> Iterator[bytes]:
    """Lines ended by newlines alone, for JSON may hold other separators. One too long comes cut, yet too long."""
    with path.open("rb") as file:
        if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            file.seek(0)
        while line := file.readline(MAX_RECORD_BYTES + 1):
            yield line
            while len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n"):
                line = file.readline(MAX_RECORD_BYTES + 1)


Record = tuple[list[str] | str, bytes]


def _csv_records(path: Path) -> Iterator[Record]:
    """Fields, or why there are none, and the bytes of every record, the column names included.

    What is no record is one line; those that were taken for more of it, for a quote was open, are read again.
    """
    lines, again, taken = _lines(path), deque[bytes](), list[bytes]()
    n_bytes_left = MAX_RECORD_BYTES

    def texts() -> Iterator[str]:
        n_bytes = 0
        while line := again.popleft() if again else next(lines, b""):
            n_bytes = len(line) + (n_bytes if taken else 0)
            taken.append(line)
            if n_bytes > MAX_RECORD_BYTES:
                raise csv.Error(_TOO_LONG)
            if len(taken) > 1 and n_bytes_left < 0:
                raise csv.Error("a quote is not closed")
            yield line.decode("utf-8", "surrogateescape")

    while True:
        try:
            for fields in csv.reader(texts(), strict=True):
                record = b"".join(taken)
                taken.clear()
                n_bytes_left += MAX_READS * len(record)
                if fields:
                    yield fields, record
            return
        except csv.Error as error:
            first, *swallowed = taken
            taken.clear()
            again.extendleft(reversed(swallowed))
            n_bytes_left += MAX_READS * len(first) - sum(map(len, swallowed))
            is_long = len(first) > MAX_RECORD_BYTES
            yield (
                _TOO_LONG if is_long else f"not CSV: {error}; expected values in pairs of quotes, or without any",
                first,
            )


def _csv_names(path: Path, records: Iterator[Record]) -> list[str]:
    names, line = next(records, ([], b""))
    line.decode("utf-8")
    if isinstance(names, str):
        raise csv.Error(names)
    if not names:
        raise UseCaseError(f"{path} is empty; expected column names and rows")
    for name in {name for name in names if names.count(name) > 1}:
        raise UseCaseError(f"{path} has more than one column {name!r}; give every column a name of its own")
    return names


def _csv_columns(path: Path) -> list[str]:
    return _csv_names(path, _csv_records(path))


def _csv_rows(path: Path) -> Iterator[Row]:
    records = _csv_records(path)
    names = _csv_names(path, records)
    for row, (fields, line) in enumerate(records, start=1):
        if isinstance(fields, str):
            yield row, _unreadable(fields, line)
        elif len(fields) != len(names):
            yield row, _unreadable(f"has {len(fields)} values; expected {len(names)}, one a column name", line)
        elif not line.isascii() and not _is_utf8(line):
            yield row, _unreadable("not UTF-8; save the file as UTF-8", line)
        else:
            yield row, {name: value or None for name, value in zip(names, fields, strict=True)}


def _is_utf8(line: bytes) -> bool:
    try:
        return bool(line.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _unreadable(why: str, line: bytes) -> Unreadable:
    return Unreadable(why, line.decode("utf-8", "backslashreplace"))


def _json_columns(path: Path) -> list[str]:
    names: dict[str, None] = {}
    first_fault = "is empty; expected one object a line"
    for row, values in _json_rows(path):
        if not isinstance(values, Unreadable):
            names.update(dict.fromkeys(values))
        elif not names:
            first_fault = f"holds no row; row {row}: {values.why}"
    if not names:
        raise UseCaseError(f"{path} {first_fault}")
    return list(names)


def _json_rows(path: Path) -> Iterator[Row]:
    for row, line in enumerate(_lines(path), start=1):
        if len(line) > MAX_RECORD_BYTES:
            yield row, _unreadable(_TOO_LONG, line)
        elif line.strip():
            yield row, _json_row(line)


def _json_row(line: bytes) -> Values | Unreadable:
    try:
        values = json.loads(line.decode("utf-8"), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        return _unreadable(f"not JSON: {error}; expected one object a line", line)
    if isinstance(values, dict):
        return values
    return _unreadable(f"is a {type(values).__name__}; expected one object a line", line)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _parquet_columns(path: Path) -> list[str]:
    return list(pq.read_schema(path).names)


def _parquet_rows(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        batches = (batch.to_pylist() for batch in file.iter_batches(BATCH_ROWS))
        for row, values in enumerate(chain.from_iterable(batches), start=1):
            yield row, {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """The value as JSON knows it, or its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.isoformat() if isinstance(value, date | time) else str(value)


@dataclass(frozen=True, slots=True)
class _Format:
    columns: Callable[[Path], list[str]]
    rows: Callable[[Path], Iterator[Row]]


_JSON_LINES = _Format(_json_columns, _json_rows)
_FORMATS: Mapping[str, _Format] = {
    ".csv": _Format(_csv_columns, _csv_rows),
    ".parquet": _Format(_parquet_columns, _parquet_rows),
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
}


def _format(path: Path) -> _Format:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise UseCaseError(f"{path} has no known format; expected a name that ends in {', '.join(sorted(_FORMATS))}")
    return found
