"""Feast's offline store as ``feature_store.yaml`` names it: point-in-time joins by DuckDB over Parquet files.

Belongs here: Feast's interface. Does not belong here: the join itself (``asof``), and writing rows: views are computed
from events, partition by partition. Upstream: Feast. Downstream: ``asof``; ``ray_offline`` shares what is public here.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from shadow_platform.adapters.feature_store.asof import (
    JoinedView,
    connect,
    point_in_time_join,
    quoted,
    read_unchanged,
    scan,
)
from shadow_platform.contracts.errors import FeatureStoreError


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """What ``offline_store`` in ``feature_store.yaml`` may say.

    Attributes:
        filter_by_created_timestamp: whether a row counts only from its creation on when the caller does not ask for it;
            Feast's own stores let later knowledge into the past by default.
    """

    type: Literal["shadow_platform.adapters.feature_store.offline.AsofOfflineStore"] = (
        "shadow_platform.adapters.feature_store.offline.AsofOfflineStore"
    )
    filter_by_created_timestamp: bool = True


class AsofRetrievalJob(RetrievalJob):
    """A table that is computed when it is asked for, each time anew."""

    def __init__(
        self,
        compute: Callable[[], pa.Table],
        repo_path: Path | None,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._compute = compute
        self._repo_path = repo_path
        self._on_demand = list(on_demand)
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:  # noqa: ARG002 nothing here can be interrupted
        return self._compute()

    @property
    def full_feature_names(self) -> bool:
        """Whether features carry their view's name."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that Feast computes from the answer."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the table to one Parquet file; raises when there is one and it may not be replaced."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise FeatureStoreError(f"a data set cannot be saved to {type(storage).__name__}; use a file")
        path = Path(FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(self.to_arrow(timeout=timeout), beside)
        beside.replace(path)


class AsofOfflineStore(OfflineStore):
    """Reads Parquet files, one or a pattern of many a source. Calls share nothing, so threads may make them at once."""

    supports_filter_by_created_timestamp = True

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
        """The entities in their order with the features as known at their times; another store may compute it else."""
        views = [
            joined_view(view, feature_refs, full_feature_names, files_of(config, view.batch_source))
            for view in feature_views
        ]
        return point_in_time_join(entities, views, requested_at, known_only=known_only)

    @classmethod
    def get_historical_features(
        cls,
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **_window: Any,
    ) -> RetrievalJob:
        """Job for the entities with the features as known at their times.

        Raises:
            FeatureStoreError: the entities are no frame.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise FeatureStoreError(f"entities are {type(entity_df).__name__}; expected a pandas.DataFrame")
        requested_at = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        known_only = filter_by_created_timestamp or config.offline_store.filter_by_created_timestamp
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.columns if name != requested_at],
            min_event_timestamp=entity_df[requested_at].min(),
            max_event_timestamp=entity_df[requested_at].max(),
        )
        return AsofRetrievalJob(
            partial(
                cls.joined, config, entity_df, feature_views, feature_refs, full_feature_names, requested_at, known_only
            ),
            config.repo_path,
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names,
            metadata,
        )

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
        times = [quoted(timestamp_field)]
        if created_timestamp_column:
            times.append(f"coalesce({quoted(created_timestamp_column)}, '-infinity')")
        keys = [quoted(name) for name in join_key_columns if name != DUMMY_ENTITY_ID]
        where = [*_bounds(timestamp_field, start_date, end_date), *(f"{key} IS NOT NULL" for key in keys)]
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        sql = f"""
            WITH newest AS (
                SELECT max(row({", ".join(times)}, file_index, file_row_number)) AS place FROM {{rows}}
                WHERE {" AND ".join(where)} GROUP BY ({", ".join(keys)})
            )
            SELECT {_selected(columns)} FROM {{rows}} AS stored JOIN newest
            ON stored.file_index = place[{len(times) + 1}] AND stored.file_row_number = place[{len(times) + 2}]
            ORDER BY stored.file_index, stored.file_row_number"""
        return _query(config, data_source, sql)

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
        """Job for all rows in ``[start_date, end_date]``; ``None`` leaves an end open."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        where = _bounds(timestamp_field, start_date, end_date)
        return _query(config, data_source, f"SELECT {_selected(columns)} FROM {{rows}} WHERE {' AND '.join(where)}")

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,  # noqa: ARG004
        feature_view: FeatureView,
        table: pa.Table,  # noqa: ARG004
        progress: Callable[[int], Any] | None,  # noqa: ARG004
    ) -> None:
        """Refused: rows that no event explains could be neither recomputed nor audited."""
        raise FeatureStoreError(
            f"rows of {feature_view.name!r} are computed from events and cannot be written offline; land the events, "
            "then materialize the view's partitions"
        )

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Whether it is Parquet; a view may be registered before its first partition is there."""
        _path(config, data_source)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> list[tuple[str, str]]:
        """Columns of the last file and their types in Arrow."""
        return [(field.name, str(field.type)) for field in pq.read_schema(files_of(config, data_source)[-1])]


def files_of(config: RepoConfig, source: DataSource | None) -> list[str]:
    """Files of a source, by name; raises ``FeatureStoreError`` when there is none, or it is no Parquet."""
    path = _path(config, source)
    files = sorted(map(str, path.rglob("*.parquet") if path.is_dir() else _matching(path)))
    if not files:
        raise FeatureStoreError(f"there is no file {path}; materialize its partitions first")
    return files


def joined_view(
    view: FeatureView, feature_refs: Sequence[str], full_feature_names: bool, rows: Sequence[str] | pa.Table
) -> JoinedView:
    """What is asked of one view, with the names that Feast gives its features in the answer."""
    source = view.batch_source
    if source is None:
        raise FeatureStoreError(f"view {view.name!r} has no batch source; declare a FileSource of Parquet")
    reference: str = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    prefix = f"{reference}:"
    stored = {new: old for old, new in source.field_mapping.items()}
    names = [name.removeprefix(prefix) for name in feature_refs if name.startswith(prefix)]
    shown = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    return JoinedView(
        rows=rows,
        keys={view.projection.join_key_map.get(key, key): stored.get(key, key) for key in keys},
        features={stored.get(name, name): f"{shown}{name}" for name in names},
        ttl=view.ttl or None,
        event_at=stored.get(source.timestamp_field, source.timestamp_field),
        created_at=stored.get(source.created_timestamp_column, source.created_timestamp_column) or None,
    )


def _path(config: RepoConfig, source: DataSource | None) -> Path:
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        raise FeatureStoreError(
            f"source {source and source.name!r} is no Parquet file; declare a FileSource of Parquet"
        )
    path = FileSource.get_uri_for_file_path(config.repo_path, source.path)
    if "://" in path:
        raise FeatureStoreError(f"{path} is on no file system of this machine; set FEATURE_STORE=scale")
    return Path(path).absolute()


def _matching(path: Path) -> Iterable[Path]:
    """The file, or those that a pattern names; folders that are there stand for themselves, whatever their names."""
    if path.is_file():
        return [path]
    root = next(folder for folder in path.parents if folder.is_dir())
    return root.glob(str(path.relative_to(root)))


def _query(config: RepoConfig, source: DataSource, sql: str) -> AsofRetrievalJob:
    """Job for a query over ``{rows}`` of a source."""

    def compute() -> pa.Table:
        files = files_of(config, source)

        def read() -> pa.Table:
            with connect() as con:
                return con.sql(sql.replace("{rows}", scan(files))).to_arrow_table()

        return read_unchanged(files, read)

    return AsofRetrievalJob(compute, config.repo_path)


def _selected(columns: Sequence[str | None]) -> str:
    return ", ".join(quoted(name) for name in dict.fromkeys(columns) if name)


def _bounds(column: str, start: datetime | None, end: datetime | None) -> list[str]:
    bounds = [(">=", start), ("<=", end)]
    return ["true", *(f"{quoted(column)} {sign} '{_utc(at)}'::TIMESTAMPTZ" for sign, at in bounds if at is not None)]


def _utc(moment: datetime) -> str:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
