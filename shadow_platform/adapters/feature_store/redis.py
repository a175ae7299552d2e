"""Feast's online features in Redis: a string a row, read many at a time, and never replaced by an older one.

Belongs here: what the online store of ``FEATURE_STORE=scale`` does. Loaded by Feast alone, through
``online_store.type`` in ``feature_store.scale.yaml``; nothing else imports it, because it imports Feast and redis.
Upstream: feast, a server that speaks Redis' protocol. Downstream: feast, and ``FeastOnline`` through ``plain_lookup``.

Feast's own Redis store keeps a hash field a value, which costs a message each to read; compares a row's time in one
step and writes it in another, so that two writers can leave the older row; and drops a correction of the same moment.
This one compares and writes in one script on the server: the newest ``event_at`` wins, and of equal ones the newest
``created_at``. Rows do not expire; their time to live is the reader's concern, as it is with SQLite.

A row's key is ``<project>:<Feast's name of the view>:<Feast's serialized entity key>``, its value a header
(microseconds of ``event_at`` and of ``created_at``, length of the scalars), the scalars and the rest (``packing``).
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, cast

from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import SecretStr
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.retry import Retry

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

_T = TypeVar("_T")
KEYS_PER_CALL = 1_000
"""The server answers nobody else during a call."""
_HEADER = struct.Struct(">qqI")
_MOMENTS = struct.Struct(">qq")
# Lua's numbers hold the microseconds exactly until the year 2255.
_WRITE_UNLESS_OLDER = """
for place, key in ipairs(KEYS) do
    local stored = redis.call('GETRANGE', key, 0, 15)
    local is_newest = true
    if #stored == 16 then
        local event, created = struct.unpack('>i8i8', stored)
        local new_event, new_created = struct.unpack('>i8i8', ARGV[place])
        is_newest = new_event > event or (new_event == event and new_created >= created)
    end
    if is_newest then
        redis.call('SET', key, ARGV[place])
    end
end
"""


class GuardedRedisOnlineStoreConfig(FeastConfigBaseModel):
    """Where the server is.

    Attributes:
        url: ``redis://host:port``, ``rediss://`` with TLS; user, password and database as redis-py takes them.
        timeout_s: longest wait for a connection, and for an answer.
    """

    type: Literal["shadow_platform.adapters.feature_store.redis.GuardedRedisOnlineStore"] = (
        "shadow_platform.adapters.feature_store.redis.GuardedRedisOnlineStore"
    )
    url: SecretStr
    timeout_s: float = 1.0


class GuardedRedisOnlineStore(OnlineStore):
    """Online store on one Redis server, in which a row is replaced as a whole and by a newer one alone."""

    _client: Redis | None = None

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        *_others: Any,
        **_options: Any,
    ) -> None:
        """Remove the rows of views that are gone; raises when the server does not answer."""
        client = self._connected(config)
        client.ping()
        for view in tables_to_delete:
            pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", _prefix(config, view)) + b"*"
            for part in _parts(list(client.scan_iter(pattern, count=KEYS_PER_CALL))):
                client.unlink(*part)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], _entities: Sequence[Any]) -> None:
        """Remove the rows of these views."""
        self.update(config, tables)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[StoredRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows, except where the stored row is newer; each is written wholly or not at all."""
        write = self._connected(config).register_script(_WRITE_UNLESS_OLDER)
        prefix, version = _prefix(config, table), config.entity_key_serialization_version
        for part in _parts(data):
            keys = [prefix + serialize_entity_key(key, version) for key, *_ in part]
            write(keys, [_encoded(row) for row in part])
            if progress:
                progress(len(part))

    def plain_write(self, config: RepoConfig, table: FeatureView, join_key: str, rows: Sequence[PlainStored]) -> None:
        """Write as ``online_write_batch`` does, plain values of entities with one join key."""
        write = self._connected(config).register_script(_WRITE_UNLESS_OLDER)
        prefix, key_of = _prefix(config, table), KeysOfEntity(config, join_key)
        for part in _parts(rows):
            keys = [prefix + key_of(row.key) for row in part]
            write(keys, [_framed(row.event_us, row.created_us or 0, *pack_plain(row.values)) for row in part])

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """Latest values of each key in the order given, ``(None, None)`` where there is no row."""
        prefix, version = _prefix(config, table), config.entity_key_serialization_version
        requested = None if requested_features is None else frozenset(requested_features)
        found = _values(self._connected(config), [prefix + serialize_entity_key(key, version) for key in entity_keys])
        return [
            (None, None) if row is None else answered(_event_at(row), unpack(*_packed(row)), requested) for row in found
        ]

    def plain_lookup(self, config: RepoConfig, table: FeatureView, join_key: str) -> PlainLookup:
        """Lookups of entities with one join key: what ``online_read`` says, as plain values."""
        client, prefix, key = self._connected(config), _prefix(config, table), KeysOfEntity(config, join_key)

        def look_up(values: Sequence[str]) -> dict[str, PlainRow]:
            found = _values(client, [prefix + key(value) for value in values])
            return {
                value: (_event_at(row), unpack_plain(*_packed(row)))
                for value, row in zip(values, found, strict=True)
                if row is not None
            }

        return look_up

    def moments(self, config: RepoConfig, table: FeatureView, join_key: str, keys: Sequence[str]) -> dict[str, Moments]:
        """When the stored rows became true and were created, without their values."""
        client, prefix, key_of = self._connected(config), _prefix(config, table), KeysOfEntity(config, join_key)
        found: dict[str, Moments] = {}
        for part in _parts(keys):
            with client.pipeline(transaction=False) as calls:
                for key in part:
                    calls.getrange(prefix + key_of(key), 0, _MOMENTS.size - 1)
                heads = calls.execute()
            found.update((key, _MOMENTS.unpack(head)) for key, head in zip(part, heads, strict=True) if head)
        return found

    def _connected(self, config: RepoConfig) -> Redis:
        """Client that fails soon, and connects anew at once when the server was restarted."""
        if self._client is None:
            online: GuardedRedisOnlineStoreConfig = config.online_store
            self._client = Redis.from_url(
                online.url.get_secret_value(),
                socket_timeout=online.timeout_s,
                socket_connect_timeout=online.timeout_s,
                retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            )
        return self._client


def _prefix(config: RepoConfig, view: FeatureView) -> bytes:
    name = compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)
    return f"{config.project}:{name}:".encode()


def _parts(found: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for first in range(0, len(found), KEYS_PER_CALL):
        yield found[first : first + KEYS_PER_CALL]


def _values(client: Redis, keys: Sequence[bytes]) -> list[bytes | None]:
    return [row for part in _parts(keys) for row in cast("list[bytes | None]", client.mget(part))]


def _encoded(row: StoredRow) -> bytes:
    _, values, event_at, created_at = row
    return _framed(microseconds(event_at), microseconds(created_at), *pack(values))


def _framed(event_us: int, created_us: int, scalars: bytes, others: bytes | None) -> bytes:
    return _HEADER.pack(event_us, created_us, len(scalars)) + scalars + (others or b"")


def _event_at(row: bytes) -> datetime:
    return moment_of(_HEADER.unpack_from(row)[0])


def _packed(row: bytes) -> tuple[bytes, bytes | None]:
    end = _HEADER.size + _HEADER.unpack_from(row)[2]
    return row[_HEADER.size : end], row[end:] or None
