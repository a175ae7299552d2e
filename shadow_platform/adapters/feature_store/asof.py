"""The point-in-time join: of every feature view, the values that were known when a request was made.

Belongs here: which row counts, and finding it with DuckDB. Does not belong here: Feast, and where files come from
(``offline``). Upstream: Parquet files or Arrow tables of feature rows. Downstream: ``offline``, ``ray_offline``.

A row counts when it became true and was created by the time of the request. Of the rows that count, the one that became
true last is taken, of equal ones the one created last, of equal ones the last row of the last file. When it is older
than the time to live, the values are missing.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from glob import escape

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shadow_platform.contracts.errors import FeatureStoreError

INSTANT = pa.timestamp("us", "UTC")
MAX_ATTEMPTS = 20
FEW = 20_000
"""So many entities pay for leaving out the rows of others before rows are sorted; more do not."""
_MICROSECOND = timedelta(microseconds=1)
_LAST = f"'infinity'::TIMESTAMPTZ, 'infinity'::TIMESTAMPTZ, {2**63 - 1}, {2**63 - 1}"


@dataclass(frozen=True, slots=True)
class JoinedView:
    """Rows of one feature view and what is wanted of them.

    Attributes:
        rows: Parquet files, or the rows themselves. A column that some files lack is null in their rows.
        keys: column of the entities -> column of the rows; without any, all rows are of one entity.
        features: column of the rows -> name in the answer.
        ttl: a row older than this at the time of the request counts as missing; ``None``: none is too old.
        created_at: column that says when a row came to be known; ``None``: at once.
    """

    rows: Sequence[str] | pa.Table
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl: timedelta | None = None
    event_at: str = "event_at"
    created_at: str | None = "created_at"


def point_in_time_join(
    entities: pa.Table | pd.DataFrame,
    views: Sequence[JoinedView],
    requested_at: str = "event_timestamp",
    *,
    known_only: bool = True,
    threads: int | None = None,
) -> pa.Table:
    """The entities, in their order, with the features of every view as known at ``requested_at``.

    Args:
        entities: the views' keys, ``requested_at`` (times without a zone are UTC) and whatever is handed through.
        known_only: whether only rows created by ``requested_at`` count.
        threads: of DuckDB; ``None``: as many as there are cores.

    Raises:
        FeatureStoreError: a column is missing or of a type that cannot be compared, or files never stopped changing.
    """
    answer = entities if isinstance(entities, pa.Table) else pa.Table.from_pandas(entities, preserve_index=False)
    _require([requested_at, *(key for view in views for key in view.keys)], answer.column_names, "entities")
    at = answer.column_names.index(requested_at)
    answer = answer.set_column(at, requested_at, instants(answer.column(at), requested_at))
    for view in views:
        taken = sorted({*view.features.values()} & {*answer.column_names})
        if taken:
            raise FeatureStoreError(f"entities already have {taken}; rename them, or ask for full feature names")
        read = partial(_joined, answer, view, requested_at, known_only, threads)
        found = read() if isinstance(view.rows, pa.Table) else read_unchanged(view.rows, read)
        for name in found.column_names:
            answer = answer.append_column(name, found.column(name))
    return answer


def instants(times: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Times as UTC microseconds, rounded down; text is read as ISO 8601, a time without a zone is UTC."""
    if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        try:
            read = pd.to_datetime(times.to_pandas(), utc=True, format="ISO8601")
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise FeatureStoreError(f"{name!r} holds no times: {reason}; expected ISO 8601") from error
        times = pa.chunked_array([pa.array(read)])
    elif pa.types.is_date(times.type) or pa.types.is_null(times.type):
        times = times.cast(pa.timestamp("us"))
    elif not pa.types.is_timestamp(times.type):
        raise FeatureStoreError(f"{name!r} is of type {times.type}; expected timestamps")
    if times.type.tz is None:
        times = pc.assume_timezone(times, "UTC")
    return times.cast(INSTANT, safe=False)


def connect(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, nobody else's, that thinks in UTC and spills to the machine's folder of temporary files."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"SET temp_directory = {_text(tempfile.gettempdir())}")
    if threads is not None:
        con.execute(f"SET threads = {threads:d}")
    return con


def scan(files: Sequence[str]) -> str:
    """SQL to select from: all files by the names of their columns, in the order given."""
    names = ", ".join(_text(escape(file)) for file in files)
    return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"


def read_unchanged(files: Sequence[str], read: Callable[[], pa.Table]) -> pa.Table:
    """What ``read`` returns when no file was replaced meanwhile; DuckDB opens each more than once (ADR 0019).

    Raises:
        FeatureStoreError: a file is gone, or files were replaced during each of 20 attempts.
    """
    for _ in range(MAX_ATTEMPTS):
        before = _identities(files)
        try:
            found = read()
        except duckdb.Error:
            if _identities(files) == before:
                raise
        else:
            if _identities(files) == before:
                return found
    raise FeatureStoreError(f"{files[0]} and others were replaced during {MAX_ATTEMPTS} reads; read when writers rest")


def _identities(files: Sequence[str]) -> list[tuple[int, int, int]]:
    try:
        return [(found.st_ino, found.st_mtime_ns, found.st_size) for found in map(os.stat, files)]
    except FileNotFoundError as error:
        raise FeatureStoreError(f"{error.filename} is gone; materialize its partition, then retry") from error


def _joined(entities: pa.Table, view: JoinedView, requested_at: str, known_only: bool, threads: int | None) -> pa.Table:
    """Features of one view, one row an entity in their order: matched by keys and times first, then fetched."""
    keys = [f"key_{n}" for n in range(len(view.keys))]
    asked = dict(zip(keys, (entities.column(name) for name in view.keys), strict=True))
    asked |= {"requested_at": entities.column(requested_at), "n": pa.array(np.arange(len(entities)))}
    with connect(threads) as con:
        con.register("asked", pa.table(asked))
        if isinstance(view.rows, pa.Table):
            numbered = view.rows.append_column("file_row_number", pa.array(np.arange(len(view.rows))))
            con.register("numbered", numbered.append_column("file_index", pa.array(np.zeros(len(numbered), np.int64))))
            rows = "numbered"
        else:
            rows = scan(view.rows)
        _require_comparable(con, rows, view, entities)
        seen = _seen(rows, view, keys, known_only)
        if keys and len(entities) <= FEW:
            seen = f"SELECT * FROM ({seen}) WHERE ({', '.join(keys)}) IN (SELECT ({', '.join(keys)}) FROM asked)"
        con.execute(f"CREATE TEMP TABLE matches AS {_matches(seen, view, keys)}")
        return con.sql(_values(rows, view)).to_arrow_table()


def _matches(seen: str, view: JoinedView, keys: Sequence[str]) -> str:
    """SQL for ``n, file_no, row_no``: the place of the row that answers entity ``n``, or nulls.

    A row that came to be known after a newer one answers nobody. Without such rows, those of a key became known in the
    order in which they became true, so that the last one known is the newest: what ``ASOF JOIN`` finds.
    """
    is_fresh = "true"
    if view.ttl is not None:
        is_fresh = f"event_at >= requested_at - to_microseconds({view.ttl // _MICROSECOND})"
    same_key = "".join(f"asked.{key} = usable.{key} AND " for key in keys)
    return f"""
        WITH seen AS ({seen}),
        usable AS (
            SELECT * FROM seen QUALIFY event_at >= max(event_at) OVER (
                {"PARTITION BY " + ", ".join(keys) if keys else ""} ORDER BY known_at, event_at ROWS UNBOUNDED PRECEDING
            )
        )
        SELECT n, CASE WHEN {is_fresh} THEN file_no END AS file_no, row_no
        FROM asked ASOF LEFT JOIN usable ON {same_key}
            row(requested_at, {_LAST}) >= row(known_at, event_at, created_at, file_no, row_no)"""


def _seen(rows: str, view: JoinedView, keys: Sequence[str], known_only: bool) -> str:
    """SQL for keys, times and places of the rows that can answer any entity."""
    columns = [f"{quoted(column)} AS {key}" for key, column in zip(keys, view.keys.values(), strict=True)]
    event_at = f"{quoted(view.event_at)}::TIMESTAMPTZ"
    created_at = f"{quoted(view.created_at)}::TIMESTAMPTZ" if view.created_at else event_at
    if not known_only:
        # Where rows are compared, a null counts as the greatest value.
        created_at = f"coalesce({created_at}, '-infinity')"
    known_at = f"greatest({event_at}, {created_at})" if known_only else event_at
    oldest = "'-infinity'"
    if view.ttl is not None:
        oldest = f"(SELECT min(requested_at) FROM asked) - to_microseconds({view.ttl // _MICROSECOND})"
    return f"""
        SELECT {"".join(f"{column}, " for column in columns)} {event_at} AS event_at, {created_at} AS created_at,
               {known_at} AS known_at, file_index::BIGINT AS file_no, file_row_number AS row_no
        FROM {rows}
        WHERE {event_at} >= {oldest} AND {created_at} IS NOT NULL
          AND {known_at} <= (SELECT max(requested_at) FROM asked)"""


def _values(rows: str, view: JoinedView) -> str:
    """SQL for the features of the matched rows, in the order of the entities."""
    features = [f"{quoted(column)} AS {quoted(name)}" for column, name in view.features.items()]
    return f"""
        SELECT {", ".join(quoted(name) for name in view.features.values())}
        FROM matches LEFT JOIN (
            SELECT {"".join(f"{feature}, " for feature in features)}
                   file_index AS file_no, file_row_number AS row_no FROM {rows}
        ) AS stored USING (file_no, row_no)
        ORDER BY n"""


def _require_comparable(con: duckdb.DuckDBPyConnection, rows: str, view: JoinedView, entities: pa.Table) -> None:
    stored = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}
    times = [view.event_at, *([view.created_at] if view.created_at else [])]
    _require([*view.keys.values(), *times, *view.features], stored, "feature rows")
    for name, column in view.keys.items():
        kind = entities.schema.field(name).type
        if pa.types.is_null(kind):
            continue
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if is_text != (stored[column] == "VARCHAR"):
            raise FeatureStoreError(
                f"key {name!r} is {kind} in the entities and {stored[column]} in the rows; give both one type"
            )


def _require(wanted: Iterable[str], present: Iterable[str], where: str) -> None:
    known = list(present)
    missing = sorted({*wanted} - {*known})
    if missing:
        raise FeatureStoreError(f"{where} have no column {missing}; they have {known}")


def quoted(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
