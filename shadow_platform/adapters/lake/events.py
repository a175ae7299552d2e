"""Validated events on their way into the lake: staged beside their partitions, freed of repetitions, moved at the end.

Belongs here: Parquet files of events and the search for repeated keys. Does not belong here: what makes an event valid
(the events stage). Upstream: sorted rows. Downstream: partitions of events.

Nothing here grows with a file or with history: rows are written as they come, and keys are compared by DuckDB from the
key columns on disk, which spills to disk what exceeds ``MEMORY_LIMIT``.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shadow_platform.adapters.lake.parquet import (
    Types,
    arrow_schema,
    explained,
    has_rows_of,
    identifier,
    literal,
    new_database,
    replaced_by,
)
from shadow_platform.contracts.errors import LakeError

MEMORY_LIMIT = "500MB"
# Line of the raw file that an event came from; a column of the files beside those of the schema.
RAW_ROW = "_raw_row"
# DuckDB's own size, by which it shares out a file among threads.
_ROWS_PER_GROUP = 122_880
# A key is repeated if it stands on an earlier line, in the file of an earlier day, or in an earlier day of the lake. A
# day of the lake, whose lines are null, repeats it likewise when an earlier day comes after it.
# Only keys whose hash occurs twice are compared as they are; the hashes of the days staged bound the memory.
_REPEATED = """
WITH staged AS (SELECT hash({key}) AS hash, {key}, {day} AS day, {row} AS line FROM {staged}),
known AS (SELECT hash({key}) AS hash, {key}, {day} AS day FROM {known}),
suspects AS (
    SELECT hash FROM (SELECT hash FROM staged) GROUP BY hash HAVING count(*) > 1
    UNION
    SELECT hash FROM known WHERE hash IN (SELECT hash FROM staged)
),
bearers AS (
    SELECT {key}, day, line FROM staged WHERE hash IN (FROM suspects)
    UNION ALL
    SELECT {key}, day, NULL FROM known WHERE hash IN (FROM suspects)
)
FROM (SELECT day, line, row_number() OVER (PARTITION BY {key} ORDER BY day, line) AS nth FROM bearers)
SELECT day, line WHERE nth > 1
"""


@dataclass(slots=True)
class _Staged:
    """A partition that is being written."""

    beside: Path
    buffered: list[pa.Table] = field(default_factory=list)
    n_buffered: int = 0
    n_rows: int = 0
    writer: pq.ParquetWriter | None = None


class EventBatch:
    """New partitions of one event kind; takes their places when the block ends, all or, if it raises, none.

    A partition whose events are those that lie there already stays, with its file and the time of its modification.

    Args:
        folder: folder of the kind's partitions, ``dt=<day>/data.parquet`` each.
        types: columns and DuckDB types of an event.
        key: columns that identify an event.

    Attributes:
        outrun: other days of the lake with a key of an earlier day of this batch, known once repetitions are removed;
            they came first, and hold the event a second time until they are made again.
    """

    def __init__(self, folder: Path, types: Types, key: Sequence[str], what: str) -> None:
        self._folder, self._key, self._what = folder, [identifier(name) for name in key], what
        self._schema = arrow_schema({**types, RAW_ROW: "BIGINT"})
        self._staged: dict[date, _Staged] = {}
        self.outrun: tuple[date, ...] = ()
        self._places = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for staged in self._staged.values():
            self._close(staged)
        self._places.__exit__(kind, error, trace)

    def open(self, day: date) -> None:
        """Begin the partition of a day; without rows it stays empty."""
        path = self._folder / f"dt={day}" / "data.parquet"
        beside = self._places.enter_context(replaced_by(path, unless=has_rows_of(path, RAW_ROW)))
        self._staged[day] = _Staged(beside)

    def append(self, day: date, events: pd.DataFrame) -> None:
        """Add events, indexed by line of the raw file, to a partition that is open.

        Raises:
            LakeError: a value does not fit its declared type.
        """
        staged = self._staged[day]
        try:
            table = pa.Table.from_pandas(events, self._schema.remove(len(self._schema) - 1), preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise LakeError(f"{self._what} of {day}: a value does not fit the declared types: {error}") from error
        staged.buffered.append(table.append_column(self._schema.field(RAW_ROW), pa.array(events.index, pa.int64())))
        staged.n_buffered += len(table)
        staged.n_rows += len(table)
        if staged.n_buffered >= _ROWS_PER_GROUP:
            self._flush(staged)

    def close(self, day: date) -> None:
        """End the partition of a day; no more rows of it can come."""
        self._close(self._staged[day])

    def remove_repeated(self) -> Iterator[tuple[date, npt.NDArray[np.int64]]]:
        """Take out events whose key was received before; the lines of the raw file they came from, by day."""
        for staged in self._staged.values():
            self._close(staged)
        if not any(staged.n_rows for staged in self._staged.values()):
            return
        with new_database() as con, explained():
            con.execute(f"SET memory_limit = {literal(MEMORY_LIMIT)}")
            con.execute(f"SET temp_directory = {literal(str(self._folder / '.spilled'))}")
            con.execute(f"CREATE TEMP TABLE repeated AS {self._repeated_sql()}")
            again = con.execute("SELECT DISTINCT day FROM repeated WHERE line IS NULL ORDER BY day").fetchall()
            self.outrun = tuple(day for (day,) in again)
            for day in sorted(self._staged):
                query = "SELECT line FROM repeated WHERE day = ? ORDER BY line"
                lines = np.asarray(con.execute(query, [day]).fetchnumpy()["line"], dtype=np.int64)
                if len(lines):
                    self._rewrite(con, day)
                    self._staged[day].n_rows -= len(lines)
                    yield day, lines

    def n_rows(self, day: date) -> int:
        """Events of a day."""
        return self._staged[day].n_rows

    def _repeated_sql(self) -> str:
        staged = [str(staged.beside) for staged in self._staged.values() if staged.n_rows]
        known = [str(path) for path in self._folder.glob("dt=*/data.parquet") if _day(path) not in self._staged]
        return _REPEATED.format(
            key=", ".join(self._key),
            day="CAST(regexp_extract(filename, 'dt=([0-9-]{10})/[^/]*$', 1) AS DATE)",
            row=identifier(RAW_ROW),
            staged=self._scan(staged),
            known=self._scan(known),
        )

    def _scan(self, paths: Sequence[str]) -> str:
        if not paths:
            nulls = ", ".join(f"NULL AS {name}" for name in (*self._key, identifier(RAW_ROW), "filename"))
            return f"(SELECT {nulls} WHERE false)"
        files = ", ".join(literal(path) for path in paths)
        return f"read_parquet([{files}], filename = true, hive_partitioning = false, union_by_name = true)"

    def _rewrite(self, con: duckdb.DuckDBPyConnection, day: date) -> None:
        path = self._staged[day].beside
        with replaced_by(path) as sound:
            con.execute(
                f"COPY (SELECT * FROM read_parquet({literal(str(path))}, hive_partitioning = false) WHERE "
                f"{identifier(RAW_ROW)} NOT IN (SELECT line FROM repeated WHERE day = DATE '{day}')) "
                f"TO {literal(str(sound))} (FORMAT parquet, COMPRESSION zstd)"
            )

    def _flush(self, staged: _Staged) -> None:
        if staged.writer is None:
            staged.writer = pq.ParquetWriter(staged.beside, self._schema, compression="zstd")
        staged.writer.write_table(pa.concat_tables([self._schema.empty_table(), *staged.buffered]))
        staged.buffered, staged.n_buffered = [], 0

    def _close(self, staged: _Staged) -> None:
        if staged.buffered or staged.writer is None:
            self._flush(staged)
        if staged.writer is not None and staged.writer.is_open:
            staged.writer.close()


def _day(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("dt="))
