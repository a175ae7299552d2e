"""Events stage: raw rows land as received, then become valid events or are quarantined.

Upstream: the use case's event source, or an external system that drops files. Downstream: feature views, labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.domain.events import EventSorter, Tally, quarantine_frame, repeated_events
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.lake.events import EventBatch
    from shadow_platform.adapters.lake.table_batch import TableBatch

MAX_QUARANTINED_SHARE = 0.01
QUARANTINE_BATCH_ROWS = 10_000
_COMPLETE = "every_raw_row_is_valid_or_quarantined"
_CLEAN = "few_rows_are_quarantined"
_ONCE = "no_other_day_holds_an_event_again"
_PARTITION_ROWS = "dagster/partition_row_count"


def build_event_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the events stage."""
    return [_raw_events(use_case), _events(use_case)]


def _raw_events(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "raw_events"],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="events",
        kinds={"json", "file"},
        owners=[use_case.owner],
        code_version="1",
    )
    def raw_events(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        """Raw events as received, one file of JSON lines a kind and day; a file that is there already stays.

        Grain: one line an event. Partition: UTC day of receipt.
        """
        lake, source = platform.lake(), platform.event_source(use_case)
        n_rows, n_files, n_kept = 0, 0, 0
        for day in days(context.partition_keys):
            received = source.received_on(day)
            n_received = sum(len(received.get(kind.name, ())) for kind in use_case.events)
            context.add_asset_metadata({_PARTITION_ROWS: n_received}, partition_key=day.isoformat())
            for kind in use_case.events:
                rows = received.get(kind.name, ())
                if lake.land_raw(use_case, kind, day, rows):
                    n_rows, n_files = n_rows + len(rows), n_files + 1
                else:
                    n_kept += 1
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": n_rows,
                "files_written": n_files,
                "files_kept": n_kept,
                "folder": dg.MetadataValue.path(str(platform.layout.home / "raw" / use_case.name)),
            }
        )

    return raw_events


def _events(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "events"])
    quarantine = dg.AssetKey([use_case.name, "quarantined_events"])
    common: dict[str, Any] = {
        "deps": [dg.AssetKey([use_case.name, "raw_events"])],
        "partitions_def": daily_partitions(use_case),
        "group_name": "events",
        "owners": [use_case.owner],
        "code_version": "1",
        "kinds": {"duckdb", "parquet"},
    }

    @dg.multi_asset(
        name=f"{use_case.name}__events",
        specs=[
            dg.AssetSpec(
                key,
                description="Valid events, one Parquet file a kind and day. Grain: one row an event. "
                "Partition: UTC day of receipt.",
                metadata={f"schema_{kind.name}": _schema(kind) for kind in use_case.events},
                **common,
            ),
            dg.AssetSpec(
                quarantine,
                description="Raw rows that failed validation, kept whole with the reason. Grain: one row a violation. "
                "Partition: UTC day of the file.",
                **common,
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(_COMPLETE, asset=key, blocking=True, description="No raw row was dropped silently."),
            dg.AssetCheckSpec(_CLEAN, asset=key, description=f"At most {MAX_QUARANTINED_SHARE:.0%} of the rows."),
            dg.AssetCheckSpec(
                _ONCE, asset=key, description="Days that came before an earlier one are named, to rerun."
            ),
        ],
        backfill_policy=SINGLE_RUN,
    )
    def events(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        tally = Ingestion(platform, use_case, days(context.partition_keys)).run()
        for day, (n_valid, n_violations) in tally.by_day.items():
            context.add_asset_metadata({_PARTITION_ROWS: n_valid}, key, partition_key=day.isoformat())
            context.add_asset_metadata({_PARTITION_ROWS: n_violations}, quarantine, partition_key=day.isoformat())
        yield from _check_results(key, tally)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": sum(tally.valid.values()),
                "rows_by_kind": dict(tally.valid),
                "quarantined_rows_by_kind": dict(tally.quarantined),
                "null_rates": tally.null_rates(),
                **{f"schema_{kind.name}": _schema(kind) for kind in use_case.events},
            },
        )
        yield dg.MaterializeResult(
            asset_key=quarantine,
            metadata={
                "dagster/row_count": sum(tally.violations.values()),
                "quarantined_rows": sum(tally.quarantined.values()),
                "violations": dg.MetadataValue.md(tally.table()),
                "violations_by_column": tally.violations_by_column(),
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(c.name, c.type, c.comment) for c in QUARANTINED_EVENTS.columns]
                ),
            },
        )

    return events


class Ingestion:
    """One run through the raw files of some days, kind by kind, a few megabytes at a time."""

    def __init__(self, platform: PlatformResource, use_case: UseCase, ordered: Sequence[date]) -> None:
        self._lake, self._layout, self._use_case, self._days = platform.lake(), platform.layout, use_case, ordered
        self._now = datetime.now(UTC)
        self._tally = Tally([kind.name for kind in use_case.events])

    def run(self) -> Tally:
        """Replace the partitions of events and of the quarantine, and count what came of each row."""
        with ExitStack() as written:
            quarantine = written.enter_context(self._lake.table_batch(QUARANTINED_EVENTS, self._use_case, self._days))
            for kind in self._use_case.events:
                batch = written.enter_context(self._lake.event_batch(self._use_case, kind))
                self._sort(kind, batch, quarantine)
                self._remove_repeated(kind, batch, quarantine)
                self._tally.outrun[kind.name] = batch.outrun
                for day in self._days:
                    self._tally.written(kind.name, self._file(kind, day), day, batch.n_rows(day))
        return self._tally

    def _sort(self, kind: EventKind, batch: "EventBatch", quarantine: "TableBatch") -> None:
        sorter = EventSorter(kind)
        for day in self._days:
            file, blocks = self._file(kind, day), self._lake.read_raw(self._use_case, kind, day)
            batch.open(day)
            for part in sorter.sort(blocks, file, day, self._now):
                batch.append(day, part.valid)
                if part.quarantined:
                    quarantine.append(quarantine_frame(part.quarantined, self._use_case.name, day))
                self._tally.sorted(kind.name, file, day, part)
            batch.close(day)

    def _remove_repeated(self, kind: EventKind, batch: "EventBatch", quarantine: "TableBatch") -> None:
        for day, rows in batch.remove_repeated():
            file = self._file(kind, day)
            events = repeated_events(self._lake.read_raw(self._use_case, kind, day), kind, file, rows.tolist())
            while some := list(islice(events, QUARANTINE_BATCH_ROWS)):
                quarantine.append(quarantine_frame(some, self._use_case.name, day))
                self._tally.repeated(kind.name, file, day, some)

    def _file(self, kind: EventKind, day: date) -> str:
        """Name of a raw file in the quarantine, below the home folder."""
        path = self._layout.raw_events(self._use_case.name, kind.name, day)
        return path.relative_to(self._layout.home).as_posix()


def _check_results(key: dg.AssetKey, tally: Tally) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(
        check_name=_COMPLETE,
        asset_key=key,
        passed=not tally.incomplete,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"files_with_lost_rows": tally.incomplete, "raw_rows": sum(tally.rows.values())},
    )
    n_rows, n_quarantined = sum(tally.rows.values()), sum(tally.quarantined.values())
    yield dg.AssetCheckResult(
        check_name=_CLEAN,
        asset_key=key,
        passed=n_quarantined <= MAX_QUARANTINED_SHARE * n_rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "quarantined_rows": n_quarantined,
            "raw_rows": n_rows,
            "violations_by_column": tally.violations_by_column(),
        },
    )
    outrun = {kind: [day.isoformat() for day in days] for kind, days in tally.outrun.items() if days}
    yield dg.AssetCheckResult(
        check_name=_ONCE,
        asset_key=key,
        passed=not outrun,
        severity=dg.AssetCheckSeverity.WARN,
        description="an earlier day brought events that these days hold again: materialize them again"
        if outrun
        else None,
        metadata={"days_to_rerun_by_kind": outrun},
    )


def _schema(kind: EventKind) -> dg.TableSchemaMetadataValue:
    columns = [
        dg.TableColumn(
            name,
            str(column.dtype),
            column.description,
            dg.TableColumnConstraints(nullable=column.nullable, unique=kind.key == (name,)),
        )
        for name, column in kind.schema.columns.items()
    ]
    return dg.MetadataValue.table_schema(dg.TableSchema(columns))
