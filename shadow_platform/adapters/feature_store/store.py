"""Feast: definitions, point-in-time retrieval for training, and the online store's writes.

Belongs here: everything that calls Feast, with its known faults closed: late rows leak unless asked not to, output may
be in random order, a killed materialization blocks reads, and a reported success may have written nothing. Does not
belong here: computing features, enforcing the time to live online (``domain.serving``). Upstream: the lake's feature
partitions, ``feature_repo``. Downstream: assets of features and training; the service, which reads through
``FeastStore.online()``. Feast costs seconds to import and is imported in functions only.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from shadow_platform.adapters.feature_store.configuration import repo_config, repo_folder
from shadow_platform.adapters.feature_store.materializing import (
    Materializer,
    exclusively,
    require_published,
    require_rows,
)
from shadow_platform.adapters.feature_store.online import FeastOnline, explained, open_online_store
from shadow_platform.adapters.feature_store.registering import first_or_after
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES, FeatureStores
from shadow_platform.contracts.use_case import Feature, FeatureView, UseCase

if TYPE_CHECKING:
    import feast
    from feast.infra.online_stores.online_store import OnlineStore
    from feast.repo_config import RepoConfig

    from feature_repo.declarations import FeastObjects

ROW_NUMBER = "shadow_row_number"


class FeastStore:
    """Feast for one use case. Opening it touches nothing; Feast is loaded on first use.

    Args:
        repo_path: folder with ``feature_store.yaml``; if it has none, the one shipped with the platform is used.
        stores: where features lie.
    """

    def __init__(
        self, layout: Layout, repo_path: Path, use_case: UseCase, stores: FeatureStores = LOCAL_STORES
    ) -> None:
        self.stores = stores
        self.layout = layout
        self.repo_path = repo_folder(repo_path)
        self.use_case = use_case

    @cached_property
    def objects(self) -> "FeastObjects":
        """What Feast must know of the use case."""
        from feature_repo.declarations import feast_objects

        return feast_objects(self.use_case, self.layout, self.stores)

    @cached_property
    def config(self) -> "RepoConfig":
        """Feast's configuration with the addresses filled in; raises ``FeatureStoreError`` if it is unusable."""
        return repo_config(self.repo_path, self.layout, self.stores)

    def apply(self) -> tuple[str, ...]:
        """Register the definitions and create the online tables; returns the names of the views in Feast.

        Other use cases' definitions in the same project stay.
        """
        with (
            exclusively(self.layout, "apply"),
            explained("definitions could not be applied", "check the registry's address"),
        ):
            self.layout.feast.mkdir(parents=True, exist_ok=True)
            # Feast takes a pattern of partitions for a path and warns that it does not exist.
            logging.getLogger("feast.infra.offline_stores.file_source").setLevel(logging.ERROR)
            sdk = self._sdk
            # Importing Feast sets filters of its own, so that this one must come later.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "On demand feature view is an experimental", RuntimeWarning)
                first_or_after(lambda: sdk.apply([*self.objects.all()], partial=True))
        return tuple(view.name for view in self.objects.views.values())

    def register_service(self, version: str, tags: Mapping[str, str]) -> str:
        """Register the feature service of a model version, or change its tags; returns its name in Feast."""
        service = self.objects.version_service(version, tags)
        with explained(f"feature service {service.name!r} could not be registered", "check the registry's address"):
            self.layout.feast.mkdir(parents=True, exist_ok=True)
            first_or_after(lambda: self._sdk.registry.apply_feature_service(service, self._sdk.project))
        return str(service.name)

    def applied_views(self) -> tuple[str, ...]:
        """Views of the use case that the registry knows, by the use case's own names."""
        if self.config.registry.path.startswith("sqlite:") and not (self.layout.feast / "registry.db").exists():
            return ()
        with explained("registry does not answer", "check its address in feature_store.yaml"):
            known = {view.name for view in self._sdk.list_feature_views()}
        return tuple(name for name, view in self.objects.views.items() if view.name in known)

    def historical(self, requests: pd.DataFrame) -> pd.DataFrame:
        """The requests with every view feature as it was known at ``requested_at``.

        Args:
            requests: the entities' join keys and ``requested_at`` (UTC); further columns are handed through.

        Returns:
            The same rows in the same order and index, with one more column a view feature: null where no row of the
            view was created by ``requested_at``, or the newest is older than its time to live.

        Raises:
            FeatureStoreError: a column or a view's rows are missing, or Feast returns another number of rows.
        """
        keys = [entity.join_key for entity in self.use_case.entities]
        missing = [name for name in (*keys, "requested_at") if name not in requests.columns]
        if missing:
            raise FeatureStoreError(f"requests have no {missing}; expected join keys {keys} and requested_at")
        features = [feature for view in self.use_case.views for feature in self.use_case.view_features(view.name)]
        spine = requests[keys].astype("string").astype(object).reset_index(drop=True)
        spine["event_timestamp"] = pd.to_datetime(requests["requested_at"].to_numpy(), utc=True).as_unit("us")
        spine[ROW_NUMBER] = range(len(spine))
        found = self._joined(spine) if len(spine) else pd.DataFrame(columns=[f.name for f in features])
        return requests.assign(**{feature.name: _as_declared(found[feature.name], feature) for feature in features})

    def materialize(self, start: datetime, end: datetime) -> dict[str, int]:
        """Write each entity's latest row in ``[start, end]`` to the online store; returns rows a view, verified.

        Raises:
            AlreadyRunning: another process is materializing this use case.
            FeatureStoreError: rows are missing, Feast fails, or the online store does not hold what it should.
        """
        return self._materializer.run(start, end)

    def recover(self) -> tuple[str, ...]:
        """Free views that a killed materialization left unusable for the SDK; returns their names."""
        return self._materializer.recover()

    def write_online(self, view: FeatureView | str, df: pd.DataFrame) -> int:
        """Write the latest given row of each entity to the online store; returns the number of entities.

        A row older than the stored one leaves it as it is; one without a key is nobody's. The registry is not touched.

        Raises:
            FeatureStoreError: a column is missing, or the store refuses.
        """
        declared = self._declared(view)
        features = self.use_case.view_features(declared.name)
        columns = [declared.entity, "event_at", "created_at", *(feature.name for feature in features)]
        missing = [name for name in columns if name not in df.columns]
        if missing:
            raise FeatureStoreError(f"rows of view {declared.name!r} have no {missing}; expected {columns}")
        ordered = df[df[declared.entity].notna()].sort_values(["event_at", "created_at"], kind="stable")
        latest = ordered.drop_duplicates(declared.entity, keep="last")[columns]
        with explained(f"rows of view {declared.name!r} could not be written online", "apply the definitions first"):
            from shadow_platform.adapters.feature_store.engine import write_rows

            rows = pa.Table.from_pandas(latest, preserve_index=False)
            write_rows(self.config, self.objects.views[declared.name], self._online_store, rows)
        return len(latest)

    def publish(self, view: FeatureView | str, days: Sequence[date]) -> int:
        """Copy partitions to where other machines read them; returns how many, none with the column ``local``.

        A partition that is gone here is removed there.

        Raises:
            FeatureStoreError: the object store refuses, or holds something else afterwards.
        """
        declared = self._declared(view)
        if self.stores.features_url is None:
            return 0
        from shadow_platform.adapters.feature_store.objects import publish

        return publish(self.layout, self.stores.features_url, self.use_case.name, declared.name, days)

    def unpublished(self, view: FeatureView | str) -> list[date]:
        """Days whose partition here is not the one that other machines read, none with the column ``local``.

        Raises:
            FeatureStoreError: the object store does not answer.
        """
        declared = self._declared(view)
        if self.stores.features_url is None:
            return []
        from shadow_platform.adapters.feature_store.objects import unpublished

        return unpublished(self.layout, self.stores.features_url, self.use_case.name, declared.name)

    def online(self) -> "FeastOnline":
        """Reader for the serving process; raises ``FeatureStoreError`` when Feast is misconfigured."""
        return FeastOnline(self.config, self.use_case, self.objects)

    @cached_property
    def _sdk(self) -> "feast.FeatureStore":
        import feast

        return first_or_after(lambda: feast.FeatureStore(config=self.config))

    @cached_property
    def _online_store(self) -> "OnlineStore":
        return open_online_store(self.config)

    @property
    def _materializer(self) -> Materializer:
        return Materializer(
            self.layout, self.use_case, self.stores, self.objects, self.config, self._sdk, self._online_store
        )

    def _declared(self, view: FeatureView | str) -> FeatureView:
        name = view if isinstance(view, str) else view.name
        for declared in self.use_case.views:
            if declared.name == name:
                return declared
        known = ", ".join(declared.name for declared in self.use_case.views)
        raise FeatureStoreError(f"view {name!r} is unknown in use case {self.use_case.name!r}; known: {known}")

    def _joined(self, spine: pd.DataFrame) -> pd.DataFrame:
        for view in self.use_case.views:
            require_rows(view, self.objects.views[view.name])
            require_published(view, self.layout, self.stores, self.use_case)
        references = [f"{v.name}:{f.name}" for v in self.objects.views.values() for f in v.features]
        with explained("historical features could not be read", "materialize the views' partitions"):
            found = self._sdk.get_historical_features(
                entity_df=spine, features=references, filter_by_created_timestamp=True
            ).to_df()
        if len(found) != len(spine):
            raise FeatureStoreError(
                f"Feast returned {len(found)} rows for {len(spine)} requests; use the offline store of the platform"
            )
        return found.sort_values(ROW_NUMBER)


def _as_declared(values: pd.Series, feature: Feature) -> np.ndarray:
    if feature.kind != "numeric":
        return values.astype(object).where(values.notna(), None).to_numpy()
    try:
        return values.astype("float64").to_numpy()
    except (TypeError, ValueError) as error:
        raise FeatureStoreError(
            f"column {feature.name!r} of view {feature.view!r} holds no numbers: {error}; make the partition again"
        ) from error
