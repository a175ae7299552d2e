"""Typed, atomic Parquet files: the one way the lake touches a file.

Belongs here: connections, casting a frame to declared types, replacing a file, views over many files. Does not belong
here: which table or partition a file is. Upstream: contracts. Downstream: the other modules of the lake.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from shadow_platform.contracts.errors import LakeError

Types = Mapping[str, str]
Result = TypeVar("Result")
READ_ATTEMPTS = 20
_ARROW_TYPES = {
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "SMALLINT": pa.int16(),
    "TINYINT": pa.int8(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "VARCHAR": pa.string(),
}

_DUCKDB_TYPES = {
    "float64": "DOUBLE",
    "float32": "FLOAT",
    "int64": "BIGINT",
    "int32": "INTEGER",
    "int16": "SMALLINT",
    "int8": "TINYINT",
    "bool": "BOOLEAN",
    "boolean": "BOOLEAN",
    "date": "DATE",
}


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A session of its own in this process's in-memory DuckDB; what it creates must be TEMP.

    Opening a database costs thirty times what opening a session does.
    """
    with _database(os.getpid()).cursor() as con:
        yield con


def new_database() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB in UTC that never looks for extensions on the network and never answers from stale files."""
    con = duckdb.connect(":memory:")
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute("SET GLOBAL autoinstall_known_extensions = false")
    con.execute("SET GLOBAL enable_external_file_cache = false")
    return con


@lru_cache(maxsize=1)
def _database(process: int) -> duckdb.DuckDBPyConnection:  # noqa: ARG001 a forked child must not use its parent's
    return new_database()


def identifier(name: str) -> str:
    """Quoted SQL identifier.

    >>> identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quoted SQL string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def arrow_schema(types: Types) -> pa.Schema:
    """Arrow schema of columns with DuckDB types."""
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in types.items()])


def duckdb_type(dtype: str) -> str:
    """DuckDB type of a pandas type by its name; text of what is no number, truth or time."""
    lowered = dtype.lower()
    if lowered.startswith("datetime64"):
        return "TIMESTAMPTZ" if "," in lowered else "TIMESTAMP"
    return _DUCKDB_TYPES.get(lowered, "VARCHAR")


def files_relation(files: Sequence[Path | str], types: Types | None = None) -> str:
    """SQL relation over Parquet files or globs; with ``types``, exactly those columns, also when there is no file.

    A column that older files lack is NULL there, so a schema may grow without rewriting history.
    """
    paths = ", ".join(literal(str(file)) for file in files)
    scan = f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"
    if types is None:
        return f"SELECT * FROM {scan}"
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in types.items())
    empty = f"SELECT {columns} WHERE false"
    if not files:
        return empty
    names = ", ".join(f"CAST({identifier(name)} AS {kind}) AS {identifier(name)}" for name, kind in types.items())
    return f"SELECT {names} FROM (({empty}) UNION ALL BY NAME (SELECT * FROM {scan}))"


def cast_sql(source: str, types: Types) -> str:
    """SQL that reads ``source`` with exactly the columns and types given; NaN becomes NULL."""
    parts = []
    for name, kind in types.items():
        value = f"CAST({identifier(name)} AS {kind})"
        if kind in {"DOUBLE", "FLOAT"}:
            value = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
        parts.append(f"{value} AS {identifier(name)}")
    return f"SELECT {', '.join(parts)} FROM {source}"


def check_columns(df: pd.DataFrame, types: Types, what: str) -> None:
    """Raise ``LakeError`` unless the frame has exactly the declared columns, in any order."""
    missing = [name for name in types if name not in df.columns]
    unknown = [str(name) for name in df.columns if name not in types]
    if missing or unknown:
        raise LakeError(
            f"{what}: columns {missing} are missing and {unknown} are undeclared; expected exactly {list(types)}. "
            "Correct the rows, or declare the columns in the schema"
        )


def write_frame(
    path: Path,
    df: pd.DataFrame,
    types: Types | None,
    what: str,
    key: Sequence[str] = (),
    *,
    keep_others: bool = False,
    keep_same: bool = False,
) -> int:
    """Replace one Parquet file by the frame, whole or not at all; returns the frame's number of rows.

    Args:
        keep_others: rows of the present file whose key is not in the frame stay.
        keep_same: a file that holds the same rows stays as it is, with its time of modification.

    Raises:
        LakeError: a column is missing or undeclared, a value does not fit its type, or ``key`` is not unique.
    """
    if types is not None:
        check_columns(df, types, what)
        df = _json_as_text(df[list(types)], types)
    with connection() as con:
        try:
            con.register("frame", df)
            con.execute(f"CREATE TEMP TABLE rows AS {cast_sql('frame', types) if types else 'SELECT * FROM frame'}")
        except duckdb.Error as error:
            raise LakeError(f"{what}: a value does not fit the declared types {dict(types or {})}: {error}") from error
        _check_key(con, key, what)
        if keep_others and path.exists():
            same = " AND ".join(f"r.{identifier(name)} IS NOT DISTINCT FROM k.{identifier(name)}" for name in key)
            known = files_relation([path], types)
            fetch(con, f"INSERT INTO rows SELECT k.* FROM ({known}) k WHERE NOT EXISTS (FROM rows r WHERE {same})")
        _replace(con, path, "rows", has_rows_of(path) if keep_same else None)
    return len(df)


def read_frame(files: Sequence[Path], types: Types | None = None) -> pd.DataFrame:
    """Rows of the files as a frame; timestamps are UTC with microseconds.

    Raises:
        LakeError: a file is corrupt.
    """
    return undisturbed(lambda: files, lambda: frame_of(files_relation(files, types)))


def undisturbed(files: Callable[[], Iterable[Path]], read: Callable[[], Result]) -> Result:
    """What ``read`` gives while none of the files is replaced; read again when one was.

    DuckDB opens a file once to plan a query and again to carry it out. A file that is replaced in between is read by
    the footer of the old one: most often an error, now and then too few rows and no error at all.

    Raises:
        LakeError: the files are replaced faster than they can be read.
    """
    for _ in range(READ_ATTEMPTS):
        before = identities(files())
        try:
            result = read()
        except LakeError:
            if identities(files()) == before:
                raise
            continue
        if identities(files()) == before:
            return result
    raise LakeError(f"files were replaced during each of {READ_ATTEMPTS} attempts to read them; read again later")


def identities(files: Iterable[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """What tells a file from the one that replaces it."""
    return {path: _identity(path) for path in files}


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def frame_of(sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Result of a query in a session of its own; raises ``LakeError``."""
    with connection() as con:
        return fetch(con, sql, params)


def fetch(con: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Result of a query; raises ``LakeError`` with DuckDB's own words."""
    with explained():
        return (con.execute(sql, dict(params)) if params else con.execute(sql)).df()


@contextmanager
def explained(*also: type[Exception]) -> Iterator[None]:
    """What DuckDB raises, under its own or another name, becomes a ``LakeError`` that says what to do."""
    kinds: tuple[type[Exception], ...] = (duckdb.Error, *also)
    try:
        yield
    except kinds as error:
        raise LakeError(
            f"query failed: {str(error).splitlines()[0]}; if a file is named, it is corrupt: delete it and materialize "
            "its partition again"
        ) from error


@contextmanager
def written_or_explained(what: str) -> Iterator[None]:
    """What the disk refuses becomes a ``LakeError`` that says what to do."""
    try:
        yield
    except OSError as error:
        raise LakeError(
            f"{what} could not be written, the old content stands: {error}; free the disk and retry"
        ) from error


def rows_fingerprint(path: Path, without: str = "") -> str:
    """Fingerprint of a file's columns and rows, in whatever order they are, but for one column.

    It rests on DuckDB's own hash, so that it may differ between versions of DuckDB. Raises ``LakeError``.
    """
    with connection() as con, explained():
        scan = f"read_parquet({literal(str(path))}, hive_partitioning = false)"
        columns = [
            (name, kind) for name, kind, *_ in con.execute(f"DESCRIBE FROM {scan}").fetchall() if name != without
        ]
        hashed = f"hash({', '.join(identifier(name) for name, _ in columns)})"
        counts = con.execute(f"SELECT count(*), sum(h), bit_xor(h) FROM (SELECT {hashed} AS h FROM {scan})").fetchone()
    return hashlib.sha256(repr((columns, counts)).encode()).hexdigest()


@contextmanager
def replaced_by(path: Path, unless: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """A sibling path to write to; it is flushed to the device and takes the place of ``path`` if the block succeeds.

    Args:
        unless: asked of the sibling when ``path`` exists: whether what lies there is the same and shall stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}")
    try:
        yield beside
        if unless is not None and path.exists() and unless(beside):
            return
        fsync(beside)
        os.replace(beside, path)
        fsync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def has_rows_of(path: Path, without: str = "") -> Callable[[Path], bool]:
    """Whether a file holds the rows of the one at ``path``, but for one column; a corrupt file never does."""

    def is_same(beside: Path) -> bool:
        with suppress(LakeError):
            return rows_fingerprint(beside, without) == rows_fingerprint(path, without)
        return False

    return is_same


def _replace(
    con: duckdb.DuckDBPyConnection, path: Path, table: str, unless: Callable[[Path], bool] | None = None
) -> None:
    try:
        with replaced_by(path, unless) as beside:
            con.execute(f"COPY {table} TO {literal(str(beside))} (FORMAT parquet, COMPRESSION zstd)")
    except (OSError, duckdb.Error) as error:
        raise LakeError(
            f"{path} could not be written, its old content stands: {error}; free the disk and retry"
        ) from error


def _check_key(con: duckdb.DuckDBPyConnection, key: Sequence[str], what: str) -> None:
    if not key:
        return
    columns = ", ".join(identifier(name) for name in key)
    query = f"SELECT {columns}, count(*) AS n FROM rows GROUP BY ALL HAVING n > 1 LIMIT 1"
    twice = con.execute(query).fetchone()
    if twice is not None:
        found = dict(zip((*key, "rows"), (str(value) for value in twice), strict=True))
        raise LakeError(f"{what}: key {tuple(key)} must be unique, found {found}; remove the duplicates first")


def _json_as_text(df: pd.DataFrame, types: Types) -> pd.DataFrame:
    changed = {
        name: df[name].map(lambda value: json.dumps(value) if isinstance(value, dict | list | tuple) else value)
        for name, kind in types.items()
        if kind == "JSON"
    }
    return df.assign(**changed) if changed else df


def fsync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the device."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
