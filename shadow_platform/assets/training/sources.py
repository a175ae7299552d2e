"""What a training frame is made of, in Dagster's words: which partitions it could read, and how each was made.

Belongs here: reading Dagster's records of them. Does not belong here: reading the data (``frame``). Upstream: events,
feature views. Downstream: the frame's record, lineage.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from shadow_platform.contracts.lineage import PartitionSnapshot
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain import training
from shadow_platform.partitions import INSTANT
from shadow_platform.resources import PlatformResource

CODE_VERSION, DATA_VERSION = "dagster/code_version", "dagster/data_version"
RECORDS_PER_QUERY = 500
Sources = Mapping[dg.AssetKey, Sequence[str]]
Materialized = Mapping[tuple[dg.AssetKey, str], int]


def sources_of_frame(platform: PlatformResource, use_case: UseCase, as_of: datetime) -> Sources:
    """Partitions on disk that the frame of ``as_of`` could read, by asset; an asset without partitions has one, ``""``.

    Events of every kind are one asset. Feature rows older than their time to live before the first request, or of a
    day behind the last one, cannot matter. Nor can the day that a midnight opens: windows are open at their ends.
    """
    lake, windows = platform.lake(), training.windows(use_case.training, use_case.label.horizon, as_of)
    received = {day for kind in use_case.events for day in lake.event_days(use_case, kind)}
    sources = {dg.AssetKey([use_case.name, "events"]): _keys(received, date.min, _day(as_of - INSTANT))}
    for view in use_case.views:
        first, last = _day(windows.fit.start - view.ttl), _day(windows.evaluation.end - INSTANT)
        sources[dg.AssetKey([use_case.name, view.name])] = _keys(lake.feature_days(use_case, view), first, last)
    if use_case.views:
        sources[dg.AssetKey([use_case.name, "feature_definitions"])] = [""]
    return sources


def _day(time: datetime) -> date:
    return time.astimezone(UTC).date()


def _keys(days: Sequence[date] | set[date], first: date, last: date) -> list[str]:
    return [day.isoformat() for day in sorted(days) if first <= day <= last]


def latest_materializations(instance: dg.DagsterInstance, sources: Sources) -> Materialized:
    """Storage id of the latest materialization of each partition; one that Dagster knows nothing of is left out."""
    found: dict[tuple[dg.AssetKey, str], int] = {}
    for key, partitions in sources.items():
        if "" in partitions:
            for record in instance.fetch_materializations(key, limit=1).records:
                found[key, ""] = record.storage_id
        elif partitions:
            ids = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
            found |= {(key, partition): ids[partition] for partition in partitions if partition in ids}
    return found


def snapshots(instance: dg.DagsterInstance, sources: Sources, seen: Materialized) -> tuple[PartitionSnapshot, ...]:
    """How each partition was made, by asset and partition; of one that Dagster knows nothing of, that it was there."""
    known = {record.storage_id: record for key in sources for record in _records(instance, key, _ids_of(seen, key))}
    return tuple(
        _snapshot(key, partition, known.get(seen.get((key, partition), -1)))
        for key, partitions in sorted(sources.items())
        for partition in partitions
    )


def _ids_of(seen: Materialized, key: dg.AssetKey) -> list[int]:
    return [storage_id for (asset, _), storage_id in seen.items() if asset == key]


def _records(instance: dg.DagsterInstance, key: dg.AssetKey, ids: Sequence[int]) -> list[dg.EventLogRecord]:
    parts = [ids[place : place + RECORDS_PER_QUERY] for place in range(0, len(ids), RECORDS_PER_QUERY)]
    return [
        record
        for part in parts
        for record in instance.fetch_materializations(
            dg.AssetRecordsFilter(key, storage_ids=part), limit=RECORDS_PER_QUERY
        ).records
    ]


def _snapshot(key: dg.AssetKey, partition: str, record: dg.EventLogRecord | None) -> PartitionSnapshot:
    materialization = record.asset_materialization if record else None
    tags = (materialization.tags or {}) if materialization else {}
    return PartitionSnapshot(
        asset="/".join(key.path),
        partition=partition,
        code_version=tags.get(CODE_VERSION),
        data_version=tags.get(DATA_VERSION),
        run_id=record.run_id if record else None,
        materialized_at=datetime.fromtimestamp(record.timestamp, tz=UTC) if record else None,
    )


def summary(partitions: Sequence[PartitionSnapshot]) -> str:
    """Markdown table: of each asset the partitions from first to last, code versions, and how many nobody recorded."""
    rows = []
    for asset in dict.fromkeys(part.asset for part in partitions):
        own = [part for part in partitions if part.asset == asset]
        days = sorted(part.partition for part in own if part.partition)
        span = f"{len(days)}: {days[0]} to {days[-1]}" if days else "not partitioned"
        versions = ", ".join(sorted({part.code_version for part in own if part.code_version})) or "unknown"
        unrecorded = sum(part.run_id is None for part in own)
        rows.append(f"| {asset} | {span} | {versions} | {unrecorded or ''} |")
    return "\n".join(["| asset | partitions | code versions | not recorded |", "|---|---|---|---|", *rows])


def column_lineage(use_case: UseCase) -> dg.TableColumnLineage:
    """Which column of which view a feature column of the frame is, or is derived from."""
    inputs = {f.name: d.inputs for d in use_case.derivations for f in use_case.derived_features(d.name)}
    views = {feature.name: feature.view for feature in use_case.features if feature.view is not None}
    from_views = {
        name: [source for source in inputs.get(name, (name,)) if source in views] for name in use_case.feature_names
    }
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey([use_case.name, views[source]]), source) for source in sources]
            for name, sources in from_views.items()
            if sources
        }
    )
