"""Feast's SQLite online store, made safe to write out of order and to read while it is written.

Belongs here: what differs from Feast's own store. Loaded by Feast alone, through ``online_store.type`` in
``feature_store.yaml``; nothing else imports it, because it imports Feast. Upstream: feast. Downstream: feast.

Feast's store lets an older value replace a newer one, keeps whole seconds of local time, and blocks readers while it
commits. This one refuses the older value in the same statement, keeps UTC microseconds, and uses a write-ahead log.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from feast import Entity
from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
BUSY_TIMEOUT_MS = 10_000
# SQLite takes at most 32,766 parameters a statement.
KEYS_PER_QUERY = 1_000

_Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
_Answer = tuple[datetime | None, dict[str, Value] | None]


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's own configuration."""

    type: Literal["shadow_platform.adapters.feature_store.sqlite.GuardedSqliteOnlineStore"] = (
        "shadow_platform.adapters.feature_store.sqlite.GuardedSqliteOnlineStore"  # type: ignore[assignment]
    )


class GuardedSqliteOnlineStore(SqliteOnlineStore):
    """SQLite online store in which the newest ``event_at`` wins, and of equal ones the newest ``created_at``."""

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create and drop tables, in a database with a write-ahead log."""
        self._get_conn(config).execute("PRAGMA journal_mode = WAL")
        super().update(config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial)
        self._get_conn(config).commit()

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[_Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Upsert rows in one transaction, except where the stored row is newer."""
        name = _table_name(config, table)
        sql = f"""INSERT INTO {name} (entity_key, feature_name, value, event_ts, created_ts) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (entity_key, feature_name) DO UPDATE
            SET value = excluded.value, event_ts = excluded.event_ts, created_ts = excluded.created_ts
            WHERE (excluded.event_ts, coalesce(excluded.created_ts, 0)) >= (event_ts, coalesce(created_ts, 0))"""
        connection = self._get_conn(config)
        with connection:
            connection.executemany(sql, _cells(config, data))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[_Answer]:
        """Latest values of each key in the order given, ``(None, None)`` where there is no row."""
        wanted = None if requested_features is None else set(requested_features)
        keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]
        # The sum hides the column's declared type from Feast's global converter of local timestamps.
        sql = f"SELECT entity_key, feature_name, value, event_ts + 0 FROM {_table_name(config, table)}"
        cursor = self._get_conn(config).cursor()
        found: dict[bytes, tuple[int, dict[str, Value]]] = {}
        for first in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[first : first + KEYS_PER_QUERY]
            for key, feature, value, moment in cursor.execute(
                f"{sql} WHERE entity_key IN ({','.join('?' * len(part))})", part
            ):
                newest, values = found.get(key, (moment, {}))
                if wanted is None or feature in wanted:
                    values[feature] = Value.FromString(value)
                found[key] = (max(newest, moment), values)
        return [_answer(found.get(key)) for key in keys]

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_new = self._conn is None
        connection: sqlite3.Connection = super()._get_conn(config)
        if is_new:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _table_name(config: RepoConfig, table: FeatureView) -> str:
    name = compute_table_id(config.project, table, config.registry.enable_online_feature_view_versioning)
    return '"' + name.replace('"', '""') + '"'


def _cells(config: RepoConfig, data: Sequence[_Row]) -> Iterable[tuple[bytes, str, bytes, int, int | None]]:
    for key, values, event_at, created_at in data:
        encoded = serialize_entity_key(key, config.entity_key_serialization_version)
        moment, created = _microseconds(event_at), None if created_at is None else _microseconds(created_at)
        for name, value in values.items():
            yield encoded, name, value.SerializeToString(), moment, created


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def _answer(row: tuple[int, dict[str, Value]] | None) -> _Answer:
    return (None, None) if row is None else (_EPOCH + row[0] * _MICROSECOND, row[1])
