"""Materialization: the latest offline rows of a window brought online through Feast, and proof that they arrived.

Belongs here: Feast's faults in this step, closed: a killed run leaves a view that the SDK refuses to serve, two runs at
once interfere, and a reported success may have written nothing. Does not belong here: reading history (``store``),
computing features. Upstream: the offline store, the registry. Downstream: ``store``.
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from filelock import FileLock, Timeout

from shadow_platform.adapters.feature_store.online import Moments, PlainReads, entity_key, explained
from shadow_platform.contracts.errors import AlreadyRunning, FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.contracts.use_case import FeatureView, UseCase

if TYPE_CHECKING:
    import feast
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.repo_config import RepoConfig

    from feature_repo.declarations import FeastObjects

LOCK_TIMEOUT_S = 60.0
_SILENT = Lock()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Materializer:
    """Materialization of one use case's views."""

    layout: Layout
    use_case: UseCase
    stores: FeatureStores
    objects: "FeastObjects"
    config: "RepoConfig"
    sdk: "feast.FeatureStore"
    online_store: "OnlineStore"

    def run(self, start: datetime, end: datetime) -> dict[str, int]:
        """Write each entity's latest row in ``[start, end]`` to the online store; returns rows a view, verified.

        Raises:
            AlreadyRunning: another process is materializing this use case.
            FeatureStoreError: rows are missing, Feast fails, or the online store does not hold what it should.
        """
        if start >= end:
            raise FeatureStoreError(f"window [{start}, {end}] is empty; the start must be before the end")
        with exclusively(self.layout, f"materialize-{self.use_case.name}"):
            self._recover()
            return {view.name: self._materialize_view(view, start, end) for view in self.use_case.views}

    def recover(self) -> tuple[str, ...]:
        """Free views that a killed materialization left unusable for the SDK; returns their names."""
        with exclusively(self.layout, f"materialize-{self.use_case.name}"):
            return self._recover()

    def _materialize_view(self, view: FeatureView, start: datetime, end: datetime) -> int:
        declared = self.objects.views[view.name]
        require_rows(view, declared)
        self._require_registered(view, declared)
        require_published(view, self.layout, self.stores, self.use_case)
        failed = f"view {view.name!r} could not be materialized"
        with explained(failed, "apply the definitions, then retry"):
            expected = self._latest_rows(view, declared, start, end)
            with _silence():
                self.sdk.materialize(start, end, feature_views=[declared.name])
        with explained(failed, "check the online store"):
            stored = self._stored_moments(view, declared, expected[view.entity].tolist())
        behind = [
            key
            for key, *moments in expected[[view.entity, "event_us", "created_us"]].itertuples(index=False)
            if key not in stored or stored[key] < tuple(moments)
        ]
        if behind:
            raise FeatureStoreError(
                f"view {view.name!r}: Feast reported success, but {len(behind)} of {len(expected)} entities are "
                f"missing or stale online, first {behind[0]!r}; check the store's address and retry"
            )
        return len(expected)

    def _latest_rows(
        self, view: FeatureView, declared: "feast.FeatureView", start: datetime, end: datetime
    ) -> pd.DataFrame:
        from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

        store = get_offline_store_from_config(self.config.offline_store)
        job = store.pull_latest_from_table_or_query(
            config=self.config,
            data_source=cast(Any, declared.batch_source),
            join_key_columns=[view.entity],
            feature_name_columns=[],
            timestamp_field="event_at",
            created_timestamp_column="created_at",
            start_date=start,
            end_date=end,
        )
        rows: pd.DataFrame = job.to_df()
        return rows.assign(event_us=_microseconds(rows["event_at"]), created_us=_microseconds(rows["created_at"]))

    def _stored_moments(
        self, view: FeatureView, declared: "feast.FeatureView", keys: list[str]
    ) -> Mapping[str, Moments | tuple[int, float]]:
        if isinstance(self.online_store, PlainReads):
            return self.online_store.moments(self.config, declared, view.entity, keys)
        # Feast's own interface does not tell when a row was created.
        found = self.online_store.online_read(self.config, declared, [entity_key(view.entity, key) for key in keys])
        moments = pd.Series(dict(zip(keys, (moment for moment, _ in found), strict=True)), dtype=object).dropna()
        return {str(key): (event_us, math.inf) for key, event_us in _microseconds(moments).items()}

    def _require_registered(self, view: FeatureView, declared: "feast.FeatureView") -> None:
        """Feast materializes what its registry holds: a feature declared since would silently be missing online."""
        with explained(
            f"view {view.name!r} is not registered", "apply the definitions, or check the registry's address"
        ):
            registered = self.sdk.get_feature_view(declared.name)
        if _shape(registered) != _shape(declared):
            raise FeatureStoreError(
                f"view {view.name!r} is registered with {_shape(registered)}, but declared with {_shape(declared)}; "
                "apply the definitions first"
            )

    def _recover(self) -> tuple[str, ...]:
        from feast.feature_view import FeatureViewState

        with explained("registry does not answer", "check its address in feature_store.yaml"):
            stuck = [
                view
                for view in self.sdk.list_feature_views()
                if view.name in {own.name for own in self.objects.views.values()}
                and view.state == FeatureViewState.MATERIALIZING
            ]
            for view in stuck:
                # Applying the view again is no way out: Feast takes views that differ in state alone for equal. An
                # empty interval is a difference, and recording one makes the view available.
                end = max((interval[1] for interval in view.materialization_intervals), default=_EPOCH)
                self.sdk.registry.apply_materialization(view, self.sdk.project, end, end)
        return tuple(view.name for view in stuck)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Feast prints its progress, which would drown the run's own log.

    What is redirected is the whole process's: threads that did so at once would leave it redirected.
    """
    with _SILENT, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _shape(view: "feast.FeatureView") -> dict[str, str]:
    """What decides what is materialized: where rows lie, and every column with its type."""
    columns = {column.name: str(column.dtype) for column in (*view.entity_columns, *view.features)}
    return {"source": str(cast(Any, view.batch_source).path), **columns}


def require_rows(view: FeatureView, declared: "feast.FeatureView") -> None:
    """Raise ``FeatureStoreError`` if a view has no partition at all where Feast looks for them."""
    from shadow_platform.adapters.feature_store.objects import Partitions

    rows = Partitions(cast(Any, declared.batch_source).path)
    if not rows.files:
        raise FeatureStoreError(f"view {view.name!r} has no rows below {rows.folder}; materialize its partitions first")


def require_published(view: FeatureView, layout: Layout, stores: FeatureStores, use_case: UseCase) -> None:
    """Raise ``FeatureStoreError`` if other machines read a copy of the view's rows and it is not one of those here."""
    if stores.features_url is None:
        return
    from shadow_platform.adapters.feature_store.objects import unpublished

    days = unpublished(layout, stores.features_url, use_case.name, view.name)
    if days:
        raise FeatureStoreError(
            f"view {view.name!r}: {len(days)} partitions here are not those in {stores.features_url}, first {days[0]}; "
            "publish them by making these days again, or remove them here if another machine makes them"
        )


def _microseconds(moments: "pd.Series[Any]") -> "pd.Series[int]":
    """Since 1970 in UTC, 0 for none: as the platform's online stores compare them."""
    return pd.to_datetime(moments, utc=True).fillna(_EPOCH).dt.as_unit("us").astype("int64")


@contextlib.contextmanager
def exclusively(layout: Layout, work: str) -> Iterator[None]:
    """One process of this machine at a time; raises ``AlreadyRunning`` when another does not end."""
    path = layout.locks(f"feast-{work}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT_S):
            yield
    except Timeout as error:
        raise AlreadyRunning(f"another process holds {path} for {work}; wait for it to end, then retry") from error
