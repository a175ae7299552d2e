"""Judged rows whose days are alike within, for tests of metrics, segments and importance.

Belongs here: what these tests share. Does not belong here: assertions.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Days = npt.NDArray[np.int64]


def days_that_differ(rng: np.random.Generator, n_days: int, rows_a_day: int) -> tuple[Labels, Floats, Days]:
    """Labels, probabilities and days; each day has its own number of rows, level and slope, unknown to the model."""
    rows = np.maximum(5, (rows_a_day * rng.lognormal(0, 0.3, n_days)).astype(int))
    day = np.repeat(np.arange(n_days), rows)
    signal = rng.normal(0, 1, len(day)) + rng.normal(0, 0.3, n_days)[day]
    level, slope = rng.normal(0, 0.3, n_days)[day], rng.normal(1, 0.2, n_days)[day]
    labels = rng.random(len(day)) < expit(-1.5 + level + slope * signal)
    return labels, expit(-1.5 + signal), day
