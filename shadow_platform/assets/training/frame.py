"""The training frame: requests with the features and labels that were known at a time, kept under its fingerprint.

Upstream: events, feature views. Downstream: the models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.training.sources import (
    column_lineage,
    latest_materializations,
    snapshots,
    sources_of_frame,
    summary,
)
from shadow_platform.contracts.errors import NotEnoughData
from shadow_platform.contracts.lineage import FrameRecord, PartitionSnapshot
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain import training
from shadow_platform.partitions import end_of, moment
from shadow_platform.resources import PlatformResource

RECENT_FRAMES = 100
MAX_RETRIES = 3
RETRY_AFTER_S = 5
KEY_COLUMNS = {
    "subject_id": "what the request is about",
    "requested_at": "time of the request (UTC)",
    "label": "what became true; null where a decision hid it",
    "known_at": "when the platform could know the label (UTC)",
}


class FrameConfig(dg.Config):
    """Which frame.

    Attributes:
        as_of: ISO 8601 time; nothing known later is used, and the policy's window ends there. Default: the end of the
            last day with events.
    """

    as_of: str | None = None


def build_training_frame(use_case: UseCase) -> dg.AssetsDefinition:
    """Asset of the training frame."""

    @dg.asset(
        key=[use_case.name, "training_frame"],
        deps=[
            [use_case.name, name]
            for name in (
                "retraining_request",
                "events",
                "feature_definitions",
                *(view.name for view in use_case.views),
            )
        ],
        group_name="training",
        kinds={"duckdb", "feast", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def training_frame(
        context: dg.AssetExecutionContext, config: FrameConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """Requests with the features and labels that were known, as at ``as_of``.

        Grain: one row a matured request. Key: subject_id, requested_at. Not partitioned: each frame is kept under its
        fingerprint, and a rolling window is a later ``as_of``.
        """
        as_of = moment(config.as_of, platform.now()) if config.as_of else _end_of_events(platform, use_case)
        sources = sources_of_frame(platform, use_case, as_of)
        seen = latest_materializations(context.instance, sources)
        frame, counts = _point_in_time_frame(platform, use_case, as_of)
        if latest_materializations(context.instance, sources) != seen:
            context.log.warning("events or features were made again while they were read; the frame is made again")
            raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_AFTER_S)
        record = _record(use_case, frame, counts, as_of, snapshots(context.instance, sources, seen))
        path = platform.lake().write_frame(use_case, frame, record)
        context.log.info(
            "frame %s: %d of %d requests have a label", record.fingerprint, frame["label"].count(), record.n_requests
        )
        return dg.MaterializeResult(
            metadata=_frame_metadata(use_case, frame, record, path), data_version=dg.DataVersion(record.fingerprint)
        )

    return training_frame


def _end_of_events(platform: PlatformResource, use_case: UseCase) -> datetime:
    lake = platform.lake()
    received = [day for kind in use_case.events for day in lake.event_days(use_case, kind)]
    if not received:
        raise NotEnoughData(f"use case {use_case.name} has no events; materialize {use_case.name}/events first")
    return end_of(max(received))


def _point_in_time_frame(
    platform: PlatformResource, use_case: UseCase, as_of: datetime
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The frame, and how many requests and labels of which kind its window has."""
    lake = platform.lake()
    parts = training.windows(use_case.training, use_case.label.horizon, as_of)
    window = {"start": parts.fit.start, "end": parts.evaluation.end}
    first, last = max(parts.fit.start.date(), use_case.first_partition), (as_of - timedelta(microseconds=1)).date()
    platform.require_events(use_case, first, last)
    requests = lake.events_sql(use_case.requests_sql, use_case, use_case.events, window, end=as_of)
    labels = platform.labels_of(use_case, requests, parts.fit.start, as_of)
    view_values = None
    if use_case.views:
        keys = [entity.join_key for entity in use_case.entities]
        view_values = platform.feature_store(use_case).historical(requests[[*keys, "requested_at"]])
    frame = training.assemble(
        requests,
        view_values,
        labels.believed(as_of, use_case.label.horizon),
        use_case.features,
        as_of,
        use_case.label.hidden_by is not None,
        use_case.derivations,
    )
    counts = {"requests": len(requests), "imported_labels": labels.n_imported, "censored_labels": labels.n_censored}
    return frame, counts


def _record(
    use_case: UseCase,
    frame: pd.DataFrame,
    counts: dict[str, int],
    as_of: datetime,
    partitions: tuple[PartitionSnapshot, ...],
) -> FrameRecord:
    return FrameRecord(
        use_case=use_case.name,
        fingerprint=training.frame_fingerprint(frame),
        as_of=as_of,
        n_rows=len(frame),
        n_requests=counts["requests"],
        n_imported_labels=counts["imported_labels"],
        n_censored_labels=counts["censored_labels"],
        queries=training.queries_fingerprint(use_case),
        partitions=partitions,
        partitions_fingerprint=training.partitions_fingerprint(partitions),
    )


def _frame_metadata(use_case: UseCase, frame: pd.DataFrame, record: FrameRecord, path: Path) -> dict[str, Any]:
    told = KEY_COLUMNS | {feature.name: feature.description for feature in use_case.features}
    null_rates = frame[list(use_case.feature_names)].isna().mean()
    table = "\n".join(f"| {name} | {rate:.2%} |" for name, rate in null_rates.items())
    return {
        "dagster/row_count": len(frame),
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(str(name), _type(dtype), told.get(str(name))) for name, dtype in frame.dtypes.items()
            ]
        ),
        "dagster/column_lineage": column_lineage(use_case),
        "fingerprint": record.fingerprint,
        "as_of": record.as_of.isoformat(),
        "requests_without_label": record.n_requests - int(frame["label"].count()),
        "imported_labels": record.n_imported_labels,
        "censored_labels": record.n_censored_labels,
        "base_rate": float(frame["label"].mean()) if len(frame) else float("nan"),
        "null_rates": dg.MetadataValue.md(f"| feature | missing |\n|---|---|\n{table}"),
        "partitions": dg.MetadataValue.md(summary(record.partitions)),
        "partitions_fingerprint": record.partitions_fingerprint,
        "path": dg.MetadataValue.path(str(path)),
    }


def _type(dtype: object) -> str:
    return "string" if str(dtype) == "object" else str(dtype)


@dataclass(frozen=True, slots=True)
class FrameInForce:
    """The frame that a training step takes."""

    fingerprint: str
    as_of: datetime
    partitions_fingerprint: str


def frame_in_force(context: dg.AssetExecutionContext, use_case: UseCase) -> FrameInForce:
    """The frame made in this run, else in the run that it executes again, and so on; else the latest one."""
    key = dg.AssetKey([use_case.name, "training_frame"])
    records = context.instance.fetch_materializations(dg.AssetRecordsFilter(key), limit=RECENT_FRAMES).records
    by_run = {record.run_id: record for record in reversed(records)}
    own = (by_run[run_id] for run_id in _run_and_ancestors(context) if run_id in by_run)
    found = next(own, records[0] if records else None)
    if found is None or found.asset_materialization is None:
        raise NotEnoughData(f"{key.to_user_string()} was never materialized; materialize it first")
    told = {name: str(value.value) for name, value in found.asset_materialization.metadata.items()}
    return FrameInForce(
        told["fingerprint"], datetime.fromisoformat(told["as_of"]), told.get("partitions_fingerprint", "")
    )


def _run_and_ancestors(context: dg.AssetExecutionContext) -> Iterator[str]:
    """Ids of the run and of those that it executes again, the nearest first.

    A run that begins where another failed has an id of its own, and the frame of the other one.
    """
    run: dg.DagsterRun | None = context.run
    while run is not None:
        yield run.run_id
        run = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
