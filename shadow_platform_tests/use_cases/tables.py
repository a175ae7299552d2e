"""Event tables of a use case in memory, and its SQL run over them: what the lake does, without files.

Belongs here: helpers of the tests of this folder. Does not belong here: assertions.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import duckdb
import pandas as pd
import pandera.errors

from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.use_cases import load_use_case

Tables = dict[str, pd.DataFrame]


@lru_cache(maxsize=4)
def received(address: str, start: date, n_days: int) -> Tables:
    """Valid events received on ``n_days`` days from ``start``, by kind. Callers must not change the frames."""
    use_case = load_use_case(address)
    source = use_case.source()
    rows: dict[str, list[Mapping[str, Any]]] = {kind.name: [] for kind in use_case.events}
    for offset in range(n_days):
        for kind, received_rows in source.received_on(start + timedelta(days=offset)).items():
            rows[kind].extend(received_rows)
    return {kind.name: validated(kind, rows[kind.name])[0] for kind in use_case.events}


def validated(kind: EventKind, rows: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that meet the schema, typed, and the failures of the others."""
    columns = list(kind.schema.columns)
    frame = pd.DataFrame(rows, columns=columns)
    try:
        return kind.schema.validate(frame, lazy=True), pd.DataFrame()
    except pandera.errors.SchemaErrors as error:
        bad = error.failure_cases["index"].dropna().unique()
        return kind.schema.validate(frame.drop(index=bad)), error.failure_cases


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
