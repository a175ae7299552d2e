"""When two values of a feature are one.

Belongs here: equality across JSON, float32 and float64. Upstream: served and offline columns. Downstream:
``explaining``.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.use_case import FeatureKind

RELATIVE_TOLERANCE = 1e-6
"""Float32 keeps seven digits; a sum in another order loses fewer."""
ROUNDING = 1e-12
"""What is left where float64 sums cancel out, as a share of the column's largest value, or of 1 if all are smaller."""

Mask = NDArray[np.bool_]


def as_values(values: Any, kind: FeatureKind) -> NDArray[Any]:
    """Values of one feature in the form they are compared in: float64, or text and ``None``."""
    column = pd.Series(values, dtype=None if len(values) else object)
    if kind == "numeric":
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    return column.astype(object).where(column.notna(), None).map(lambda v: None if v is None else str(v)).to_numpy()


def is_null(values: NDArray[Any]) -> Mask:
    """Where there is no value."""
    return np.asarray(pd.isna(values), dtype=bool)


def rounding(*columns: NDArray[Any]) -> float:
    """Difference that rounding alone may make in values of one feature; 0 for text.

    >>> rounding(np.array([0.0, -2e6, np.nan]), np.array([0.5]))
    2e-06
    """
    numbers = [np.abs(column[np.isfinite(column)]) for column in columns if column.dtype != object]
    return ROUNDING * max([1.0, *(float(found.max()) for found in numbers if len(found))]) if numbers else 0.0


def differs(left: NDArray[Any], right: NDArray[Any], floor: float | None = None) -> Mask:
    """Where two columns in the form of ``as_values`` differ; null equals null.

    Args:
        floor: difference up to which numbers are one; by default what ``rounding`` may make in these columns.

    >>> differs(np.array([1.0, 1.0, 0.0, np.nan]), np.array([1.0 + 1e-9, 1.1, 1e-17, np.nan]))
    array([False,  True, False, False])
    """
    one_is_null = is_null(left) != is_null(right)
    both = ~is_null(left) & ~is_null(right)
    if left.dtype == object:
        return np.asarray(one_is_null | (both & (left != right)), dtype=bool)
    least = rounding(left, right) if floor is None else floor
    with np.errstate(invalid="ignore"):
        tolerance = np.maximum(RELATIVE_TOLERANCE * np.maximum(np.abs(left), np.abs(right)), least)
        return np.asarray(one_is_null | (both & (np.abs(left - right) > tolerance)), dtype=bool)
