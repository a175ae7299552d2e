"""A CSV or Parquet file as DuckDB reads it, of any size, in batches.

Belongs here: what makes a file unreadable. Does not belong here: which columns are features (``columns``), comparing.
Upstream: files as people have them. Downstream: ``columns``, ``comparing``.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shadow_platform.contracts.errors import ShadowPlatformError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

BATCH_ROWS = 100_000
EXPECTED = "expected CSV with a header, in UTF-8, or Parquet, one column a feature"
NULLS = ("", "NA", "NaN", "nan", "null", "NULL")
"""Texts of a CSV that stand for no value."""
DELIMITERS = ",;\t|"
UNTYPED = "UNTYPED"
"""Type of every column of a CSV: it is read as text, so that one word among a million numbers is one wrong value and
not another type of the column."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that can be read.

    Attributes:
        relation: SQL that reads it.
        types: column -> DuckDB's type, or ``UNTYPED``.
    """

    path: Path
    relation: str
    types: Mapping[str, str]

    def batches(self, expressions: Mapping[str, str]) -> "Iterator[pd.DataFrame]":
        """Rows in batches; one empty batch of an empty file.

        Args:
            expressions: column of the result -> SQL.
        """
        with self._rows(expressions) as rows:
            reader, is_first = rows.to_arrow_reader(BATCH_ROWS), True
            for batch in reader:
                yield batch.to_pandas()
                is_first = False
            if is_first:
                yield reader.schema.empty_table().to_pandas()

    def totals(self, aggregates: Mapping[str, str]) -> dict[str, int]:
        """Whole numbers of the whole file; ``None`` counts as 0."""
        with self._rows(aggregates) as rows:
            (values,) = rows.fetchall()
        return {name: int(value or 0) for name, value in zip(aggregates, values, strict=True)}

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def _rows(self, expressions: Mapping[str, str]) -> "Iterator[duckdb.DuckDBPyRelation]":
        columns = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in expressions.items())
        with _reading(self.path) as connection:
            yield connection.sql(f"SELECT {columns} FROM {self.relation}")


def open_file(path: Path) -> DataFile:
    """A file whose columns are known; raises ``ShadowPlatformError`` for one that cannot be read."""
    if not path.is_file():
        raise ShadowPlatformError(f"{path} is not a file; {EXPECTED}")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ShadowPlatformError(f"{path} cannot be read: {error.strerror}; {EXPECTED}") from error
    if not start:
        raise ShadowPlatformError(f"{path} is empty; {EXPECTED}")
    if start == b"PAR1" or path.suffix.lower() in {".parquet", ".pq"}:
        return _open_parquet(path)
    return _open_csv(path)


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def _open_parquet(path: Path) -> DataFile:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        _require_distinct(path, read_schema(path).names)
    except (ArrowException, OSError) as error:
        raise ShadowPlatformError(f"{path} cannot be read as Parquet: {error}; {EXPECTED}") from error
    relation = f"read_parquet({_this_file(path)}, hive_partitioning=false)"
    with _reading(path) as connection:
        columns = connection.sql(f"FROM {relation}")
        types = dict(zip(columns.columns, map(str, columns.types), strict=True))
    return DataFile(path, relation, types)


def _open_csv(path: Path) -> DataFile:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            line = text.readline()
            delimiter = max(DELIMITERS, key=line.count)
            text.seek(0)
            names = next(csv.reader(text, delimiter=delimiter), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ShadowPlatformError(f"{path}: the header cannot be read: {error}; {EXPECTED}") from error
    _require_distinct(path, names)
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
    options = {
        "auto_detect": "false",
        "header": "true",
        "hive_partitioning": "false",
        "delim": _literal(delimiter),
        "quote": "'\"'",
        "escape": "'\"'",
        "strict_mode": "true",
        "nullstr": f"[{', '.join(map(_literal, NULLS))}]",
        "columns": f"{{{columns}}}",
    }
    settings = ", ".join(f"{name}={value}" for name, value in options.items())
    return DataFile(path, f"read_csv({_this_file(path)}, {settings})", dict.fromkeys(names, UNTYPED))


def _require_distinct(path: Path, names: Sequence[str]) -> None:
    if not all(name.strip() for name in names) or not names:
        raise ShadowPlatformError(f"{path}: the header {list(names)!r} holds an empty name (an index?); {EXPECTED}")
    # DuckDB does not tell names apart by case.
    repeated = [name for name, n in Counter(name.casefold() for name in names).items() if n > 1]
    if repeated:
        found = [name for name in names if name.casefold() in repeated]
        raise ShadowPlatformError(f"{path}: columns {', '.join(map(repr, found))} are one name; rename all but one")


def _this_file(path: Path) -> str:
    """The path in SQL; else DuckDB would read every file that a name with ``*``, ``?`` or ``[`` matches."""
    return _literal(re.sub(r"[*?[]", r"[\g<0>]", str(path)))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _reading(path: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb
    from pyarrow import ArrowException

    try:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            # Else blocks of the file stay in memory after they were read.
            connection.execute("SET enable_external_file_cache = false")
            yield connection
    except (duckdb.Error, ArrowException) as error:
        said = " ".join(str(error).partition("Possible fixes")[0].split())
        raise ShadowPlatformError(f"{path} cannot be read: {said}; {EXPECTED}") from error
