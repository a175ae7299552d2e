"""The newest row of a feature view that was known of an entity at any time: what an online store held then.

Upstream: feature rows of the lake. Downstream: ``traffic``.
"""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from shadow_platform.contracts.features import FeatureView
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import start_of
from shadow_platform.resources import PlatformResource

DAY = timedelta(days=1)


class KnownRows:
    """Rows of one view, asked for in order of time; only the first time reads back as far as rows live."""

    def __init__(self, use_case: UseCase, view: FeatureView) -> None:
        self._use_case, self._view = use_case, view
        self._values = [feature.name for feature in use_case.view_features(view.name)]
        self._held: pd.DataFrame | None = None
        self._read_until: date | None = None

    def at(
        self, platform: PlatformResource, requests: pd.DataFrame, first: date, until: date
    ) -> list[tuple[str, OnlineRow | None]]:
        """Name of the view, and its row, for each request of the days in ``[first, until)``, in order of time."""
        rows = self._rows(platform, first, until)
        entity = self._view.entity
        left = pd.DataFrame({"at": _times(requests["requested_at"]), "entity": requests[entity].astype(str).to_numpy()})
        right = pd.DataFrame(
            {"at": _times(rows["created_at"]), "entity": rows["entity"], "place": np.arange(len(rows))}
        )
        places = pd.merge_asof(left, right, on="at", by="entity")["place"]
        records = rows[self._values].astype(object).to_dict("records")
        moments = [moment.to_pydatetime() for moment in rows["event_at"]]
        return [
            (self._view.name, None if pd.isna(p) else OnlineRow(records[int(p)], moments[int(p)]))  # type: ignore[arg-type]
            for p in places
        ]

    def _rows(self, platform: PlatformResource, first: date, until: date) -> pd.DataFrame:
        """Rows in the order in which they became known; those that a store would refuse as outdated are left out."""
        is_next = self._held is not None and self._read_until == first
        since = first if is_next else first - max(self._view.ttl, DAY) - DAY
        # A row that becomes true at the end of a day lies in the next day's partition.
        read = platform.lake().read_features(self._use_case, self._view, since, until + DAY)
        read = read.assign(entity=read[self._view.entity].astype(str))
        found = pd.concat([self._held, read], ignore_index=True) if is_next else read
        found = found.drop_duplicates(["entity", "event_at", "created_at"], keep="last")
        found = found.sort_values(["created_at", "event_at"], kind="stable", ignore_index=True)
        newest = found.groupby("entity")["event_at"].cummax()
        found = found[found["event_at"] >= newest].reset_index(drop=True)
        is_known = found["created_at"] < pd.Timestamp(start_of(until))
        self._held = pd.concat([found[is_known].groupby("entity").tail(1), found[~is_known]], ignore_index=True)
        self._read_until = until
        return found


def _times(column: "pd.Series[pd.Timestamp]") -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    return pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
