"""New partitions of a table whose rows come in any order of days and may be more than fit into memory.

Belongs here: gathering rows in one file beside the table, and cutting it into its days at the end. Does not belong
here: what rows mean. Upstream: assets that go through many days at once. Downstream: partitions of tables.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shadow_platform.adapters.lake.parquet import (
    Types,
    arrow_schema,
    connection,
    explained,
    identifier,
    literal,
    replaced_by,
)

Lock = Callable[[date], AbstractContextManager[object]]


class TableBatch:
    """Rows of some days; replaces the partition of each when the block ends, and of none if it raises.

    Args:
        folder: folder of the partitions, ``dt=<day>/data.parquet`` each.
        time_column: column whose UTC day is the partition.
        lock: lock of a partition.
    """

    def __init__(self, folder: Path, types: Types, time_column: str, days: Sequence[date], lock: Lock) -> None:
        self._folder, self._time_column, self._days, self._lock = folder, time_column, days, lock
        folder.mkdir(parents=True, exist_ok=True)
        self._gathered = folder / f".gathered-{uuid4().hex}"
        self._schema = arrow_schema(types)
        self._writer = pq.ParquetWriter(self._gathered, self._schema, compression="zstd")
        self._with_rows: set[date] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if error is None:
                for day in self._days:
                    self._replace(day)
        finally:
            self._gathered.unlink(missing_ok=True)

    def append(self, rows: pd.DataFrame) -> None:
        """Add rows of the batch's days."""
        if len(rows):
            self._writer.write_table(pa.Table.from_pandas(rows, self._schema, preserve_index=False))
            self._with_rows.update(rows[self._time_column].dt.date)

    def _replace(self, day: date) -> None:
        with self._lock(day), replaced_by(self._folder / f"dt={day}" / "data.parquet") as beside:
            if day not in self._with_rows:
                pq.write_table(self._schema.empty_table(), beside)
                return
            within = f"{identifier(self._time_column)} >= $day AND {identifier(self._time_column)} < $next"
            rows = f"SELECT * FROM read_parquet({literal(str(self._gathered))}) WHERE {within}"
            with connection() as con, explained():
                con.execute(
                    f"COPY ({rows}) TO {literal(str(beside))} (FORMAT parquet, COMPRESSION zstd)",
                    {"day": f"{day}T00:00:00Z", "next": f"{day + timedelta(days=1)}T00:00:00Z"},
                )
