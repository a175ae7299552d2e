"""What Ray's workers do: join a slice of the entities, find the latest rows of some partitions, write rows online.

Belongs here: functions of plain values and Arrow tables, which any process could call; results do not depend on how
the work is cut. Does not belong here: Ray (``ray_cluster``) and the cuts (``ray_work``). Upstream: partitions wherever
they lie. Downstream: Ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from shadow_platform.adapters.feature_store.asof import JoinedView, connect, point_in_time_join, quoted
from shadow_platform.adapters.feature_store.objects import Partitions
from shadow_platform.adapters.feature_store.online import explained, open_online_store

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig


@dataclass(frozen=True)
class SourceView:
    """A view to join whose rows are still where its source says.

    Attributes:
        view: what to join; its rows are read here.
        rows: where they lie.
        files: of the partitions that the slice of entities needs.
    """

    view: JoinedView
    rows: Partitions
    files: Sequence[str]


@dataclass(frozen=True)
class Window:
    """Rows of one view between two moments, both included."""

    rows: Partitions
    keys: Sequence[str]
    features: Sequence[str]
    event_at: str
    created_at: str | None
    start: datetime
    end: datetime

    @property
    def columns(self) -> list[str]:
        """What is read."""
        return [*self.keys, self.event_at, *([self.created_at] if self.created_at else []), *self.features]

    @property
    def files(self) -> list[str]:
        """Partitions that may hold such rows; without any, the newest, which says what the columns are."""
        return self.rows.between(self.start.date(), self.end.date()) or self.rows.newest


def join_slice(entities: pa.Table, views: Sequence[SourceView], requested_at: str, known_only: bool) -> pa.Table:
    """The entities with the views' features, as ``point_in_time_join`` over all rows would answer them."""
    joined = []
    for source in views:
        view = source.view
        columns = [*view.keys.values(), view.event_at, *([view.created_at] if view.created_at else []), *view.features]
        joined.append(replace(view, rows=source.rows.read(source.files, list(dict.fromkeys(columns)))))
    return point_in_time_join(entities, joined, requested_at, known_only=known_only, threads=1)


def latest_of_partitions(window: Window, files: Sequence[str], buckets: int) -> "pa.Table | list[pa.Table]":
    """Each entity's latest row in some partitions of the window, cut into tables by the entities' hashes."""
    latest = latest_rows(window.rows.read(files, window.columns), window)
    if buckets == 1:
        return latest
    keys = ", ".join(quoted(key) for key in window.keys)
    with connect(1) as con:
        con.register("latest", latest)
        bucket = con.sql(f"SELECT (hash({keys}) % {buckets})::INTEGER AS bucket FROM latest").to_arrow_table()["bucket"]
    return [latest.filter(pc.equal(bucket, number)) for number in range(buckets)]


def latest_of_all(window: Window, *parts: pa.Table) -> pa.Table:
    """Each entity's latest row among the latest of some partitions, which are given in their order."""
    with explained(f"features in {window.rows.folder} changed a column's type", "make the partition again"):
        rows = pa.concat_tables(parts, promote_options="permissive")
    return latest_rows(rows, window)


def latest_rows(rows: pa.Table, window: Window) -> pa.Table:
    """Each entity's latest row in the window: the newest event, of equal ones the newest created, then the last."""
    keys = ", ".join(quoted(key) for key in window.keys)
    event_at = f"{quoted(window.event_at)}::TIMESTAMPTZ"
    # Where rows are compared, a null counts as the greatest value.
    known_at = f"coalesce({quoted(window.created_at)}::TIMESTAMPTZ, '-infinity')" if window.created_at else event_at
    has_key = "".join(f" AND {quoted(key)} IS NOT NULL" for key in window.keys)
    with connect(1) as con:
        con.register("rows", rows.append_column("n", pa.array(range(len(rows)), pa.int64())))
        found = con.sql(
            f"""SELECT max_by(n, ({event_at}, {known_at}, n)) AS n FROM rows
            WHERE {event_at} BETWEEN $start AND $end{has_key} GROUP BY {keys} ORDER BY n""",
            params={"start": window.start, "end": window.end},
        ).to_arrow_table()
    return rows.take(found["n"]).select(window.columns)


def write_online(config: "RepoConfig", view: bytes, rows: pa.Table) -> int:
    """Write rows to the online store that Feast's configuration names; returns how many.

    Args:
        view: Feast's message of the feature view.
    """
    from feast import FeatureView
    from feast.protos.feast.core.FeatureView_pb2 import FeatureView as Message

    from shadow_platform.adapters.feature_store.engine import write_rows

    write_rows(config, FeatureView.from_proto(Message.FromString(view)), open_online_store(config), rows)
    return len(rows)
