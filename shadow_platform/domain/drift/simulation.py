"""A frame with drift of known strength, to see whether monitoring would notice.

Upstream: any feature frame. Downstream: ``shadow drift --simulate-drift``, benchmarks, tests.
"""

import numpy as np
import pandas as pd

UNTOUCHED = frozenset({"requested_at", "weight"})


def simulate_drift(frame: pd.DataFrame, strength: float, seed: int = 0) -> pd.DataFrame:
    """A copy that drifted: numeric columns by ``strength`` standard deviations, categorical ones to fewer levels.

    Of a categorical column, a share ``min(strength, 1) / 2`` of the rows is set to its most frequent level. Integer
    and boolean columns become floats; ``score`` stays within 0 and 1. Strength 0 returns an equal copy.
    """
    if strength == 0:
        return frame.copy()
    rng = np.random.default_rng(seed)
    moved = frame.copy()
    for name in frame.columns:
        column = frame[name]
        if name in UNTOUCHED or column.notna().sum() == 0:
            continue
        if pd.api.types.is_datetime64_any_dtype(column):
            continue
        if pd.api.types.is_numeric_dtype(column):
            values = column.astype("float64")
            moved[name] = values + strength * values.std(ddof=0)
            if name == "score":
                moved[name] = moved[name].clip(0, 1)
        else:
            chosen = (rng.random(len(frame)) < min(abs(strength), 1.0) / 2) & column.notna().to_numpy()
            moved[name] = column.where(~chosen, column.mode().iloc[0])
    return moved
