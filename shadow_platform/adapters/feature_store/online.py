"""The online store's reader, and what reading and writing it share.

Belongs here: what the serving process needs of Feast, at the cost of a lookup. Does not belong here: the SDK, pandas,
the registry, and enforcing the time to live (``domain.serving``). Upstream: Feast's online store. Downstream: the
service, through ``FeastStore.online()``; ``store``.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, runtime_checkable

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import FeatureView, UseCase

if TYPE_CHECKING:
    import feast
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

    from feature_repo.declarations import FeastObjects


PlainValue = float | int | str | None
PlainRow = tuple[datetime, dict[str, PlainValue]]
"""When the values became true, and the values."""
Moments = tuple[int, int]
"""Microseconds since 1970 of a row's two moments, by which it is newer than another; 0 for one that is not known."""
PlainLookup = Callable[[Sequence[str]], Mapping[str, PlainRow]]
"""Rows by the join key's value; an entity without a row is absent."""

EXTRAS = {"boto3": "s3", "psycopg": "postgres", "ray": "ray", "redis": "redis"}
"""Extra of the platform that installs a package which only ``FEATURE_STORE=scale`` needs."""


@runtime_checkable
class PlainReads(Protocol):
    """An online store that can leave out Feast's messages, which cost more than the lookup."""

    def plain_lookup(self, config: "RepoConfig", table: "feast.FeatureView", join_key: str) -> PlainLookup:
        """Lookups in one view, with everything prepared that does not change between them."""

    def moments(
        self, config: "RepoConfig", table: "feast.FeatureView", join_key: str, keys: Sequence[str]
    ) -> Mapping[str, Moments]:
        """When the stored rows became true and were created, without their values; absent where there is no row."""


class PlainStored(NamedTuple):
    """A row to be written: the join key's value, plain values, and microseconds since 1970 of its two moments."""

    key: str
    values: Mapping[str, PlainValue]
    event_us: int
    created_us: int | None


@runtime_checkable
class PlainWrites(Protocol):
    """An online store that takes rows without Feast's messages, which cost more than writing them."""

    def plain_write(
        self, config: "RepoConfig", table: "feast.FeatureView", join_key: str, rows: Sequence[PlainStored]
    ) -> None:
        """Write rows as ``online_write_batch`` would."""


class _View(NamedTuple):
    name: str
    join_key: str
    features: frozenset[str]
    look_up: PlainLookup


class FeastOnline:
    """Latest feature rows by entity, read from Feast's online store, without the SDK's cost per call.

    A store that offers plain values is asked for them, any other is read through Feast's own interface. The views
    come from the use case's declaration, so a registry that does not answer does not stop reading. The time to live is
    not enforced here: every row says when it became true.
    """

    def __init__(self, config: "RepoConfig", use_case: UseCase, objects: "FeastObjects") -> None:
        self._config = config
        self._store = open_online_store(config)
        self._views = [self._prepared(use_case, view, objects.views[view.name]) for view in use_case.views]

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        """For each request's join keys: view name -> row; a view without a row is absent. One lookup a view.

        Raises:
            FeatureStoreError: the store does not answer.
        """
        answers: list[dict[str, OnlineRow]] = [{} for _ in entities]
        for view in self._views:
            asked = [entity.get(view.join_key) for entity in entities]
            keys = [key for key in dict.fromkeys(asked) if key is not None]
            if not keys:
                continue
            rows = _rows(view, keys)
            for answer, key in zip(answers, asked, strict=True):
                if key in rows:
                    answer[view.name] = rows[key]
        return answers

    def _prepared(self, use_case: UseCase, view: FeatureView, table: "feast.FeatureView") -> _View:
        features = [feature.name for feature in use_case.view_features(view.name)]
        look_up = (
            self._store.plain_lookup(self._config, table, view.entity)
            if isinstance(self._store, PlainReads)
            else partial(self._read_messages, table, view.entity, features)
        )
        return _View(view.name, view.entity, frozenset(features), look_up)

    def _read_messages(
        self, table: "feast.FeatureView", join_key: str, features: list[str], keys: Sequence[str]
    ) -> dict[str, PlainRow]:
        found = self._store.online_read(self._config, table, [entity_key(join_key, key) for key in keys], features)
        return {
            key: (moment, {feature: plain(value) for feature, value in values.items()})
            for key, (moment, values) in zip(keys, found, strict=True)
            if moment is not None and values is not None
        }


def _rows(view: _View, keys: Sequence[str]) -> dict[str | None, OnlineRow]:
    """Rows by key. Redis answers a missing entity with nulls alone, so such a row counts as none."""
    try:
        found = view.look_up(keys)
    except Exception as error:
        raise FeatureStoreError(
            f"view {view.name!r} cannot be read online: {one_line(error)}; materialize feature_definitions and "
            "online_features, or check the online store's address"
        ) from error
    rows: dict[str | None, OnlineRow] = {}
    for key, (moment, stored) in found.items():
        # A row written before the view got or lost a feature has other names.
        values = stored if stored.keys() == view.features else {name: stored.get(name) for name in view.features}
        if any(value is not None for value in values.values()):
            rows[key] = OnlineRow(values, moment)
    return rows


def open_online_store(config: "RepoConfig") -> "OnlineStore":
    """Feast's online store as configured, without its SDK; raises ``FeatureStoreError``."""
    from feast.infra.online_stores.helpers import get_online_store_from_config

    with explained("online store cannot be opened", "correct online_store in feature_store.yaml"):
        return get_online_store_from_config(config.online_store)


@contextlib.contextmanager
def explained(what: str, remedy: str) -> Iterator[None]:
    """Feast raises whatever its stores raise; callers see one kind of error that says what to do."""
    try:
        yield
    except FeatureStoreError:
        raise
    except Exception as error:
        raise FeatureStoreError(f"feature store: {what}: {one_line(error)}; {remedy_of(error, remedy)}") from error


def remedy_of(error: BaseException, otherwise: str) -> str:
    """What to install when the error comes of a package that is missing, or ``otherwise``."""
    cause: BaseException | None = error
    while cause is not None:
        package = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
        if package in EXTRAS:
            return f"pip install 'shadow-platform[{EXTRAS[package]}]'"
        cause = cause.__cause__ or cause.__context__
    return otherwise


def one_line(error: Exception) -> str:
    """Kind and text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def entity_key(join_key: str, value: str) -> "EntityKey":
    """Key of one entity as Feast stores it."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=[join_key], entity_values=[Value(string_val=value)])


def plain(value: "Value") -> PlainValue:
    """The value in Feast's message; ``None`` when it holds none."""
    kind = value.WhichOneof("val")
    return None if kind is None else cast("float | int | str", getattr(value, kind))
