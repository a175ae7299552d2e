"""How often each cause was met, by feature: rows of the table feature_parity.

Upstream: ``explaining``. Downstream: the asset feature_parity.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.domain.parity.causes import CAUSES, NOT_COMPARED
from shadow_platform.domain.parity.explaining import Comparison
from shadow_platform.domain.parity.served import ServedRequests


def parity_rows(
    use_case: str, day_at: datetime, served: ServedRequests, offline: pd.DataFrame, found: Sequence[Comparison]
) -> list[dict[str, Any]]:
    """One row a feature and cause that was met; a feature of which nothing was compared has none."""
    fingerprint = _fingerprint(served, offline)
    rows = []
    for comparison in found:
        n_compared = int((comparison.causes != NOT_COMPARED).sum())
        for place in np.unique(comparison.causes[comparison.causes != NOT_COMPARED]).tolist():
            is_met = comparison.causes == place
            rows.append(
                {
                    "use_case": use_case,
                    "day_at": day_at,
                    "feature": comparison.feature,
                    "view": comparison.source,
                    "cause": CAUSES[place].value,
                    "n": int(is_met.sum()),
                    "n_compared": n_compared,
                    "max_abs_diff": _largest(comparison.differences[is_met]),
                    "example_request_id": served.asked["request_id"].iloc[int(np.argmax(is_met))],
                    "input_fingerprint": fingerprint,
                }
            )
    return rows


def _largest(differences: Any) -> float | None:
    known = differences[~np.isnan(differences)]
    return float(known.max()) if len(known) else None


def _fingerprint(served: ServedRequests, offline: pd.DataFrame) -> str:
    """Of all that was compared; requests are in the order of their times."""
    told = pd.concat(
        [served.asked.drop(columns="logged_at"), pd.DataFrame(dict(served.values)), served.read_at], axis=1
    )
    digest = hashlib.sha256()
    for frame in (told, offline.reset_index(drop=True)):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy(dtype=np.uint64).tobytes())
    return digest.hexdigest()
