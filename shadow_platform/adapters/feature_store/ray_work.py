"""How joins and the search for latest rows are cut into tasks of Ray, and put together again.

Belongs here: the cuts. Does not belong here: what a task does (``ray_tasks``), Ray itself (``ray_cluster``), Feast
(``ray_offline``, ``ray_engine``). Upstream: where the rows lie. Downstream: the offline store and the compute engine.

Entities are cut by time, not by key: a slice needs the partitions of its own time and of the time to live before it.
Cut by key, each would read everything. The longer the time to live, the more of what slices read is the same: there are
as many as together read at most twice the time that one would read, two where rows live for ever.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shadow_platform.adapters.feature_store import ray_cluster, ray_tasks
from shadow_platform.adapters.feature_store.asof import JoinedView, instants
from shadow_platform.adapters.feature_store.objects import Partitions
from shadow_platform.adapters.feature_store.ray_tasks import SourceView, Window

ROWS_A_SLICE = 20_000
"""Fewer entities are not worth a task of their own."""


def join_on_ray(
    address: str | None,
    entities: pa.Table | pd.DataFrame,
    views: Sequence[JoinedView],
    requested_at: str = "event_timestamp",
    *,
    known_only: bool = True,
) -> pa.Table:
    """What ``point_in_time_join`` answers, computed by Ray; each view has the path of its source as its only file."""
    if isinstance(entities, pd.DataFrame):
        entities = pa.Table.from_pandas(entities, preserve_index=False)
    at = instants(entities.column(requested_at), requested_at)
    rows = [Partitions(*view.rows) for view in views]
    slices = cut(at, views, ray_cluster.cpus(address))
    tasks = []
    for part in slices:
        needed = [needed_rows(view, source, at.take(part)) for view, source in zip(views, rows, strict=True)]
        tasks.append((entities.take(part), needed, requested_at, known_only))
    order = pa.concat_arrays(slices).to_numpy()
    joined = pa.concat_tables(ray_cluster.collect(address, ray_cluster.submit(address, ray_tasks.join_slice, tasks)))
    return joined.take(pa.array(np.argsort(order)))


def cut(times: pa.ChunkedArray, views: Sequence[JoinedView], n_most: int) -> list[pa.Array]:
    """Places of the entities in slices of consecutive times."""
    oldest, newest = (moment.as_py() for moment in pc.min_max(times).values())
    n_sharing = 2
    if newest is not None and all(view.ttl is not None for view in views):
        longest = max([timedelta.resolution, *(view.ttl for view in views if view.ttl is not None)])
        n_sharing += (newest - oldest) // longest
    count = max(1, min(n_most, n_sharing, math.ceil(len(times) / ROWS_A_SLICE)))
    return [pa.array(part) for part in np.array_split(pc.sort_indices(times).to_numpy(), count)]


def latest_on_ray(address: str | None, window: Window) -> list[Any]:
    """References to tables that together hold each entity's latest row in the window once."""
    files = window.files
    count = max(1, min(ray_cluster.cpus(address), len(files)))
    cuts = [(window, part.tolist(), count) for part in np.array_split(np.array(files, dtype=object), count)]
    parts = ray_cluster.submit(address, ray_tasks.latest_of_partitions, cuts, returns=count)
    if count == 1:
        return list(parts)
    return list(
        ray_cluster.submit(address, ray_tasks.latest_of_all, [(window, *of_one) for of_one in zip(*parts, strict=True)])
    )


def needed_rows(view: JoinedView, rows: Partitions, times: pa.ChunkedArray) -> SourceView:
    """The view with the partitions that may hold an answer; without any, the newest, for its columns."""
    oldest, newest = (moment.as_py() for moment in pc.min_max(times).values())
    files = []
    if newest is not None:
        files = rows.between(None if view.ttl is None else (oldest - view.ttl).date(), newest.date())
    return SourceView(replace(view, rows=pa.table({})), rows, files or rows.newest)
