"""Which row of an entity there was at a time: the questions that an explanation asks of a view's rows.

Belongs here: look-ups by position. Does not belong here: concluding anything. Upstream: feature rows of the lake.
Downstream: ``explaining``, ``shifts``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.use_case import Feature, FeatureView
from shadow_platform.domain.parity.values import Mask, as_values, differs

Places = NDArray[np.intp]
NOWHERE = -1


class ViewRows:
    """Rows of one view. A place is a row's number; ``NOWHERE`` is that of no row, whose values are null.

    Args:
        floors: feature -> difference up to which two of its values are one.
    """

    def __init__(
        self, view: FeatureView, features: Sequence[Feature], rows: pd.DataFrame, floors: Mapping[str, float]
    ) -> None:
        self._key, self._ttl, self._floors = view.entity, view.ttl, floors
        ordered = rows.sort_values(["event_at", "created_at"], kind="stable").reset_index(drop=True)
        moments = {name: ordered[name].astype("datetime64[us, UTC]") for name in ("event_at", "created_at")}
        self._rows = ordered.assign(**moments, **{self._key: ordered[self._key].astype(object)})
        nothing = [None]
        self._values = {f.name: as_values([*ordered[f.name].tolist(), *nothing], f.kind) for f in features}
        is_last = ~self._rows.duplicated([self._key, "event_at"], keep="last").to_numpy()
        self._places = np.flatnonzero(is_last)
        last = self._rows[is_last]
        self._index = pd.MultiIndex.from_arrays([last[self._key], last["event_at"]])
        self._known = self._newest_by_time()

    def _newest_by_time(self) -> pd.DataFrame:
        """At each time a row of an entity becomes known: its newest row by then. Places are in order of newness."""
        known_at = self._rows[["event_at", "created_at"]].max(axis=1)
        known = pd.DataFrame({"key": self._rows[self._key], "known_at": known_at, "place": np.arange(len(self._rows))})
        known = known.sort_values(["known_at", "place"], kind="stable")
        return known.assign(place=known.groupby("key", sort=False)["place"].cummax())

    def at(self, keys: pd.Series, moments: pd.Series) -> Places:
        """Place of each key's row that became true at exactly the moment; of several, the one created last."""
        if not len(self._index):
            return np.full(len(keys), NOWHERE, dtype=np.intp)
        found = self._index.get_indexer(pd.MultiIndex.from_arrays([keys, moments]))
        return np.where(found >= 0, self._places[found], NOWHERE)

    def newest(self, keys: pd.Series, moments: pd.Series) -> Places:
        """Place of each key's newest row that was known at the moment and within its time to live then."""
        if self._known.empty or not len(keys):
            return np.full(len(keys), NOWHERE, dtype=np.intp)
        asked = pd.DataFrame({"key": keys.to_numpy(), "known_at": moments.to_numpy(), "order": np.arange(len(keys))})
        asked["known_at"] = pd.to_datetime(asked["known_at"], utc=True).astype("datetime64[us, UTC]")
        asked = asked[asked["key"].notna()].sort_values("known_at", kind="stable")
        found = pd.merge_asof(asked, self._known, on="known_at", by="key")
        places = np.full(len(keys), NOWHERE, dtype=np.intp)
        places[found["order"].to_numpy()] = found["place"].fillna(NOWHERE).to_numpy(dtype=np.intp)
        is_alive = (moments.reset_index(drop=True) - self.event_at(places) <= self._ttl).to_numpy(dtype=bool)
        return np.where(is_alive, places, NOWHERE)

    def values(self, feature: str, places: Places) -> NDArray[Any]:
        """Values of a feature, in the form of ``as_values``."""
        return np.asarray(self._values[feature][places])

    def differ(self, feature: str, places: Places, values: NDArray[Any]) -> Mask:
        """Where other values of a feature differ from those of the rows."""
        return differs(values, self.values(feature, places), self._floors[feature])

    def event_at(self, places: Places) -> pd.Series:
        """When the rows became true; NaT for no row."""
        return self._moments("event_at", places)

    def created_at(self, places: Places) -> pd.Series:
        """When the rows could first be known; NaT for no row."""
        return self._moments("created_at", places)

    def _moments(self, name: str, places: Places) -> pd.Series:
        moments = self._rows[name]
        found = moments.reindex(places).reset_index(drop=True)
        return found.astype("datetime64[us, UTC]")
