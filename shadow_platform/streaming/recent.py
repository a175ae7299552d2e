"""Recent events in memory, and a view's SQL over those of a few entities.

Belongs here: the tables in DuckDB. Does not belong here: which entities are due (``online``). Upstream: the consumer,
the lake. Downstream: online.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from shadow_platform.adapters.lake.parquet import arrow_schema, duckdb_type, identifier, literal, new_database
from shadow_platform.contracts.use_case import EventKind, FeatureView

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATE = "recent"
_DUE = f"{_STATE}.due_entities"


class RecentEvents:
    """Events of some kinds, each key once. Not safe in threads.

    The SQL of a view sees, under the names of the kinds, the events of the entities asked for, and of no other. It is
    run once at the start, so that a view that reads more than a stream brings is refused there.

    Args:
        views: those to compute; each kind they read is among ``kinds`` and has a column of the view's entity.
    """

    def __init__(self, kinds: Sequence[EventKind], views: Sequence[FeatureView]) -> None:
        self._con = new_database()
        # Ticks are small: a second thread costs the champion's answers more than it gains here.
        self._con.execute("SET threads = 1")
        self._con.execute(f"CREATE SCHEMA {_STATE}")
        self._con.execute(f"CREATE TABLE {_DUE} (entity VARCHAR)")
        self._schemas = {kind.name: arrow_schema(_types(kind)) for kind in kinds}
        self._kinds = {kind.name: kind for kind in kinds}
        self.clear()
        for view in views:
            self._prepare(view)

    def clear(self) -> None:
        """Forget everything."""
        for kind in self._kinds.values():
            columns = ", ".join(f"{identifier(name)} {type_}" for name, type_ in _types(kind).items())
            self._con.execute(f"CREATE OR REPLACE TABLE {_table(kind)} ({columns})")

    def add(self, kind: EventKind, events: pd.DataFrame) -> None:
        """Keep events whose key is not known yet; of those with one key the first."""
        key = list(kind.key)
        new = events.drop_duplicates(key)
        self._con.register("new_events", pa.Table.from_pandas(new, self._schemas[kind.name], preserve_index=False))
        names = ", ".join(identifier(name) for name in key)
        self._con.execute(f"INSERT INTO {_table(kind)} FROM new_events ANTI JOIN {_table(kind)} USING ({names})")
        self._con.unregister("new_events")

    def forget(self, before: datetime) -> None:
        """Drop events received before a moment, and give their memory back."""
        for kind in self._kinds.values():
            self._con.execute(
                f"CREATE OR REPLACE TABLE {_table(kind)} AS FROM {_table(kind)} WHERE received_at >= ?", [before]
            )

    def entities(self, view: FeatureView, ago: Collection[timedelta], start: datetime, end: datetime) -> set[str]:
        """Entities with an event received so long before a moment in ``[start, end]``."""
        parts = [
            f"SELECT {identifier(view.entity)} FROM {_table(kind)} WHERE received_at BETWEEN ? AND ?"
            for kind in self._of(view)
            for _ in ago
        ]
        spans = [moment for _ in self._of(view) for wait in ago for moment in (start - wait, end - wait)]
        return {entity for (entity,) in self._con.execute(" UNION ".join(parts), spans).fetchall()}

    def newest_rows(self, view: FeatureView, entities: Collection[str], start: datetime, end: datetime) -> pd.DataFrame:
        """Of each entity the newest row of the view stamped in ``(start, end]``, if there is one."""
        self._con.register("asked_for", pa.table({"entity": pa.array(sorted(entities), pa.string())}))
        self._con.execute(f"CREATE OR REPLACE TABLE {_DUE} AS FROM asked_for")
        self._con.execute(f"SET schema = {literal(view.name)}")
        try:
            return self._con.execute(_newest(view), {"start": start, "end": end}).df()
        finally:
            self._con.execute("SET schema = 'main'")

    def _prepare(self, view: FeatureView) -> None:
        schema = identifier(view.name)
        self._con.execute(f"CREATE SCHEMA {schema}")
        for kind in self._of(view):
            self._con.execute(
                f"CREATE VIEW {schema}.{identifier(kind.name)} AS FROM {_table(kind)} "
                f"WHERE {identifier(view.entity)} IN (FROM {_DUE})"
            )
        self.newest_rows(view, (), EPOCH, EPOCH)

    def _of(self, view: FeatureView) -> list[EventKind]:
        return [kind for kind in self._kinds.values() if view.entity in kind.schema.columns]


def _types(kind: EventKind) -> dict[str, str]:
    return {name: duckdb_type(str(column.dtype)) for name, column in kind.schema.columns.items()}


def _table(kind: EventKind) -> str:
    return f"{_STATE}.{identifier(kind.name)}"


def _newest(view: FeatureView) -> str:
    newest = f"row_number() OVER (PARTITION BY {identifier(view.entity)} ORDER BY event_at DESC, created_at DESC) = 1"
    return f"FROM (\n{view.sql}\n) QUALIFY {newest}"
