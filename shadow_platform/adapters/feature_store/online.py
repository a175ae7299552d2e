"""The online store's reader, and what reading and writing it share.

Belongs here: what the serving process needs of Feast, at the cost of a lookup. Does not belong here: the SDK, pandas,
the registry, and enforcing the time to live (``domain.serving``). Upstream: Feast's online store. Downstream: the
service, through ``FeastStore.online()``; ``store``.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import UseCase

if TYPE_CHECKING:
    import feast
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.repo_config import RepoConfig

    from feature_repo.declarations import FeastObjects


class FeastOnline:
    """Latest feature rows by entity, read through Feast's online store interface, without the SDK's cost per call.

    The views come from the use case's declaration, so a registry that does not answer does not stop reading. The time
    to live is not enforced here: every row says when it became true.
    """

    def __init__(self, config: "RepoConfig", use_case: UseCase, objects: "FeastObjects") -> None:
        self._config = config
        self._store = open_online_store(config)
        self._views = [
            (view.name, view.entity, objects.views[view.name], [f.name for f in use_case.view_features(view.name)])
            for view in use_case.views
        ]

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        """For each request's join keys: view name -> row; a view without a row is absent. One lookup a view.

        Raises:
            FeatureStoreError: the store does not answer.
        """
        answers: list[dict[str, OnlineRow]] = [{} for _ in entities]
        for name, join_key, view, features in self._views:
            keys = list(dict.fromkeys(str(e[join_key]) for e in entities if e.get(join_key) is not None))
            if not keys:
                continue
            rows = self._lookup(name, join_key, view, keys, features)
            for answer, entity in zip(answers, entities, strict=True):
                row = rows.get(str(entity.get(join_key)))
                if row is not None:
                    answer[name] = row
        return answers

    def _lookup(
        self, name: str, join_key: str, view: "feast.FeatureView", keys: list[str], features: list[str]
    ) -> dict[str, OnlineRow]:
        """Rows by key. Redis answers a missing entity with nulls alone, so such a row counts as none."""
        try:
            found = self._store.online_read(self._config, view, [entity_key(join_key, key) for key in keys], features)
        except Exception as error:
            raise FeatureStoreError(
                f"view {name!r} cannot be read online: {one_line(error)}; materialize feature_definitions and "
                "online_features, or check the online store's address"
            ) from error
        return {
            key: OnlineRow({feature: _plain(values.get(feature)) for feature in features}, moment)
            for key, (moment, values) in zip(keys, found, strict=True)
            if moment is not None and values is not None and any(_plain(value) is not None for value in values.values())
        }


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
        raise FeatureStoreError(f"feature store: {what}: {one_line(error)}; {remedy}") from error


def one_line(error: Exception) -> str:
    """Kind and text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def entity_key(join_key: str, value: str) -> "EntityKey":
    """Key of one entity as Feast stores it."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=[join_key], entity_values=[Value(string_val=value)])


def _plain(value: "Value | None") -> float | int | str | None:
    kind = None if value is None else value.WhichOneof("val")
    return None if kind is None else cast("float | int | str", getattr(value, kind))
