"""The newest time in a column of a table, read from few of its partitions.

Belongs here: one number of large tables, without their rows. Does not belong here: rows. Upstream: Parquet files.
Downstream: the exporter.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from shadow_platform.adapters.lake.parquet import files_relation, frame_of, identifier, undisturbed


def newest_time(files: Sequence[Path], column: str, until: datetime | None = None) -> datetime | None:
    """Newest time in a column of some files, not after ``until``; ``None`` when there is none."""
    relation = files_relation(files, {column: "TIMESTAMPTZ"})
    limit = "" if until is None else f"WHERE {identifier(column)} <= $until"
    query = f"SELECT max({identifier(column)}) AS newest FROM ({relation}) {limit}"
    params = {} if until is None else {"until": until}
    found = undisturbed(lambda: files, lambda: frame_of(query, params))["newest"].iloc[0]
    return None if found is None or found != found else found.to_pydatetime()
