"""What a value of a column is: a number, a level, or null, whatever file it came from.

Belongs here: reading values. Does not belong here: which cell they fall into (grid), counting them (profiles).
Upstream: data frames. Downstream: grid, profiles, segments, classifier.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NUMBERS = frozenset({"floating", "integer", "mixed-integer-float", "decimal", "boolean", "empty"})


def is_number(value: object) -> bool:
    """Whether a single value is a number (a boolean is)."""
    return isinstance(value, int | float | np.number)


def as_numbers(series: "pd.Series[Any]") -> tuple[Array, Flags]:
    """Values as float64, NaN where null or infinite, and which of those nulls are values that are no numbers at all."""
    nothing = np.zeros(len(series), dtype=bool)
    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        is_foreign = nothing
    elif pd.api.types.infer_dtype(series, skipna=True) in NUMBERS:
        numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        is_foreign = nothing
    else:
        is_own = series.map(is_number).to_numpy(dtype=bool)
        is_foreign = ~is_own & series.notna().to_numpy()
        numbers = pd.to_numeric(series.where(is_own), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan), is_foreign


def level_codes(series: "pd.Series[Any]") -> tuple[Codes, list[str]]:
    """Place of each value among the levels, -1 where null, and the levels as text; ``1``, ``1.0``, ``"1"`` are one."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes, values = series.cat.codes.to_numpy(), series.cat.categories
    elif series.dtype != object or pd.api.types.infer_dtype(series, skipna=True) in {"string", "empty"}:
        codes, values = pd.factorize(series)
    else:
        # True equals 1, and yet is another level.
        codes, values = pd.factorize(series.map(_text, na_action="ignore"))
    places, levels = pd.factorize(np.array([_text(value) for value in values], dtype=object))
    return np.append(places, -1)[codes].astype(np.int64), list(levels)


def as_levels(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Values as text, with ``None`` for null."""
    codes, levels = level_codes(series)
    return pd.Series(np.array([*levels, None], dtype=object)[codes], index=series.index, dtype=object)


def _text(value: object) -> str:
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)  # type: ignore[call-overload]
