"""Feast's offline store of ``FEATURE_STORE=scale``: point-in-time joins on Ray over partitions in an object store.

Belongs here: Feast's interface. Loaded by Feast alone, through ``offline_store.type`` in ``feature_store.scale.yaml``.
Does not belong here: the join (``asof``) and how it is cut (``ray_work``). Upstream: Feast. Downstream: ``ray_work``.

Feast's own Ray store ignores the time to live (9,435 of 20,000 values wrong in a test against SQL) and cannot leave out
rows that were created after the request.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.repo_config import RepoConfig
from pydantic import field_validator

from shadow_platform.adapters.feature_store import ray_cluster
from shadow_platform.adapters.feature_store.asof import instants
from shadow_platform.adapters.feature_store.objects import Partitions
from shadow_platform.adapters.feature_store.offline import (
    AsofOfflineStore,
    AsofOfflineStoreConfig,
    AsofRetrievalJob,
    joined_view,
)
from shadow_platform.adapters.feature_store.ray_tasks import Window
from shadow_platform.adapters.feature_store.ray_work import join_on_ray, latest_on_ray
from shadow_platform.contracts.errors import FeatureStoreError


class RayAsofOfflineStoreConfig(AsofOfflineStoreConfig):
    """What ``offline_store`` in ``feature_store.scale.yaml`` may say.

    Attributes:
        ray_address: cluster to join; a variable that was not filled in, or ``None``: one is started on this machine.
    """

    type: Literal["shadow_platform.adapters.feature_store.ray_offline.RayAsofOfflineStore"] = (
        "shadow_platform.adapters.feature_store.ray_offline.RayAsofOfflineStore"  # type: ignore[assignment]
    )
    ray_address: str | None = None

    _no_placeholder = field_validator("ray_address")(staticmethod(ray_cluster.address_or_none))


class RayAsofOfflineStore(AsofOfflineStore):
    """Answers as ``AsofOfflineStore`` does; sources are folders or URLs of daily partitions."""

    @classmethod
    def joined(
        cls,
        config: RepoConfig,
        entities: pd.DataFrame,
        feature_views: Sequence[FeatureView],
        feature_refs: Sequence[str],
        full_feature_names: bool,
        requested_at: str,
        known_only: bool,
    ) -> pa.Table:
        """The entities in their order with the features as known at their times."""
        views = [
            joined_view(view, feature_refs, full_feature_names, [partitions_of(view.batch_source).source])
            for view in feature_views
        ]
        return join_on_ray(config.offline_store.ray_address, entities, views, requested_at, known_only=known_only)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Nothing to find out: a view may be registered before its first partition is anywhere."""

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Job for each entity's newest row in ``[start_date, end_date]``; of equal ones the one created last."""
        window = Window(
            partitions_of(data_source),
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
        )
        return AsofRetrievalJob(partial(_latest, config.offline_store.ray_address, window), config.repo_path)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Job for all rows in ``[start_date, end_date]``, either end left open by ``None``."""
        window = Window(
            partitions_of(data_source),
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date or datetime.min.replace(tzinfo=UTC),
            end_date or datetime.max.replace(tzinfo=UTC),
        )
        return AsofRetrievalJob(partial(_all_rows, window), config.repo_path)


def partitions_of(source: DataSource | None) -> Partitions:
    """Where the rows of a source lie; raises ``FeatureStoreError`` when it is no source of files."""
    if not isinstance(source, FileSource):
        raise FeatureStoreError(f"source {source!r} is no FileSource; declare views over daily Parquet partitions")
    return Partitions(source.path)


def _latest(address: str | None, window: Window) -> pa.Table:
    found: list[Any] = ray_cluster.collect(address, latest_on_ray(address, window))
    return pa.concat_tables(found)


def _all_rows(window: Window) -> pa.Table:
    rows = window.rows.read(window.files, window.columns)
    at = instants(rows.column(window.event_at), window.event_at)
    return rows.filter(pc.and_(pc.greater_equal(at, window.start), pc.less_equal(at, window.end)))
