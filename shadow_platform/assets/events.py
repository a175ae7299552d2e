"""Events stage: raw rows land as received, then become valid events or are quarantined.

Upstream: the use case's event source, or an external system that drops files. Downstream: feature views, labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from shadow_platform.contracts.records import QuarantinedEvent
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.domain.events import ParsedEvents, event_keys, parse_events, quarantine_frame
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, start_of
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.lake import Lake

MAX_QUARANTINED_SHARE = 0.01
_COMPLETE = "every_raw_row_is_valid_or_quarantined"
_CLEAN = "few_rows_are_quarantined"
_PARTITION_ROWS = "dagster/partition_row_count"
_INSTANT = timedelta(microseconds=1)


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
        lake, source = platform.lake(), use_case.source()
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


@dataclass(slots=True)
class _Tally:
    """Counts of one run, by event kind; ``by_day`` holds valid rows and violations."""

    rows: dict[str, int] = field(default_factory=dict)
    valid: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    incomplete: list[str] = field(default_factory=list)
    by_day: dict[date, tuple[int, int]] = field(default_factory=dict)

    def add(self, kind: str, file: str, parsed: ParsedEvents) -> None:
        """Count one file."""
        for counts, n in (
            (self.rows, parsed.n_rows),
            (self.valid, len(parsed.valid)),
            (self.quarantined, parsed.n_quarantined),
        ):
            counts[kind] = counts.get(kind, 0) + n
        for name, n in parsed.valid.isna().sum().items():
            self.nulls[f"{kind}.{name}"] = self.nulls.get(f"{kind}.{name}", 0) + int(n)
        for event in parsed.quarantined:
            reason = f"{kind}.{event.column or 'row'}"
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if parsed.n_rows != len(parsed.valid) + parsed.n_quarantined:
            self.incomplete.append(file)

    def null_rates(self) -> dict[str, float]:
        """Share of nulls of every column that has any."""
        return {name: round(n / self.valid[name.split(".")[0]], 6) for name, n in self.nulls.items() if n}


class _KnownKeys:
    """Keys of the events of one kind received before a day; days must be asked for in order."""

    def __init__(self, lake: "Lake", use_case: UseCase, kind: EventKind) -> None:
        self._lake, self._use_case, self._kind = lake, use_case, kind
        self._until: date | None = None
        self._keys: set[tuple[Any, ...]] = set()

    def before(self, day: date) -> set[tuple[Any, ...]]:
        """Keys received before the day."""
        if self._until is None or self._until < day:
            columns = ", ".join(f'"{name}"' for name in self._kind.key)
            frame = self._lake.events_sql(
                f'SELECT {columns} FROM "{self._kind.name}"',
                self._use_case,
                [self._kind],
                start=None if self._until is None else start_of(self._until),
                end=start_of(day) - _INSTANT,
            )
            self._keys.update(event_keys(frame, self._kind))
        return self._keys

    def add(self, day: date, parsed: ParsedEvents) -> None:
        """Remember the keys of a day just sorted."""
        self._keys.update(event_keys(parsed.valid, self._kind))
        self._until = day + timedelta(days=1)


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
        ],
        backfill_policy=SINGLE_RUN,
    )
    def events(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        tally = _sort_days(platform, use_case, days(context.partition_keys))
        for day, (n_valid, n_violations) in tally.by_day.items():
            context.add_asset_metadata({_PARTITION_ROWS: n_valid}, key, partition_key=day.isoformat())
            context.add_asset_metadata({_PARTITION_ROWS: n_violations}, quarantine, partition_key=day.isoformat())
        yield from _check_results(key, tally)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": sum(tally.valid.values()),
                "rows_by_kind": tally.valid,
                "quarantined_rows_by_kind": tally.quarantined,
                "null_rates": tally.null_rates(),
                **{f"schema_{kind.name}": _schema(kind) for kind in use_case.events},
            },
        )
        yield dg.MaterializeResult(
            asset_key=quarantine,
            metadata={
                "dagster/row_count": sum(tally.reasons.values()),
                "quarantined_rows": sum(tally.quarantined.values()),
                "violations_by_column": tally.reasons,
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(c.name, c.type, c.comment) for c in QUARANTINED_EVENTS.columns]
                ),
            },
        )

    return events


def _sort_days(platform: PlatformResource, use_case: UseCase, ordered: Sequence[date]) -> _Tally:
    lake, layout, tally = platform.lake(), platform.layout, _Tally()
    known: Mapping[str, _KnownKeys] = {kind.name: _KnownKeys(lake, use_case, kind) for kind in use_case.events}
    for day in ordered:
        quarantined: list[QuarantinedEvent] = []
        n_valid = 0
        for kind in use_case.events:
            file = layout.raw_events(use_case.name, kind.name, day).relative_to(layout.home).as_posix()
            content = lake.read_raw(use_case, kind, day)
            parsed = parse_events(content, kind, file, day, known[kind.name].before(day))
            known[kind.name].add(day, parsed)
            lake.write_events(use_case, kind, day, parsed.valid)
            quarantined.extend(parsed.quarantined)
            n_valid += len(parsed.valid)
            tally.add(kind.name, file, parsed)
        tally.by_day[day] = (n_valid, len(quarantined))
        lake.write_table(QUARANTINED_EVENTS, use_case, day, quarantine_frame(quarantined, use_case.name, day))
    return tally


def _check_results(key: dg.AssetKey, tally: _Tally) -> Iterator[dg.AssetCheckResult]:
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
        metadata={"quarantined_rows": n_quarantined, "raw_rows": n_rows, "violations_by_column": tally.reasons},
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
