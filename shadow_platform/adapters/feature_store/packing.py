"""How the platform's online stores keep a row and its moments, so that either answers what was written.

Belongs here: the form of a row. Does not belong here: where it is kept (``sqlite``, ``redis``). Imported by modules
that Feast loads, because it imports Feast. Upstream: feast. Downstream: ``sqlite``, ``redis``.

A row is packed as a whole: a JSON object of the values that JSON keeps exactly, which is quick to read, and Feast's
``Map`` message of the rest, which is mostly none.
"""

import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import orjson
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import RepoConfig

from shadow_platform.adapters.feature_store.online import PlainValue, entity_key, plain

StoredRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""What Feast writes: key, values, when they became true, when they were created."""
Answer = tuple[datetime | None, dict[str, Value] | None]
"""What Feast reads: when the values became true, and the values."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCALARS: Mapping[type, str] = {float: "double_val", int: "int64_val", str: "string_val", bool: "bool_val"}
"""Kinds of value that come back from JSON as they were: what Python type each is there, and its name in Feast."""
_LENGTH = struct.Struct("<I")
"""How Feast writes the length of a key's value, which comes last."""


def pack(values: Mapping[str, Value]) -> tuple[bytes, bytes | None]:
    """What JSON keeps exactly, and the rest."""
    scalars: dict[str, PlainValue] = {}
    others: dict[str, Value] = {}
    for name, value in values.items():
        found = plain(value)
        is_finite = not isinstance(found, float) or math.isfinite(found)
        if is_finite and _SCALARS.get(type(found)) == value.WhichOneof("val"):
            scalars[name] = found
        else:
            others[name] = value
    return orjson.dumps(scalars), Map(val=others).SerializeToString() if others else None


def pack_plain(values: Mapping[str, PlainValue]) -> tuple[bytes, bytes | None]:
    """What ``pack`` makes of the same values as Feast's messages; a NaN is no value."""
    scalars: dict[str, PlainValue] = {}
    others: dict[str, Value] = {}
    for name, value in values.items():
        if value is None or value != value:
            others[name] = Value()
        elif isinstance(value, float) and math.isinf(value):
            others[name] = Value(double_val=value)
        else:
            scalars[name] = value
    return orjson.dumps(scalars), Map(val=others).SerializeToString() if others else None


def unpack(scalars: str | bytes, others: bytes | None) -> dict[str, Value]:
    """The values as Feast's messages."""
    values = {
        name: Value() if value is None else Value(**{_SCALARS[type(value)]: value})
        for name, value in orjson.loads(scalars).items()
    }
    if others:
        values.update(Map.FromString(others).val)
    return values


def unpack_plain(scalars: str | bytes, others: bytes | None) -> dict[str, PlainValue]:
    """The values without Feast's messages, which cost more than the lookup."""
    found: dict[str, PlainValue] = orjson.loads(scalars)
    if others:
        found.update((name, plain(value)) for name, value in Map.FromString(others).val.items())
    return found


def answered(moment: datetime, values: dict[str, Value], requested: frozenset[str] | None) -> Answer:
    """The answer with the requested values alone; ``None`` requests all."""
    return moment, {name: value for name, value in values.items() if requested is None or name in requested}


def microseconds(moment: datetime | None) -> int:
    """Since 1970 in UTC; 0 for no moment."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def moment_of(since_1970_us: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=since_1970_us)


class KeysOfEntity:
    """Makes Feast's serialized keys of entities with one join key of text, without its messages."""

    def __init__(self, config: RepoConfig, join_key: str) -> None:
        empty: bytes = serialize_entity_key(entity_key(join_key, ""), config.entity_key_serialization_version)
        self._prefix = empty[: -_LENGTH.size]

    def __call__(self, value: str) -> bytes:
        """The key of one entity."""
        text = value.encode()
        return self._prefix + _LENGTH.pack(len(text)) + text
