"""Event tables of a use case in memory, and its SQL run over them: what the lake does, without files.

Belongs here: reading a source and running SQL. Does not belong here: rules. Upstream: event sources. Downstream: the
contract, and tests of a use case's own SQL.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import duckdb
import pandas as pd
import pandera.errors

from shadow_platform.contracts.use_case import EventKind, EventSource, UseCase

Tables = dict[str, pd.DataFrame]
Rows = dict[str, list[Mapping[str, Any]]]


def received(source: EventSource, kinds: Iterable[EventKind], days: Iterable[date]) -> Rows:
    """Raw rows received on some days, by event kind."""
    rows: Rows = {kind.name: [] for kind in kinds}
    for day in days:
        for kind, received_rows in source.received_on(day).items():
            rows[kind].extend(received_rows)
    return rows


def validated(kind: EventKind, rows: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that meet the schema, typed, and the failures of the others."""
    columns = list(kind.schema.columns)
    frame = pd.DataFrame(rows, columns=columns)
    try:
        return kind.schema.validate(frame, lazy=True), pd.DataFrame()
    except pandera.errors.SchemaErrors as error:
        bad = error.failure_cases["index"].dropna().unique()
        return kind.schema.validate(frame.drop(index=bad)), error.failure_cases


def accepted(kind: EventKind, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows that meet the schema, typed; of those with the same key the first."""
    return validated(kind, rows)[0].drop_duplicates(list(kind.key), ignore_index=True)


def before(tables: Tables, cutoff: pd.Timestamp) -> Tables:
    """Only what had been received by ``cutoff``."""
    return {name: frame[frame["received_at"] <= cutoff] for name, frame in tables.items()}


def between(tables: Tables, start: pd.Timestamp, end: pd.Timestamp) -> Tables:
    """Only what was received in ``[start, end]``."""
    return {
        name: frame[(frame["received_at"] >= start) & (frame["received_at"] <= end)] for name, frame in tables.items()
    }


def run(sql: str, tables: Tables, **params: Any) -> pd.DataFrame:
    """Result of a query over the tables, in UTC."""
    with duckdb.connect(":memory:") as con:
        con.execute("SET TimeZone = 'UTC'")
        for name, frame in tables.items():
            con.register(name, frame)
        return con.execute(sql, params).df()


def requests_of(use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Requests in ``[start, end)``."""
    return run(use_case.requests_sql, tables, start=start, end=end)


def labels_of(use_case: UseCase, tables: Tables, requests: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Labels of the requests known at ``as_of``."""
    return run(use_case.label.sql, {**tables, "requests": requests}, as_of=as_of)
