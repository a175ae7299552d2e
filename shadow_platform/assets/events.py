"""Events stage: raw rows land as received, then become valid events or are quarantined.

Upstream: the use case's event source, or an external system that drops files. Downstream: feature views, labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.contracts.partition_records import SourceState
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.domain.events import EventSorter, Tally, quarantine_frame, raw_row, repeated_events
from shadow_platform.partitions import SINGLE_RUN, daily_freshness, daily_partitions, data_version, days
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.lake.events import EventBatch
    from shadow_platform.adapters.lake.table_batch import TableBatch

MAX_QUARANTINED_SHARE = 0.01
# Of fewer rows, a few bad ones are many. Of more, a kind that loses half of a day has changed its form upstream.
MAX_LOST_SHARE, MIN_ROWS = 0.5, 20
QUARANTINE_BATCH_ROWS = 10_000
_COMPLETE = "every_raw_row_is_valid_or_quarantined"
_CLEAN = "few_rows_are_quarantined"
_KEPT = "every_kind_keeps_most_of_its_rows"
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
        """Raw events as received, one file of JSON lines a kind and day.

        A file that is there already stays; messages of a stream that came since for its day are added to it.

        Grain: one line an event. Partition: UTC day of receipt.
        """
        landing = Landing(platform, use_case)
        for day in days(context.partition_keys):
            context.add_asset_metadata({_PARTITION_ROWS: landing.land(day)}, partition_key=day.isoformat())
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": landing.n_rows,
                "files_written": landing.n_files,
                "files_kept": landing.n_kept,
                "folder": dg.MetadataValue.path(str(platform.layout.home / "raw" / use_case.name)),
            }
        )

    return raw_events


class Landing:
    """Raw files of some days, from the stream for kinds with a topic when there is a broker, else from the source."""

    def __init__(self, platform: PlatformResource, use_case: UseCase) -> None:
        self._lake, self._use_case = platform.lake(), use_case
        self._source, self._streams = platform.event_source(use_case), platform.stream_logs(use_case)
        self._notes = platform.partition_records(use_case)
        self.n_rows = self.n_files = self.n_kept = 0

    def land(self, day: date) -> int:
        """Bring the raw files of a day up to what was received; how many rows that is."""
        n_received, source = 0, self._source.received_on(day)
        for kind in self._use_case.events:
            if kind.name in self._streams:
                # Before they are read: what comes meanwhile may not be in the file.
                n_bytes = self._streams[kind.name].size(day)
                lines = [raw_row(message) for message in self._streams[kind.name].read(day)]
                n_received += len(lines)
                self._count(self._lake.add_raw(self._use_case, kind, day, lines))
                self._notes.note_landed(kind, day, n_bytes)
            else:
                rows = source.get(kind.name, ())
                n_received += len(rows)
                self._count(len(rows) if self._lake.land_raw(self._use_case, kind, day, rows) else None)
        return n_received

    def _count(self, n_written: int | None) -> None:
        self.n_rows += n_written or 0
        self.n_files += n_written is not None
        self.n_kept += n_written is None


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
        "freshness_policy": daily_freshness(use_case),
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
        check_specs=_check_specs(key),
        backfill_policy=SINGLE_RUN,
    )
    def events(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        ingestion = Ingestion(platform, use_case, days(context.partition_keys))
        tally = ingestion.run()
        for day, (n_valid, n_violations) in tally.by_day.items():
            facts = {_PARTITION_ROWS: n_valid, "fingerprint": ingestion.fingerprints[day.isoformat()]}
            context.add_asset_metadata(facts, key, partition_key=day.isoformat())
            context.add_asset_metadata({_PARTITION_ROWS: n_violations}, quarantine, partition_key=day.isoformat())
        yield from _check_results(key, tally)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": sum(tally.valid.values()),
                "rows_by_kind": dict(tally.valid),
                "quarantined_rows_by_kind": dict(tally.quarantined),
                "null_rates": tally.null_rates(),
                "dagster/column_schema": _all_columns(use_case),
                **{f"schema_{kind.name}": _schema(kind) for kind in use_case.events},
            },
            data_version=data_version(ingestion.fingerprints),
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
    """One run through the raw files of some days, kind by kind, a few megabytes at a time.

    A partition whose events are the same stays as it is. What each was made of is noted beside it, so that a file that
    grows later is told from one that was read.

    Attributes:
        fingerprints: of the events of all kinds, by day; known once they are made.
    """

    def __init__(self, platform: PlatformResource, use_case: UseCase, ordered: Sequence[date]) -> None:
        self._lake, self._layout, self._use_case, self._days = platform.lake(), platform.layout, use_case, ordered
        self._now = platform.now()
        self._tally = Tally([kind.name for kind in use_case.events])
        self._notes = platform.partition_records(use_case)
        self.fingerprints: dict[str, str] = {}

    def run(self) -> Tally:
        """Replace the partitions of events and of the quarantine, and count what came of each row."""
        # Before they are read: what a file grows by meanwhile is new to whoever compares.
        sources = {(kind.name, d): self._notes.landed(kind, d) for kind in self._use_case.events for d in self._days}
        with ExitStack() as written:
            quarantine = written.enter_context(self._lake.table_batch(QUARANTINED_EVENTS, self._use_case, self._days))
            for kind in self._use_case.events:
                batch = written.enter_context(self._lake.event_batch(self._use_case, kind))
                self._sort(kind, batch, quarantine)
                self._remove_repeated(kind, batch, quarantine)
                self._tally.outrun[kind.name] = batch.outrun
                for day in self._days:
                    self._tally.written(kind.name, self._file(kind, day), day, batch.n_rows(day))
        self._note(sources)
        return self._tally

    def _note(self, sources: Mapping[tuple[str, date], SourceState | None]) -> None:
        for day in self._days:
            rows = {
                kind.name: self._notes.note_events(
                    kind, day, source, is_misshapen=_is_misshapen(self._tally, kind.name, day)
                )
                for kind in self._use_case.events
                if (source := sources[kind.name, day]) is not None
            }
            self.fingerprints[day.isoformat()] = data_version(rows).value

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


def _check_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(_COMPLETE, asset=key, blocking=True, description="No raw row was dropped silently."),
        dg.AssetCheckSpec(_CLEAN, asset=key, description=f"At most {MAX_QUARANTINED_SHARE:.0%} of the rows."),
        dg.AssetCheckSpec(
            _KEPT,
            asset=key,
            blocking=True,
            description=f"A kind of which more than {MAX_LOST_SHARE:.0%} of a day is quarantined has changed its "
            "form upstream; no features are made without it.",
        ),
        dg.AssetCheckSpec(_ONCE, asset=key, description="Days that came before an earlier one are named, to rerun."),
    ]


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
    yield _kept(key, tally)
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


def _is_misshapen(tally: Tally, kind: str, day: date) -> bool:
    n_rows = tally.received[kind, day]
    return n_rows >= MIN_ROWS and tally.misshapen[kind, day] > MAX_LOST_SHARE * n_rows


def _kept(key: dg.AssetKey, tally: Tally) -> dg.AssetCheckResult:
    """Whether a kind changed its form upstream: then most of a day is quarantined."""
    changed = {
        f"{kind} of {day}": f"{tally.misshapen[kind, day]:,} of {tally.received[kind, day]:,} rows quarantined"
        for kind, day in tally.received
        if _is_misshapen(tally, kind, day)
    }
    return dg.AssetCheckResult(
        check_name=_KEPT,
        asset_key=key,
        passed=not changed,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{what}: {told}" for what, told in changed.items()) or None,
        metadata={"quarantined": changed, "violations_by_column": tally.violations_by_column()},
    )


def _schema(kind: EventKind) -> dg.TableSchemaMetadataValue:
    return dg.MetadataValue.table_schema(dg.TableSchema(_columns(kind)))


def _all_columns(use_case: UseCase) -> dg.TableSchema:
    """Columns of all kinds as one table, so that lineage can name them."""
    return dg.TableSchema([column for kind in use_case.events for column in _columns(kind, f"{kind.name}.")])


def _columns(kind: EventKind, prefix: str = "") -> list[dg.TableColumn]:
    return [
        dg.TableColumn(
            f"{prefix}{name}",
            str(column.dtype),
            column.description,
            dg.TableColumnConstraints(nullable=column.nullable, unique=kind.key == (name,)),
        )
        for name, column in kind.schema.columns.items()
    ]
