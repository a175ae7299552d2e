"""One imported label file on its way into the lake: what only the whole file and the lake can tell of its rows.

Belongs here: repeats, contradictions, unknown requests, and the one step in which an import lands. Does not belong
here: what one row must be (``domain.labels``), reading what has landed (``label_imports``). Upstream: sorted chunks of
a file. Downstream: the folder of the import.

Chunks lie in Parquet beside their place, and DuckDB spills to disk above its limit, so memory stays bounded.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shadow_platform.adapters.lake.parquet import explained, files_relation, fsync, literal, new_database
from shadow_platform.contracts.records import QuarantinedLabel
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform.contracts.use_case import UseCase

if TYPE_CHECKING:
    from shadow_platform.adapters.lake.store import Lake

MEMORY_LIMIT = "512MB"
# Rows looked up among the requests at once: their hash table must fit into memory.
LOOKUP_ROWS = 2_000_000
ACCEPTED, REFUSED, REPORT = "accepted.parquet", "refused.parquet", "import.json"
STAGED = ".staging-"
_INSTANT = timedelta(microseconds=1)
_KEYS = {"subject_id": "VARCHAR", "requested_at": "TIMESTAMPTZ"}
_KNOWN = {**_KEYS, "known_at": "TIMESTAMPTZ", "label": "BOOLEAN", "source": "VARCHAR"}
_UTC = pa.timestamp("us", tz="UTC")
_CANDIDATES = pa.schema(
    [
        ("row", pa.int64()),
        ("subject_id", pa.string()),
        ("requested_at", _UTC),
        ("label", pa.bool_()),
        ("event_at", _UTC),
        ("known_at", _UTC),
    ]
)
_FAULTS = pa.schema(
    [("row", pa.int64()), ("column_name", pa.string()), ("reason", pa.string()), ("payload", pa.string())]
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the rows of one file; JSON-ready.

    Attributes:
        n_repeated: rows that say again what another row of the file says; they count once.
        faults: by column (``row``: all of it): ``[rows at fault, the first of them, its reason]``.
        days: UTC days on which the accepted labels became known, ISO, in order.
    """

    import_id: str
    file: str
    imported_at: str
    n_rows: int
    n_accepted: int
    n_repeated: int
    n_refused: int
    faults: dict[str, tuple[int, int, str]]
    days: list[str]

    @property
    def known_days(self) -> list[date]:
        """The days as dates."""
        return [date.fromisoformat(day) for day in self.days]


class LabelStaging:
    """The rows of one file on their way into the lake; memory stays bounded, whatever the file's size."""

    def __init__(
        self,
        lake: "Lake",
        use_case: UseCase,
        folder: Path,
        known: Sequence[Path],
        import_id: str,
        file: str,
        imported_at: datetime,
    ) -> None:
        self._lake, self._use_case, self._known = lake, use_case, known
        self._folder, self._whole = folder, folder / "whole"
        self._import_id, self._file, self._imported_at = import_id, file, imported_at
        self._candidates = pq.ParquetWriter(folder / "candidates.parquet", _CANDIDATES)
        self._faults = pq.ParquetWriter(folder / "faults.parquet", _FAULTS)
        self._n_rows = 0

    def add(self, valid: pd.DataFrame, refused: Sequence[QuarantinedLabel], n_rows: int) -> None:
        """Keep a sorted chunk of ``n_rows`` rows."""
        self._candidates.write_table(pa.Table.from_pandas(valid, _CANDIDATES, preserve_index=False))
        rows = [(fault.row, fault.column, fault.reason, fault.payload) for fault in refused]
        columns = dict(zip(_FAULTS.names, zip(*rows, strict=True), strict=True)) if rows else None
        self._faults.write_table(pa.table(columns, _FAULTS) if columns else _FAULTS.empty_table())
        self._n_rows += n_rows

    def finish(self) -> ImportReport:
        """Sort out what only the whole file and the lake can tell; what is left is ready to land."""
        self._candidates.close()
        self._faults.close()
        self._whole.mkdir()
        with new_database() as con, explained():
            con.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET threads = 2; SET preserve_insertion_order = false")
            con.execute(f"SET temp_directory = {literal(str(self._folder / 'spill'))}")
            self._load(con)
            self._refuse_contradictions(con)
            self._refuse_unknown_requests(con)
            self._write(con)
            report = self._report(con)
        (self._whole / REPORT).write_text(json.dumps(asdict(report)), encoding="utf-8")
        return report

    def land(self) -> None:
        """Move the import to its place in one step."""
        for path in (*self._whole.iterdir(), self._whole):
            fsync(path)
        os.replace(self._whole, self._folder.parent / self._import_id)
        fsync(self._folder.parent)

    def _load(self, con: duckdb.DuckDBPyConnection) -> None:
        con.execute(
            f"""CREATE VIEW candidates AS
            SELECT row, subject_id, requested_at, label, coalesce(event_at, known_at, now_at) AS event_at,
                coalesce(known_at, now_at) AS known_at,
                to_json({{subject_id: subject_id, requested_at: {_text("requested_at")}, label: label,
                    event_at: {_text("event_at")}, known_at: {_text("known_at")}}}) AS payload
            FROM {_scan(self._folder / "candidates.parquet")},
                (SELECT {_instant(self._imported_at)} AS now_at)"""
        )
        con.execute(
            f"CREATE TABLE faults AS SELECT *, true AS is_refused FROM {_scan(self._folder / 'faults.parquet')}"
        )

    def _refuse_contradictions(self, con: duckdb.DuckDBPyConnection) -> None:
        """Rows of one request and ``known_at``: equal ones count once, different ones and those of the lake do not."""
        con.execute(
            """CREATE TABLE repeated AS
            SELECT subject_id, requested_at, known_at, min(row) AS first_row,
                bool_or(label) <> bool_and(label) AS differs
            FROM candidates GROUP BY ALL HAVING count(*) > 1"""
        )
        con.execute(
            """INSERT INTO faults
            SELECT row, CASE WHEN differs THEN 'label' END, CASE WHEN differs THEN
                'contradicts another row of the file with the same request and known_at; keep the one that is true'
                ELSE 'repeats a row of the file' END, payload, differs
            FROM candidates JOIN repeated USING (subject_id, requested_at, known_at)
            WHERE differs OR row <> first_row"""
        )
        con.execute(
            f"""INSERT INTO faults
            SELECT DISTINCT ON (c.row) c.row, 'label', 'contradicts ' || k.source
                || ', which knows otherwise since the same instant; a correction has a later known_at', c.payload, true
            FROM candidates c JOIN ({files_relation(self._known, _KNOWN)}) k
                USING (subject_id, requested_at, known_at)
            WHERE c.label <> k.label AND c.row NOT IN (SELECT row FROM faults)"""
        )

    def _refuse_unknown_requests(self, con: duckdb.DuckDBPyConnection) -> None:
        span = con.execute("SELECT min(requested_at), max(requested_at), coalesce(max(row), 0) FROM candidates")
        ((first, last, last_row),) = span.fetchall()
        for start in range(0, last_row, LOOKUP_ROWS):
            unknown = self._unknown(first, last, start, start + LOOKUP_ROWS)
            con.register("unknown", unknown)
            con.execute(
                """INSERT INTO faults
                SELECT row, 'subject_id', 'no request of ' || subject_id || ' at ' || requested_at
                    || ' was answered or recorded', payload, true
                FROM candidates WHERE row IN (SELECT row FROM unknown) AND row NOT IN (SELECT row FROM faults)"""
            )
            con.unregister("unknown")

    def _unknown(self, first: datetime, last: datetime, after: int, until: int) -> pd.DataFrame:
        """Rows in ``(after, until]`` whose request neither the events nor an answer tells of."""
        tables = self._lake.files(PREDICTIONS, self._use_case, first.date(), last.date() + timedelta(days=1))
        return self._lake.events_sql(
            f"""SELECT c.row FROM {_scan(self._folder / "candidates.parquet")} c
            ANTI JOIN (
                SELECT CAST(subject_id AS VARCHAR) AS subject_id, requested_at FROM ({self._use_case.requests_sql}
                ) UNION ALL SELECT subject_id, requested_at FROM ({files_relation(tables, _KEYS)})
                UNION ALL SELECT subject_id, requested_at FROM logged
            ) r USING (subject_id, requested_at)
            WHERE c.row > {after} AND c.row <= {until}""",
            self._use_case,
            self._use_case.events,
            {"start": first, "end": last + _INSTANT},
            end=last + _INSTANT,
            extra={"logged": self._logged(first.date(), last.date())},
        )

    def _logged(self, first: date, last: date) -> pd.DataFrame:
        """Answers that are in the log and not in a table yet."""
        tabled = self._lake.table_days(PREDICTIONS, self._use_case)
        since = max(first, tabled[-1]) if tabled else first
        rows, _ = self._lake.ingest_predictions(self._use_case, since, max(last, since))
        return rows[["subject_id", "requested_at"]]

    def _write(self, con: duckdb.DuckDBPyConnection) -> None:
        con.execute(
            f"""COPY (SELECT row, subject_id, requested_at, label, event_at, known_at,
                {literal(f"import:{self._file}")} AS source
                FROM candidates ANTI JOIN faults USING (row) ORDER BY known_at, requested_at, subject_id)
            TO {literal(str(self._whole / ACCEPTED))} (FORMAT parquet, COMPRESSION zstd)"""
        )
        con.execute(
            f"""COPY (SELECT {literal(self._use_case.name)} AS use_case,
                {_instant(self._imported_at)} AS imported_at, {literal(self._import_id)} AS import_id,
                {literal(self._file)} AS file, row, column_name, reason, payload
                FROM faults WHERE is_refused ORDER BY row, column_name)
            TO {literal(str(self._whole / REFUSED))} (FORMAT parquet, COMPRESSION zstd)"""
        )

    def _report(self, con: duckdb.DuckDBPyConnection) -> ImportReport:
        accepted = _scan(self._whole / ACCEPTED)
        days = con.execute(f"SELECT DISTINCT CAST(known_at AS DATE) AS day FROM {accepted} ORDER BY day").fetchall()
        faults = con.execute(
            """SELECT coalesce(column_name, 'row'), count(*), min(row), arg_min(reason, row)
            FROM faults WHERE is_refused GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        return ImportReport(
            import_id=self._import_id,
            file=self._file,
            imported_at=self._imported_at.isoformat(),
            n_rows=self._n_rows,
            n_accepted=_count(con, f"FROM {accepted}"),
            n_repeated=_count(con, "FROM faults WHERE NOT is_refused"),
            n_refused=_count(con, "FROM (SELECT DISTINCT row FROM faults WHERE is_refused)"),
            faults={name: (n, first, reason) for name, n, first, reason in faults},
            days=[day.isoformat() for (day,) in days],
        )


def _instant(value: datetime) -> str:
    return f"CAST({literal(value.isoformat())} AS TIMESTAMPTZ)"


def _text(column: str) -> str:
    """SQL that writes an instant as it may be imported again."""
    return f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ')"


def _scan(path: Path) -> str:
    return f"read_parquet({literal(str(path))})"


def _count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    ((n,),) = con.execute(f"SELECT count(*) {relation}").fetchall()
    return int(n)
