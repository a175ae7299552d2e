"""Whether served rows are true rows under another row's time: the mark of a wrong time zone.

Upstream: served vectors that are not the row of their time. Downstream: ``explaining``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.domain.parity.rows import NOWHERE, ViewRows
from shadow_platform.domain.parity.values import Mask

LARGEST = timedelta(hours=14)
QUARTER = timedelta(minutes=15)
"""Time zones lie up to 14 hours apart, in steps of a quarter of an hour."""
SHIFTS = tuple(sorted((n * QUARTER for n in range(-56, 57) if n), key=abs))
MIN_SHARE = 0.5
MAX_VOTERS = 2_000


def equals_row(
    rows: ViewRows, places: NDArray[np.intp], served: Mapping[str, Any], compared: Mapping[str, Mask]
) -> Mask:
    """Where there is a row whose values are, in all features that are compared, those that were served."""
    is_equal: Mask = places != NOWHERE
    for name, values in served.items():
        is_equal = is_equal & ~(compared[name] & rows.differ(name, places, values))
    return is_equal


def common_shift(
    rows: ViewRows, keys: pd.Series, read_at: pd.Series, served: Mapping[str, Any], compared: Mapping[str, Mask]
) -> timedelta | None:
    """The shift that makes true rows of at least half of the vectors; ``None`` without one. The smallest wins a tie.

    Args:
        keys, read_at, served, compared: of vectors that are not the row of the time they were read at.
    """
    some = (
        np.linspace(0, len(keys) - 1, min(len(keys), MAX_VOTERS)).astype(int) if len(keys) else np.empty(0, dtype=int)
    )
    if not len(some):
        return None
    keys, read_at = keys.iloc[some].reset_index(drop=True), read_at.iloc[some].reset_index(drop=True)
    served = {name: values[some] for name, values in served.items()}
    compared = {name: mask[some] for name, mask in compared.items()}
    votes = [int(equals_row(rows, rows.at(keys, read_at - shift), served, compared).sum()) for shift in SHIFTS]
    best = int(np.argmax(votes))
    return SHIFTS[best] if votes[best] >= max(1, MIN_SHARE * len(some)) else None
