"""The lake's entry: events, features and tables of a use case, by name and day.

Belongs here: which file a partition is, and what its columns must be. Does not belong here: what rows mean, and which
day is due. Upstream: contracts, layout. Downstream: every asset, through ``PlatformResource.lake()``.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from shadow_platform.adapters.lake import frames, log_tables, raw, requests, warehouse
from shadow_platform.adapters.lake.answers import answers_sql
from shadow_platform.adapters.lake.events import EventBatch
from shadow_platform.adapters.lake.label_imports import LabelImports
from shadow_platform.adapters.lake.parquet import (
    Result,
    check_columns,
    connection,
    duckdb_type,
    explained,
    fetch,
    files_relation,
    frame_of,
    identifier,
    read_frame,
    undisturbed,
    write_frame,
    written_or_explained,
)
from shadow_platform.adapters.lake.table_batch import TableBatch
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.lineage import FrameRecord
from shadow_platform.contracts.tables import PREDICTIONS, TABLES, TableSchema
from shadow_platform.contracts.use_case import EventKind, FeatureView, UseCase

LOCK_TIMEOUT_S = 60.0
Rows = Sequence[Mapping[str, Any]] | pd.DataFrame


class Lake:
    """Parquet files below one home folder. Holds nothing open between calls; safe in threads and processes.

    A use case, kind or view may be given by value or by name; by value, its declared types are enforced.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def land_raw(self, uc: UseCase | str, kind: EventKind | str, day: date, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a raw event file was written: one with rows that lies there stays; raises ``EventFileError``."""
        path = self.layout.raw_events(_name(uc), _name(kind), day)
        if path.exists() and path.stat().st_size > 0:
            return False
        raw.write_rows(path, rows)
        return True

    def add_raw(self, uc: UseCase | str, kind: EventKind | str, day: date, lines: Iterable[bytes]) -> int | None:
        """Add the lines that a raw event file lacks, as ``raw.add_lines``; how many, ``None``: it lacked none."""
        return raw.add_lines(self.layout.raw_events(_name(uc), _name(kind), day), lines)

    def read_raw(self, uc: UseCase | str, kind: EventKind | str, day: date) -> Iterator[bytes]:
        """Content of a raw event file in blocks; raises ``EventFileError`` when it is missing or unreadable."""
        return raw.read_blocks(self.layout.raw_events(_name(uc), _name(kind), day))

    @contextmanager
    def event_batch(self, uc: UseCase, kind: EventKind) -> Iterator[EventBatch]:
        """New partitions of one kind of events, for rows that come in parts and may repeat keys.

        Raises:
            LakeError: a value does not fit the kind's schema, or the disk refuses; every old partition then stands.
        """
        types = self._event_types(uc, kind) or {}
        folder, what = self.layout.events(uc.name, kind.name), f"events {uc.name}/{kind.name}"
        with written_or_explained(what), EventBatch(folder, types, kind.key, what) as batch:
            yield batch

    @contextmanager
    def table_batch(self, schema: TableSchema, uc: UseCase, days: Sequence[date]) -> Iterator[TableBatch]:
        """New partitions of the days of a table, for rows that come in parts; raises ``LakeError``."""
        folder = self.layout.tables / schema.name / f"use_case={uc.name}"
        locks = partial(self._lock, schema, uc)
        with (
            written_or_explained(f"table {schema.name}, {uc.name}"),
            TableBatch(folder, _table_types(schema), schema.time_column, days, locks) as batch,
        ):
            yield batch

    def write_events(self, uc: UseCase | str, kind: EventKind | str, day: date, df: pd.DataFrame) -> int:
        """Replace the validated events of one kind and receipt day; returns the number of rows.

        Raises:
            LakeError: columns or types differ from the kind's schema.
        """
        name = _name(kind)
        path = self.layout.events(_name(uc), name, day)
        return write_frame(path, df, self._event_types(uc, kind), f"events {_name(uc)}/{name} of {day}")

    def write_features(self, uc: UseCase | str, view: FeatureView | str, day: date, df: pd.DataFrame) -> int:
        """Replace the feature rows of one view whose ``event_at`` lies in a UTC day, unless they are the same.

        Raises:
            LakeError: columns differ from the view's declaration, or ``(join key, event_at)`` is not unique.
        """
        name = _name(view)
        types = self._feature_types(uc, view)
        key = list(types)[:2] if types else []
        path = self.layout.features(_name(uc), name, day)
        return write_frame(path, df, types, f"features {_name(uc)}/{name} of {day}", key, keep_same=True)

    def event_days(self, uc: UseCase | str, kind: EventKind | str) -> list[date]:
        """Receipt days that have a partition, in order."""
        return _days(self.layout.events(_name(uc), _name(kind)))

    def feature_days(self, uc: UseCase | str, view: FeatureView | str) -> list[date]:
        """Days that have a partition, in order."""
        return _days(self.layout.features(_name(uc), _name(view)))

    def read_features(
        self, uc: UseCase | str, view: FeatureView | str, start: date | None = None, end: date | None = None
    ) -> pd.DataFrame:
        """Feature rows of the days in ``[start, end)``."""
        files = [
            self.layout.features(_name(uc), _name(view), day)
            for day in self.feature_days(uc, view)
            if (start is None or day >= start) and (end is None or day < end)
        ]
        types = self._feature_types(uc, view)
        if not files and types is None:
            raise LakeError(
                f"features {_name(uc)}/{_name(view)} have no partition in [{start}, {end}); make them first"
            )
        return read_frame(files, types)

    def events_sql(
        self,
        sql: str,
        uc: UseCase | str,
        kinds: Sequence[EventKind | str],
        params: Mapping[str, Any] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        extra: Mapping[str, pd.DataFrame] | None = None,
    ) -> pd.DataFrame:
        """Result of a query over one view a kind, named as the kind, and the frames in ``extra``.

        Args:
            params: values of ``$name`` in the query; those it does not mention are left out.
            start, end: only partitions of receipt days that overlap ``[start, end]`` are read. The query itself must
                compare ``received_at``, because partitions are whole days.

        Raises:
            LakeError: the query fails, or a kind given by name alone has no file to take its columns from.
        """
        with connection() as con:
            for kind in (kind for kind in kinds if re.search(rf"\b{re.escape(_name(kind))}\b", sql)):
                files = [
                    self.layout.events(_name(uc), _name(kind), day)
                    for day in self.event_days(uc, kind)
                    if (start is None or day >= _utc_day(start)) and (end is None or day <= _utc_day(end))
                ]
                types = self._event_types(uc, kind)
                if not files and types is None:
                    raise LakeError(f"events {_name(uc)}/{_name(kind)} have no partition; materialize them first")
                with explained():
                    con.execute(f"CREATE TEMP VIEW {identifier(_name(kind))} AS {files_relation(files, types)}")
            for name, frame in (extra or {}).items():
                con.register(name, frame)
            return fetch(con, sql, _mentioned(sql, params or {}))

    def write_table(self, schema: TableSchema, uc: UseCase | str, day: date, df: pd.DataFrame) -> int:
        """Replace one daily partition of a table; returns the number of rows. No rows make an empty file.

        Raises:
            LakeError: columns, types, key, use case or day contradict the schema.
        """
        what = f"table {schema.name}, {_name(uc)}, {day}"
        types = _table_types(schema)
        check_columns(df, types, what)
        _check_partition(schema, _name(uc), day, df, what)
        with self._lock(schema, uc, day):
            return write_frame(self.layout.table(schema.name, _name(uc), day), df, types, what, schema.key)

    def append_rows(self, schema: TableSchema, uc: UseCase | str, rows: Rows) -> int:
        """Merge rows into the partitions of their ``time_column``; an equal key replaces. Returns the number given.

        Raises:
            LakeError: as ``write_table``; rows of other days may then already be merged, and a repeat is harmless.
        """
        if not len(rows):
            return 0
        df = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame.from_records([dict(row) for row in rows])
        check_columns(df, _table_types(schema), f"table {schema.name}, {_name(uc)}")
        days = pd.to_datetime(df[schema.time_column], utc=True, format="ISO8601").dt.date
        for day, part in df.groupby(days):
            self._merge(schema, uc, day, part)
        return len(rows)

    def read_table(
        self,
        schema: TableSchema,
        uc: UseCase | str,
        start: date | None = None,
        end: date | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rows of the partitions in ``[start, end)`` in the schema's columns or some of them, also without a file."""
        types = _table_types(schema)
        return read_frame(self.files(schema, uc, start, end), {name: types[name] for name in columns or types})

    def files(
        self, schema: TableSchema, uc: UseCase | str, start: date | None = None, end: date | None = None
    ) -> list[Path]:
        """Parquet files of the partitions in ``[start, end)``, in order of their days."""
        return [
            self.layout.table(schema.name, _name(uc), day)
            for day in self.table_days(schema, uc)
            if (start is None or day >= start) and (end is None or day < end)
        ]

    def table_days(self, schema: TableSchema, uc: UseCase | str) -> list[date]:
        """Days of a table that have a partition, in order."""
        return _days(self.layout.tables / schema.name / f"use_case={_name(uc)}")

    def sql(self, query: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Result of a query over the tables, named as in the warehouse, of all use cases."""

        def read() -> pd.DataFrame:
            with connection() as con, explained():
                warehouse.create_views(con, self.layout, TABLES)
                return fetch(con, query, params)

        asked = [table for table in TABLES if re.search(rf"\b{table.name}\b", query, re.IGNORECASE)]
        return undisturbed(lambda: warehouse.partitions(self.layout, asked), read)

    def read_answers(self, uc: UseCase, features: Sequence[str] = (), start: date | None = None) -> pd.DataFrame:
        """Rows of ``predictions`` from a day on: what answers are judged by, and some features as they were served."""
        kinds = {feature.name: feature.kind for feature in uc.features if feature.name in features}
        files = self.files(PREDICTIONS, uc, start)
        return undisturbed(lambda: files, lambda: frame_of(answers_sql(files, kinds)))

    def request_batches(
        self, uc: UseCase, start: datetime, end: datetime, batch_rows: int = requests.BATCH_ROWS, one_in: int = 1
    ) -> Iterator[pd.DataFrame]:
        """Requests of ``predictions`` made in ``[start, end)`` as typed columns, at most so many rows at a time.

        A column a feature as served, ``score``, ``bundle_hash`` and ``requested_at``; a feature that no request
        mentions has none. Of ``one_in`` requests one is read, always the same.
        """
        kinds = {feature.name: feature.kind for feature in uc.features}
        return requests.batches(self._request_files(uc, start, end), kinds, start, end, batch_rows, one_in)

    def request_hours(self, uc: UseCase | str, start: datetime, end: datetime) -> pd.DataFrame:
        """``hour_at, n, input_fingerprint`` of the hours in ``[start, end)`` with requests in ``predictions``."""
        return requests.hours(self._request_files(uc, start, end), start, end)

    def undisturbed(self, uc: UseCase | str, start: datetime, end: datetime, read: Callable[[], Result]) -> Result:
        """What ``read`` makes of the requests in ``[start, end)``; read again when they were replaced meanwhile."""
        return undisturbed(lambda: self._request_files(uc, start, end), read)

    def hidden_requests(self, uc: UseCase | str, since: date, until: date) -> pd.DataFrame:
        """``subject_id, requested_at, context`` of requests whose positive decision was carried out, not explored.

        Those of days that are in the log alone, or in the table in part, count as well; a few may come twice.
        """
        keys, days = ["subject_id", "requested_at", "context"], self.table_days(PREDICTIONS, uc)
        last = until + timedelta(days=1)
        answers = self.read_table(PREDICTIONS, uc, since, last, [*keys, "prediction", "is_explored"])
        is_explored = answers["is_explored"].astype("boolean").fillna(False).astype(bool)
        tabled = answers.loc[answers["prediction"].astype(bool) & ~is_explored, keys]
        complete = set(days[:-1])
        due = [day for n in range((until - since).days + 1) if (day := since + timedelta(days=n)) not in complete]
        if not due:
            return tabled
        logged = log_tables.carried_out(self.layout.log("predictions", _name(uc)), _name(uc), due[0], due[-1])
        return pd.concat([tabled, logged], ignore_index=True) if len(tabled) else logged

    def label_imports(self, uc: UseCase) -> LabelImports:
        """Labels that were imported from files."""
        return LabelImports(self.layout, self, uc)

    def publish_warehouse(self) -> Path:
        """Replace ``warehouse.duckdb``; returns its path."""
        warehouse.publish(self.layout, TABLES)
        return self.layout.warehouse

    def ingest_predictions(self, uc: UseCase | str, day: date, last: date | None = None) -> tuple[pd.DataFrame, int]:
        """Logged predictions requested on the UTC days up to ``last`` (default: the one day), and unreadable lines."""
        root = self.layout.log("predictions", _name(uc))
        return log_tables.read_days(log_tables.PREDICTION_LOG, root, _name(uc), day, last or day)

    def ingest_shadow(self, uc: UseCase | str, day: date, last: date | None = None) -> tuple[pd.DataFrame, int]:
        """Logged comparisons of requests of the UTC days up to ``last`` (default: the one), and unreadable lines."""
        root = self.layout.log("shadow", _name(uc))
        return log_tables.read_days(log_tables.SHADOW_LOG, root, _name(uc), day, last or day)

    def doubled_comparisons(self, uc: UseCase | str, day: date, last: date | None = None) -> pd.DataFrame:
        """Surplus records of the raw shadow log up to ``last``: ``day, challenger_version, n_doubled``."""
        return log_tables.count_doubled(self.layout.log("shadow", _name(uc)), _name(uc), day, last or day)

    def write_frame(self, uc: UseCase | str, frame: pd.DataFrame, record: FrameRecord) -> Path:
        """Keep the exact frame of a training, and how it came about, under its fingerprint; returns its path."""
        return frames.write(self.layout, _name(uc), frame, record)

    def read_frame(self, uc: UseCase | str, fingerprint: str) -> pd.DataFrame:
        """The frame of a training by its fingerprint; raises ``LakeError`` when there is none."""
        return frames.read(self.layout, _name(uc), fingerprint)

    def find_frame(self, uc: UseCase | str, prefix: str) -> str:
        """The one fingerprint of a frame that starts so; raises ``LakeError`` when there is none, or more than one."""
        return frames.find(self.layout, _name(uc), prefix)

    def frame_record(
        self, uc: UseCase | str, fingerprint: str, partitions_fingerprint: str | None = None
    ) -> FrameRecord | None:
        """How a frame came about: of these partitions, or the first time; ``None`` when nobody recorded it."""
        found = frames.records(self.layout, _name(uc), fingerprint)
        return next((r for r in found if partitions_fingerprint in {None, r.partitions_fingerprint}), None)

    def _request_files(self, uc: UseCase | str, start: datetime, end: datetime) -> list[Path]:
        last = end - timedelta(microseconds=1)
        return self.files(PREDICTIONS, uc, _utc_day(start), _utc_day(last) + timedelta(days=1))

    def _merge(self, schema: TableSchema, uc: UseCase | str, day: date, rows: pd.DataFrame) -> None:
        types = _table_types(schema)
        path = self.layout.table(schema.name, _name(uc), day)
        what = f"table {schema.name}, {_name(uc)}, {day}"
        _check_partition(schema, _name(uc), day, rows, what)
        with self._lock(schema, uc, day):
            write_frame(path, rows, types, what, schema.key, keep_others=True)

    def _lock(self, schema: TableSchema, uc: UseCase | str, day: date) -> FileLock:
        path = self.layout.locks(f"tables/{schema.name}/{_name(uc)}/{day}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, timeout=LOCK_TIMEOUT_S)

    @staticmethod
    def _event_types(uc: UseCase | str, kind: EventKind | str) -> dict[str, str] | None:
        if isinstance(kind, str):
            kind = next((k for k in uc.events if k.name == kind), kind) if isinstance(uc, UseCase) else kind
        if isinstance(kind, str):
            return None
        return {name: duckdb_type(str(column.dtype)) for name, column in kind.schema.columns.items()}

    @staticmethod
    def _feature_types(uc: UseCase | str, view: FeatureView | str) -> dict[str, str] | None:
        if isinstance(uc, str):
            return None
        declared = next((v for v in uc.views if v.name == _name(view)), None)
        if declared is None:
            known = ", ".join(v.name for v in uc.views)
            raise LakeError(f"view {_name(view)!r} is unknown in use case {uc.name!r}; known: {known}")
        features = uc.view_features(declared.name)
        return {
            declared.entity: "VARCHAR",
            "event_at": "TIMESTAMPTZ",
            "created_at": "TIMESTAMPTZ",
            **{f.name: "DOUBLE" if f.kind == "numeric" else "VARCHAR" for f in features},
        }


def _name(value: UseCase | EventKind | FeatureView | str) -> str:
    return value if isinstance(value, str) else value.name


def _table_types(schema: TableSchema) -> dict[str, str]:
    return {column.name: column.type for column in schema.columns}


def _days(folder: Path) -> list[date]:
    return sorted(date.fromisoformat(path.parent.name.removeprefix("dt=")) for path in folder.glob("dt=*/data.parquet"))


def _utc_day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _mentioned(sql: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if re.search(rf"\${re.escape(name)}\b", sql)}


def _check_partition(schema: TableSchema, uc: str, day: date, df: pd.DataFrame, what: str) -> None:
    """The end of a day may be written with the day: a window that ends with it has this as its time."""
    foreign = sorted(set(df["use_case"]) - {uc})
    if foreign:
        raise LakeError(f"{what}: rows of use case {foreign} do not belong here; write them under their own name")
    moments = pd.to_datetime(df[schema.time_column], utc=True, format="ISO8601")
    start = pd.Timestamp(datetime.combine(day, time.min, tzinfo=UTC))
    outside = moments[~((moments >= start) & (moments <= start + timedelta(days=1)))]
    if not outside.empty:
        raise LakeError(
            f"{what}: {schema.time_column} {outside.iloc[0]} lies outside the day; write the row to its own day"
        )
