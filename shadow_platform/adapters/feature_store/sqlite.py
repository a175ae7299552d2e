"""Feast's SQLite online store, made safe to write out of order and quick to read while it is written.

Belongs here: what differs from Feast's own store. Loaded by Feast alone, through ``online_store.type`` in
``feature_store.yaml``; nothing else imports it, because it imports Feast. Upstream: feast. Downstream: feast, and
``FeastOnline`` through ``plain_lookup``.

Feast's store keeps one row a value, lets an older value replace a newer one, keeps whole seconds of local time, and
blocks readers while it commits. This one keeps one row an entity, so that its values always belong together and are
read in one step; refuses the older row in the same statement; keeps UTC microseconds; and uses a write-ahead log.

A table ``<Feast's name>_latest`` has the columns ``entity_key``, ``event_us``, ``created_us``, ``scalars`` (JSON object
of the values that JSON keeps exactly) and ``others`` (Feast's ``Map`` message of the rest, mostly null).
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

from shadow_platform.adapters.feature_store.online import Moments, PlainLookup, PlainRow, PlainStored
from shadow_platform.adapters.feature_store.packing import (
    Answer,
    KeysOfEntity,
    StoredRow,
    answered,
    microseconds,
    moment_of,
    pack,
    pack_plain,
    unpack,
    unpack_plain,
)

WRITE_BUSY_TIMEOUT_MS = 10_000
READ_BUSY_TIMEOUT_MS = 100
"""With a write-ahead log a reader waits for nobody, except while the log is recovered or removed."""
READ_CACHE_KIB = 32_768
# SQLite takes at most 32,766 parameters a statement.
KEYS_PER_QUERY = 1_024

_Stored = tuple[bytes, int, int | None, str, bytes | None]


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's own configuration."""

    type: Literal["shadow_platform.adapters.feature_store.sqlite.GuardedSqliteOnlineStore"] = (
        "shadow_platform.adapters.feature_store.sqlite.GuardedSqliteOnlineStore"  # type: ignore[assignment]
    )


class GuardedSqliteOnlineStore(SqliteOnlineStore):
    """SQLite online store in which the newest ``event_at`` wins, and of equal ones the newest ``created_at``.

    A row is replaced as a whole: a value that the newer row does not bring is gone.
    """

    _reading: sqlite3.Connection | None = None
    _read_file: tuple[int, int] | None = None

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        *_entities: Any,
        **_options: Any,
    ) -> None:
        """Create and drop tables; rows that a table of Feast's own layout holds are taken over."""
        connection = self._get_conn(config)
        connection.execute("PRAGMA journal_mode = WAL")
        for view in tables_to_keep:
            connection.execute(
                f"""CREATE TABLE IF NOT EXISTS {_table_name(config, view)} (
                    entity_key BLOB PRIMARY KEY, event_us INTEGER NOT NULL, created_us INTEGER,
                    scalars TEXT NOT NULL, others BLOB) WITHOUT ROWID"""
            )
            _take_over(connection, config, view)
        for view in tables_to_delete:
            for name in (_table_name(config, view), _quoted(_feast_name(config, view))):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.commit()

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[StoredRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Upsert rows in one transaction, except where the stored row is newer."""
        version = config.entity_key_serialization_version
        rows = (
            (
                serialize_entity_key(key, version),
                microseconds(event_at),
                None if created_at is None else microseconds(created_at),
                *_text(*pack(values)),
            )
            for key, values, event_at, created_at in data
        )
        connection = self._get_conn(config)
        with connection:
            _upsert(connection, config, table, rows)
        if progress:
            progress(len(data))

    def plain_write(self, config: RepoConfig, table: FeatureView, join_key: str, rows: Sequence[PlainStored]) -> None:
        """Write as ``online_write_batch`` does, plain values of entities with one join key."""
        key_of = KeysOfEntity(config, join_key)
        stored = ((key_of(row.key), row.event_us, row.created_us, *_text(*pack_plain(row.values))) for row in rows)
        connection = self._get_conn(config)
        with connection:
            _upsert(connection, config, table, stored)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """Latest values of each key in the order given, ``(None, None)`` where there is no row."""
        keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]
        found = {row[0]: row for row in self._select(config, table)(list(dict.fromkeys(keys)))}
        wanted = None if requested_features is None else frozenset(requested_features)
        answers: list[Answer] = []
        for key in keys:
            if key not in found:
                answers.append((None, None))
                continue
            _, moment, scalars, others = found[key]
            answers.append(answered(moment_of(moment), unpack(scalars, others), wanted))
        return answers

    def plain_lookup(self, config: RepoConfig, table: FeatureView, join_key: str) -> PlainLookup:
        """Lookups of entities with one join key: what ``online_read`` says, as plain values.

        Building a message for each value costs more than the lookup itself.
        """
        select = self._select(config, table)
        key_of = KeysOfEntity(config, join_key)

        def look_up(values: Sequence[str]) -> dict[str, PlainRow]:
            keys = {key_of(value): value for value in values}
            return {
                keys[key]: (moment_of(moment), unpack_plain(scalars, others))
                for key, moment, scalars, others in select(list(keys))
            }

        return look_up

    def moments(self, config: RepoConfig, table: FeatureView, join_key: str, keys: Sequence[str]) -> dict[str, Moments]:
        """When the stored rows became true and were created, without their values."""
        key_of = KeysOfEntity(config, join_key)
        values = {key_of(value): value for value in keys}
        select = self._select(config, table, "event_us, coalesce(created_us, 0)")
        return {values[key]: (event_us, created_us) for key, event_us, created_us in select(list(values))}

    def _select(
        self, config: RepoConfig, table: FeatureView, columns: str = "event_us, scalars, others"
    ) -> Callable[[list[bytes]], Iterator[Any]]:
        """Reads key and columns of the rows of distinct keys, in no order."""
        path = Path(self._get_db_path(config))
        sql = f"SELECT entity_key, {columns} FROM {_table_name(config, table)} WHERE entity_key IN "

        def select(keys: list[bytes]) -> Iterator[Any]:
            cursor = self._read_connection(path).cursor()
            for first in range(0, len(keys), KEYS_PER_QUERY):
                part = keys[first : first + KEYS_PER_QUERY]
                # Rounded up to a power of two, so that a dozen prepared statements serve every number of keys.
                part += part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))
                yield from cursor.execute(f"{sql}({','.join('?' * len(part))})", part).fetchall()

        return select

    def _read_connection(self, path: Path) -> sqlite3.Connection:
        """Connection to the file that has this name now; raises ``OSError`` when there is none.

        A file that was replaced or deleted can still be read by who has it open, and would be for ever.
        """
        status = path.stat()
        if self._reading is None or self._read_file != (status.st_dev, status.st_ino):
            if self._reading is not None:
                self._reading.close()
            uri = f"{path.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA busy_timeout = {READ_BUSY_TIMEOUT_MS}")
            connection.execute(f"PRAGMA cache_size = -{READ_CACHE_KIB}")
            connection.execute("PRAGMA query_only = ON")
            self._reading, self._read_file = connection, (status.st_dev, status.st_ino)
        return self._reading

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_new = self._conn is None
        connection: sqlite3.Connection = super()._get_conn(config)
        if is_new:
            connection.execute(f"PRAGMA busy_timeout = {WRITE_BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _feast_name(config: RepoConfig, view: FeatureView) -> str:
    name: str = compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning)
    return name


def _table_name(config: RepoConfig, view: FeatureView) -> str:
    return _quoted(f"{_feast_name(config, view)}_latest")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _upsert(connection: sqlite3.Connection, config: RepoConfig, view: FeatureView, rows: Iterable[_Stored]) -> None:
    connection.executemany(
        f"""INSERT INTO {_table_name(config, view)} AS stored VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (entity_key) DO UPDATE SET event_us = excluded.event_us, created_us = excluded.created_us,
            scalars = excluded.scalars, others = excluded.others
        WHERE (excluded.event_us, coalesce(excluded.created_us, 0)) >= (stored.event_us, coalesce(stored.created_us, 0))
        """,
        rows,
    )


def _take_over(connection: sqlite3.Connection, config: RepoConfig, view: FeatureView) -> None:
    """Turn a table with a row a value, as this store kept it once, into one with a row an entity."""
    name = _feast_name(config, view)
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone():
        return
    # The sums hide the columns' declared type from Feast's global converter of local timestamps. Of an entity's values
    # only those of its newest moment belong together.
    cells = connection.execute(
        f"""SELECT entity_key, feature_name, value, event_ts + 0, created_ts + 0 FROM {_quoted(name)} AS cell
        WHERE event_ts = (SELECT max(event_ts) FROM {_quoted(name)} AS other WHERE other.entity_key = cell.entity_key)
        ORDER BY entity_key"""
    )

    def rows() -> Iterator[_Stored]:
        for key, group in groupby(cells, key=itemgetter(0)):
            found = list(group)
            created = max((cell[4] for cell in found if cell[4] is not None), default=None)
            yield key, found[0][3], created, *_text(*pack({cell[1]: Value.FromString(cell[2]) for cell in found}))

    with connection:
        _upsert(connection, config, view, rows())
        connection.execute(f"DROP TABLE {_quoted(name)}")


def _text(scalars: bytes, others: bytes | None) -> tuple[str, bytes | None]:
    """Packed values; SQLite shows JSON to people when it is text."""
    return scalars.decode(), others
