"""What the log tells of the requests of one day: what they were served, and from which rows.

Upstream: rows of ``predictions``. Downstream: the point-in-time join, ``explaining``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pandas as pd

from shadow_platform.contracts.records import FeatureValue
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.parity.values import Mask, as_values

MILLISECOND = timedelta(milliseconds=1)
COLUMNS = (
    *("request_id", "requested_at", "logged_at", "entities", "features", "feature_times", "overridden"),
    *("features_from_request", "features_from_online"),
)
"""Columns of ``predictions`` that a replay reads."""


@dataclass(frozen=True, slots=True)
class ServedRequests:
    """Requests in order of their times.

    Attributes:
        asked: ``request_id, requested_at, logged_at`` and the join keys. The log keeps milliseconds; a row that was
            read within the millisecond shows that the request came after it.
        records: features as served, as in the log.
        values: feature -> values in the form of ``as_values``.
        read_at: view -> when the row that was read became true; NaT where none was.
        overridden: feature -> where the request brought the value itself, or may have.
        has_times: where the log tells which rows were read. Not in records older than version 5, but for those with
            nothing from the store, of which it can not be told whether a row without any value was read.
    """

    asked: pd.DataFrame
    records: list[dict[str, FeatureValue]]
    values: Mapping[str, Any]
    read_at: pd.DataFrame
    overridden: Mapping[str, Mask]
    has_times: Mask

    def __len__(self) -> int:
        return len(self.asked)


def served_requests(use_case: UseCase, predictions: pd.DataFrame) -> ServedRequests:
    """What was served; rows without entities, from before they were kept, cannot be replayed and are left out.

    Args:
        predictions: ``COLUMNS`` of the table.
    """
    known = predictions[predictions["entities"].notna()]
    rows = known.sort_values(["requested_at", "request_id"], kind="stable").reset_index(drop=True)
    records: list[dict[str, FeatureValue]] = [orjson.loads(text) for text in rows["features"]]
    read_at = _read_at(use_case, rows)
    has_times = (rows["features_from_online"].fillna(0).eq(0) | read_at.notna().any(axis=1)).to_numpy(dtype=bool)
    latest = read_at.max(axis=1) if len(read_at.columns) else pd.Series(pd.NaT, index=rows.index)
    requested = _moments(rows["requested_at"])
    is_within = (latest > requested) & (latest < requested + MILLISECOND)
    asked = rows[["request_id"]].assign(
        requested_at=requested.mask(is_within, latest), logged_at=_moments(rows["logged_at"])
    )
    entities = [orjson.loads(text) for text in rows["entities"]]
    for entity in use_case.entities:
        asked[entity.join_key] = pd.Series([found.get(entity.join_key) for found in entities], dtype=object)
    values = {f.name: as_values([record.get(f.name) for record in records], f.kind) for f in use_case.features}
    return ServedRequests(asked, records, values, read_at, _overridden(use_case, rows, records, has_times), has_times)


def _moments(values: Any) -> pd.Series:
    return pd.Series(pd.to_datetime(values, utc=True)).astype("datetime64[us, UTC]")


def _read_at(use_case: UseCase, rows: pd.DataFrame) -> pd.DataFrame:
    times = [orjson.loads(text) if isinstance(text, str) else {} for text in rows["feature_times"]]
    return pd.DataFrame(
        {
            view.name: _moments(pd.to_datetime([found.get(view.name) for found in times], utc=True, format="ISO8601"))
            for view in use_case.views
        },
        index=rows.index,
    )


def _overridden(
    use_case: UseCase, rows: pd.DataFrame, records: list[dict[str, FeatureValue]], has_times: Mask
) -> dict[str, Mask]:
    """Where the request brought a view's feature. An old record only tells that it brought some, or none."""
    own = [feature.name for feature in use_case.request_features]
    n_own = np.array([sum(record.get(name) is not None for name in own) for record in records], dtype=int)
    brought_more = rows["features_from_request"].fillna(0).to_numpy(dtype=int) > n_own
    named = [
        frozenset(names) if isinstance(names, list | tuple | np.ndarray) else frozenset()
        for names in rows["overridden"]
    ]
    return {
        feature.name: np.array([feature.name in names for names in named], dtype=bool) | (~has_times & brought_more)
        for view in use_case.views
        for feature in use_case.view_features(view.name)
    }
