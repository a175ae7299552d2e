"""One feature's values in both samples, read the same way whatever file they came from.

Belongs here: what counts as a number, a level, a null, and coding values into ordered bins or levels. Does not belong
here: tests. Upstream: data frames. Downstream: profiles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
N_BINS = 64
NUMBERS = frozenset({"floating", "integer", "mixed-integer-float", "decimal", "boolean", "empty"})


@dataclass(frozen=True, slots=True)
class Values:
    """One column of one sample.

    Attributes:
        codes: bin or level of each row; -1 where null.
        ordered: sorted numbers without nulls; ``None`` for a categorical column.
        n_foreign: rows whose value is not of the declared kind (they count as nulls).
    """

    codes: Codes
    ordered: Array | None
    n_foreign: int

    @property
    def null_rate(self) -> float:
        """Share of rows without a value."""
        return float((self.codes < 0).mean())

    @property
    def n_valid(self) -> int:
        """Rows with a value."""
        return int((self.codes >= 0).sum())


@dataclass(frozen=True, slots=True)
class Column:
    """One feature in both samples, in the same bins or levels.

    Attributes:
        unseen: levels of the current sample that the reference does not know, most frequent first.
        unseen_share: share of the current values in them.
    """

    reference: Values
    current: Values
    n_levels: int
    unseen: tuple[str, ...] = ()
    unseen_share: float = 0.0

    def counts(self) -> tuple[Array, Array]:
        """Rows per bin or level, reference and current."""
        reference, current = (
            np.bincount(v.codes[v.codes >= 0], minlength=self.n_levels).astype(np.float64)
            for v in (self.reference, self.current)
        )
        return reference, current


def is_number(value: object) -> bool:
    """Whether a single value is a number (a boolean is)."""
    return isinstance(value, int | float | np.number)


def as_numbers(series: "pd.Series[Any]") -> tuple[Array, int]:
    """Values as float64 with NaN for null or infinite, and the number of values that are no numbers at all."""
    if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        n_foreign = 0
    elif pd.api.types.infer_dtype(series, skipna=True) in NUMBERS:
        numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        n_foreign = 0
    else:
        is_own = series.map(is_number).astype(bool)
        n_foreign = int((~is_own & series.notna()).sum())
        numbers = pd.to_numeric(series.where(is_own), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan), n_foreign


def as_levels(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Values as text with ``None`` for null; ``1``, ``1.0`` and ``"1"`` are one level."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.infer_dtype(series, skipna=True) in {"string", "empty"}:
        return series.astype(object)
    texts = {value: _text(value) for value in series.dropna().unique()}
    return series.map(texts).astype(object)


def _text(value: object) -> str:
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)  # type: ignore[call-overload]


def numeric_column(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> Column:
    """Both samples in at most 64 bins between quantiles of the reference, so that no outlier decides the bins."""
    (before, foreign_before), (after, foreign_after) = as_numbers(reference), as_numbers(current)
    ordered_before, ordered_after = _ordered(before), _ordered(after)
    base = ordered_before if len(ordered_before) else ordered_after
    places = (np.arange(1, N_BINS) * len(base)) // N_BINS
    edges = np.unique(base[places]) if len(base) else np.zeros(0)
    return Column(
        Values(_bins(before, edges), ordered_before, foreign_before),
        Values(_bins(after, edges), ordered_after, foreign_after),
        len(edges) + 1,
    )


def _ordered(numbers: Array) -> Array:
    valid = numbers[~np.isnan(numbers)]
    valid.sort()
    return valid


def _bins(numbers: Array, edges: Array) -> Codes:
    codes = np.searchsorted(edges, numbers, side="left").astype(np.int64)
    codes[np.isnan(numbers)] = -1
    return codes


def categorical_column(reference: "pd.Series[Any]", current: "pd.Series[Any]") -> Column:
    """Both samples coded by the levels of the reference, then those only the current sample has."""
    before, after = as_levels(reference), as_levels(current)
    codes, levels = pd.factorize(pd.concat([before, after], ignore_index=True))
    split = len(before)
    known = int(codes[:split].max(initial=-1)) + 1
    late = np.bincount(codes[split:][codes[split:] >= known] - known, minlength=len(levels) - known)
    order = np.argsort(-late, kind="stable")
    valid = int((codes[split:] >= 0).sum())
    return Column(
        Values(codes[:split].astype(np.int64), None, 0),
        Values(codes[split:].astype(np.int64), None, 0),
        max(len(levels), 1),
        tuple(str(levels[known + place]) for place in order),
        float(late.sum()) / valid if valid else 0.0,
    )
