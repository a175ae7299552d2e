"""Recorded requests cut where the online store must be brought forward between two of them.

Belongs here: which requests may be sent together, and which rows the store holds by then. Does not belong here:
sending, writing (``cli.traffic``). Upstream: requests and feature rows of the lake. Downstream: ``cli.traffic``.

A stream or a materialization in time would have brought every row online when it could be known. So a batch is
answered from the rows known at its first request, and ends before a request of which a newer row is known.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.use_case import UseCase

Times = npt.NDArray[np.datetime64]


class OnlineHistory:
    """Feature rows of a period, in the order in which they became known.

    Args:
        rows: by view; a row is known at its ``created_at``.
    """

    def __init__(self, use_case: UseCase, rows: Mapping[str, pd.DataFrame]) -> None:
        self._entities = {view.name: view.entity for view in use_case.views}
        self._rows = {view: found.sort_values("created_at", kind="stable") for view, found in rows.items()}
        self._known = {view: _times(found["created_at"]) for view, found in self._rows.items()}
        self._taken = dict.fromkeys(self._rows, 0)

    def take(self, until: pd.Timestamp) -> Iterator[tuple[str, pd.DataFrame]]:
        """Rows of each view that became known since the last call, ``until`` included; no view without any."""
        for view, rows in self._rows.items():
            first, last = self._taken[view], int(self._known[view].searchsorted(_moment(until), side="right"))
            self._taken[view] = max(first, last)
            if first < last:
                yield view, rows.iloc[first:last]

    def newest_known(self, requests: pd.DataFrame) -> Times:
        """When the newest row that each request may read became known, over all views; NaT where there is none."""
        newest = np.full(len(requests), np.datetime64("NaT", "us"))
        for view, rows in self._rows.items():
            newest = np.fmax(newest, _as_of(requests, rows, self._entities[view]))
        return newest


def batches(times: "pd.Series[Any]", newest_known: Times) -> Iterator[range]:
    """Positions of requests that may be sent together, in order; none holds requests of two hours.

    Args:
        times: ``requested_at``, ascending.
        newest_known: of each request, as ``OnlineHistory`` has it.
    """
    asked = _times(times)
    hours = asked.astype("datetime64[h]")
    first = 0
    for at in range(1, len(asked)):
        if newest_known[at] > asked[first] or hours[at] != hours[first]:
            yield range(first, at)
            first = at
    if len(asked):
        yield range(first, len(asked))


def _as_of(requests: pd.DataFrame, rows: pd.DataFrame, entity: str) -> Times:
    left = pd.DataFrame({"at": _times(requests["requested_at"]), "entity": requests[entity].astype(str).to_numpy()})
    right = pd.DataFrame({"known": _times(rows["created_at"]), "entity": rows[entity].astype(str).to_numpy()})
    return pd.merge_asof(left, right, left_on="at", right_on="known", by="entity")["known"].to_numpy()


def _times(column: "pd.Series[Any]") -> Times:
    return pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[us]")


def _moment(at: pd.Timestamp) -> np.datetime64:
    return np.datetime64(at.tz_convert("UTC").tz_localize(None), "us")
