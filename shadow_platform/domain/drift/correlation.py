"""Which pairs of numeric features changed their rank correlation.

Upstream: columns, clusters. Downstream: verdict. Spearman's correlation of the binned values; Fisher's z with the
variance 1.06 / (n - 3) of Fieller, Hartley and Pearson (1957); rows of one day counted by their design effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from shadow_platform.domain.drift.clusters import Array, Codes, DaySums, degrees_of_freedom, design_effects, likeness
from shadow_platform.domain.drift.columns import Column, Values

MAX_ROWS = 100_000
MAX_CORRELATION = 0.999999
MIN_PAIRS = 50


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """Rank correlation of one pair before and after; ``p_value`` is not yet corrected for the number of pairs."""

    first: str
    second: str
    reference: float
    current: float
    p_value: float


@dataclass(frozen=True, slots=True)
class _Moments:
    """Pairwise moments of one sample; every matrix is (features, features)."""

    n: Array
    correlation: Array
    days: DaySums


def correlation_changes(
    columns: Mapping[str, Column], days_reference: Codes | None, days_current: Codes | None
) -> list[CorrelationChange]:
    """Every pair of the columns (numeric ones), strongest evidence first; pairs of constants are left out."""
    names = [name for name, column in columns.items() if column.reference.ordered is not None]
    if len(names) < 2:
        return []
    before = _moments([columns[name].reference for name in names], days_reference)
    after = _moments([columns[name].current for name in names], days_current)
    is_clustered = days_reference is not None and days_current is not None
    p_values = _p_values(before, after, is_clustered)
    changes = [
        CorrelationChange(names[i], names[j], before.correlation[i, j], after.correlation[i, j], p_values[i, j])
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if np.isfinite(p_values[i, j])
    ]
    return sorted(changes, key=lambda change: (change.p_value, -abs(change.current - change.reference)))


def _moments(values: list[Values], days: Codes | None) -> _Moments:
    rows = _thinned(len(values[0].codes), days)
    ranks = np.column_stack([_standard_ranks(v.codes[rows]) for v in values])
    mask = np.column_stack([v.codes[rows] >= 0 for v in values]).astype(np.float64)
    second, third = ranks**2, ranks**3
    n, q2 = mask.T @ mask, second.T @ mask
    scale = np.sqrt(q2 * q2.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.where(scale > 0, (ranks.T @ ranks) / scale, np.nan)
    mixed = third.T @ ranks
    squares = second.T @ second - rho * (mixed + mixed.T)
    fourth = (second**2).T @ mask
    squares = squares + rho**2 / 4 * (fourth + 2 * second.T @ second + fourth.T)
    return _Moments(n, rho, _influence_by_day(ranks, mask, rho, squares, None if days is None else days[rows]))


def _thinned(n: int, days: Codes | None) -> npt.NDArray[np.int64]:
    """At most 100,000 rows, day after day, evenly spaced: the floor on a change is far above what more would show."""
    order = np.arange(n) if days is None else np.argsort(days, kind="stable")
    return order if n <= MAX_ROWS else order[(np.arange(MAX_ROWS) * n) // MAX_ROWS]


def _standard_ranks(codes: Codes) -> Array:
    """Midranks of the bins within this sample, mean 0 and variance 1; 0 where null."""
    valid = codes >= 0
    if not valid.any():
        return np.zeros(len(codes))
    counts = np.bincount(codes[valid]).astype(np.float64)
    midranks = np.cumsum(counts) - counts / 2
    mean = (midranks * counts).sum() / counts.sum()
    spread = np.sqrt(((midranks - mean) ** 2 * counts).sum() / counts.sum())
    scores = (midranks - mean) / spread if spread > 0 else np.zeros(len(counts))
    return np.where(valid, scores[codes], 0.0)


def _influence_by_day(ranks: Array, mask: Array, rho: Array, squares: Array, days: Codes | None) -> DaySums:
    """Day sums of each row's influence on each correlation, ``a b - rho (a^2 + b^2) / 2``, pairs flattened."""
    if days is None:
        return DaySums(np.array([float(len(ranks))]), np.zeros((1, rho.size)), squares.reshape(-1))
    starts = np.flatnonzero(np.diff(days, prepend=-1))
    ends = np.append(starts[1:], len(days))
    sums = np.empty((len(starts), rho.size))
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        block, present = ranks[start:end], mask[start:end]
        own = (block**2).T @ present
        sums[place] = (block.T @ block - rho / 2 * (own + own.T)).reshape(-1)
    return DaySums((ends - starts).astype(np.float64), sums, squares.reshape(-1))


def _p_values(before: _Moments, after: _Moments, is_clustered: bool) -> Array:
    effects, df = [np.ones(before.n.size), np.ones(before.n.size)], None
    if is_clustered:
        samples = [before.days, after.days]
        alike = likeness(samples)
        effects = design_effects(alike.each(), samples)
        df = degrees_of_freedom(alike, alike.each(), samples).reshape(before.n.shape)
    sizes = [
        np.maximum(moments.n / effect.reshape(moments.n.shape), 4.0)
        for moments, effect in zip((before, after), effects, strict=True)
    ]
    spread = np.sqrt(1.06 / (sizes[0] - 3) + 1.06 / (sizes[1] - 3))
    bounded = [np.arctanh(np.clip(m.correlation, -MAX_CORRELATION, MAX_CORRELATION)) for m in (before, after)]
    z = np.abs(bounded[1] - bounded[0]) / spread
    p_values = 2 * (stats.norm.sf(z) if df is None else stats.t.sf(z, df))
    enough = (before.n >= MIN_PAIRS) & (after.n >= MIN_PAIRS)
    return np.where(enough, p_values, np.nan)
