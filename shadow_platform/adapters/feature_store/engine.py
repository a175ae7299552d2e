"""Feast's compute engine as ``feature_store.yaml`` names it: each entity's latest row of a window, brought online.

Belongs here: writing what the offline store found. Does not belong here: finding it (``offline``), proof that it
arrived (``materializing``). Loaded by Feast alone; ``ray_engine`` does the same with many workers. Upstream: feast.
Downstream: the online store.

Feast's own engines make a message of every value, which the platform's online stores unmake again; that costs ten times
what reading and writing do.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import pyarrow as pa
from feast import FeatureView
from feast.data_source import DataSource
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.types import FeastType, Float64, String
from feast.utils import _convert_arrow_to_proto

from shadow_platform.adapters.feature_store.asof import instants
from shadow_platform.adapters.feature_store.online import PlainStored, PlainValue, PlainWrites, explained

ROWS_A_WRITE = 5_000
_ARROW: Mapping[FeastType, pa.DataType] = {Float64: pa.float64(), String: pa.string()}
"""Types that need none of Feast's messages to be written."""


class LatestComputeEngineConfig(FeastConfigBaseModel):
    """Nothing to configure."""

    type: Literal["shadow_platform.adapters.feature_store.engine.LatestComputeEngine"] = (
        "shadow_platform.adapters.feature_store.engine.LatestComputeEngine"
    )


class LatestComputeEngine(ComputeEngine):
    """Brings each entity's latest row of a window online, in this process."""

    def update(self, project: str, *_changes: Any, **_options: Any) -> None:
        """Nothing to prepare."""

    def teardown_infra(self, project: str, fvs: Sequence[Any], entities: Sequence[Any]) -> None:
        """Nothing to remove."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **_options: Any
    ) -> LocalMaterializationJob:
        del registry  # The view comes with the task.
        self._bring_online(task)
        job = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
        return LocalMaterializationJob(job, MaterializationJobStatus.SUCCEEDED)

    def _bring_online(self, task: MaterializationTask) -> None:
        view = task.feature_view
        source = cast(DataSource, view.batch_source)
        latest = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=source,
            join_key_columns=[column.name for column in view.entity_columns],
            feature_name_columns=[feature.name for feature in view.features],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=task.start_time,
            end_date=task.end_time,
        ).to_arrow()
        write_rows(self.repo_config, view, self.online_store, latest)


def write_rows(config: RepoConfig, view: FeatureView, store: OnlineStore, rows: pa.Table) -> None:
    """Write rows of a view to its online store, some thousand at a time."""
    columns = [*view.entity_columns, *view.features]
    is_plain = len(view.entity_columns) == 1 and all(column.dtype in _ARROW for column in columns)
    # Feast converts the first batch of a table and drops the others.
    for batch in rows.combine_chunks().to_batches(max_chunksize=ROWS_A_WRITE):
        if is_plain and isinstance(store, PlainWrites):
            store.plain_write(config, view, view.entity_columns[0].name, list(_plain_rows(view, batch)))
        else:
            keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
            store.online_write_batch(config, view, _convert_arrow_to_proto(batch, view, keys), None)


def _plain_rows(view: FeatureView, batch: pa.RecordBatch) -> Iterator[PlainStored]:
    source = cast(DataSource, view.batch_source)
    names = [feature.name for feature in view.features]
    features = [_cast(batch, feature.name, _ARROW[feature.dtype]) for feature in view.features]
    keys = batch.column(view.entity_columns[0].name).cast(pa.string()).to_pylist()
    created = source.created_timestamp_column
    created_us = _microseconds(batch, created) if created else [None] * len(batch)
    values = zip(*features, strict=True) if features else [()] * len(batch)
    for key, row, event_us, known_us in zip(
        keys, values, _microseconds(batch, source.timestamp_field), created_us, strict=True
    ):
        yield PlainStored(key, dict(zip(names, row, strict=True)), event_us, known_us)


def _cast(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> list[PlainValue]:
    with explained(f"column {name!r} of the rows is no {kind}", "make the partition again"):
        values: list[PlainValue] = batch.column(name).cast(kind).to_pylist()
    return values


def _microseconds(batch: pa.RecordBatch, name: str) -> list[int]:
    moments: list[int] = instants(pa.chunked_array([batch.column(name)]), name).cast(pa.int64()).to_pylist()
    return moments
