"""Two-sample tests and distances on plain arrays; each is checked against scipy.

Belongs here: formulas. Does not belong here: features, policies, rules. Upstream: arrays. Downstream: measure,
verdict. A test takes effective sample sizes, so that rows of one day, which share weather and schedules, do not
count as independent; ``df`` is the number of degrees of freedom with which the inflation was estimated.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Array = npt.NDArray[np.float64]


def ks_distance(reference: Array, current: Array) -> float:
    """Largest distance of two distribution functions, of rows per ordered cell.

    >>> round(ks_distance(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])), 3)
    0.667
    """
    gaps = np.cumsum(reference) / reference.sum() - np.cumsum(current) / current.sum()
    return float(np.abs(gaps).max())


def harmonic_size(n_reference: float, n_current: float) -> float:
    """Size of one sample as informative as the two together: ``n m / (n + m)``."""
    return n_reference * n_current / (n_reference + n_current)


def ks_p_value(statistic: float, n_reference: float, n_current: float) -> float:
    """Two-sided p-value of the two-sample KS test, by the one-sample law at the harmonic size (as scipy's asymp)."""
    size = max(1, round(harmonic_size(n_reference, n_current)))
    return float(stats.kstwo.sf(statistic, size))


def pool_rare_levels(reference: Array, current: Array, minimum: float = 5.0) -> npt.NDArray[np.int64]:
    """New code of each level, from 0 for the most frequent; levels expected too rarely in a sample share the last.

    If the pooled rest is itself expected less than ``minimum`` times, the smallest kept level joins it.

    >>> pool_rare_levels(np.array([50.0, 1.0, 30.0]), np.array([50.0, 2.0, 30.0])).tolist()
    [0, 1, 1]
    """
    total = reference + current
    share = min(reference.sum(), current.sum()) / total.sum()
    order = np.argsort(-total, kind="stable")
    keep = int((total[order] * share >= minimum).sum())
    while 0 < keep < len(order) and total[order[keep:]].sum() * share < minimum:
        keep -= 1
    new = np.empty(len(order), dtype=np.int64)
    new[order] = np.minimum(np.arange(len(order)), keep)
    return new


def chi_square(reference: Array, current: Array, dimension: float | None = None) -> tuple[float, float]:
    """Statistic and p-value of the homogeneity test of two rows of (effective) counts; both samples are random.

    Args:
        dimension: directions in which the shares really vary from day to day, between 1 and levels minus 1 (the
            default). Fewer than levels minus 1 make the statistic more skewed (Rao and Scott 1984, second order).

    >>> chi_square(np.array([10.0, 10.0]), np.array([10.0, 10.0]))
    (0.0, 1.0)
    """
    total = reference + current
    reference, current, total = reference[total > 0], current[total > 0], total[total > 0]
    free = len(total) - 1
    if free < 1:
        return 0.0, 1.0
    n, m = reference.sum(), current.sum()
    gaps = (reference / n - current / m) ** 2
    statistic = float(harmonic_size(n, m) * (gaps * (n + m) / total).sum())
    dimension = float(free) if dimension is None else min(max(dimension, 1.0), float(free))
    return statistic, float(stats.chi2.sf(statistic * dimension / free, dimension))


def proportion_p_value(p_reference: float, n_reference: float, p_current: float, n_current: float) -> float:
    """Two-sided p-value of the pooled z-test on two proportions."""
    pooled = (p_reference * n_reference + p_current * n_current) / (n_reference + n_current)
    variance = pooled * (1 - pooled) / harmonic_size(n_reference, n_current)
    if variance == 0:
        return 1.0
    return float(2 * stats.norm.sf(abs(p_current - p_reference) / np.sqrt(variance)))


def with_estimated_variance(p_value: float, df: float) -> float:
    """P-value when the variance behind it was estimated from ``df`` degrees of freedom: normal to Student quantile.

    >>> with_estimated_variance(0.05, float("inf"))
    0.05
    >>> round(with_estimated_variance(0.05, 10), 3)
    0.078
    """
    if not np.isfinite(df) or p_value >= 1:
        return p_value
    return float(2 * stats.t.sf(stats.norm.isf(max(p_value, 1e-300) / 2), df))


def benjamini_hochberg(p_values: Array, q: float) -> npt.NDArray[np.bool_]:
    """Which hypotheses are rejected at false discovery rate ``q`` (Benjamini and Hochberg 1995).

    >>> benjamini_hochberg(np.array([0.001, 0.02, 0.9]), 0.05).tolist()
    [True, True, False]
    """
    if not len(p_values):
        return np.zeros(0, dtype=bool)
    ranked = np.sort(p_values)
    below = np.flatnonzero(ranked <= q * np.arange(1, len(ranked) + 1) / len(ranked))
    limit = ranked[below[-1]] if len(below) else -1.0
    return p_values <= limit


@dataclass(frozen=True, slots=True)
class Curve:
    """A distribution function: ``below[i]`` of the values lie at or below ``points[i]``, linear between points.

    A jump, where many values are equal, is two points beside each other.
    """

    points: Array
    below: Array

    def quantile(self, share: float) -> float:
        """Smallest point at or below which so large a share lies, between points by interpolation."""
        place = int(np.clip(np.searchsorted(self.below, share, side="left"), 1, len(self.below) - 1))
        low, high = self.below[place - 1], self.below[place]
        part = (share - low) / (high - low) if high > low else 1.0
        return float(self.points[place - 1] + part * (self.points[place] - self.points[place - 1]))

    def standard_deviation(self) -> float:
        """Root of the variance, values spread evenly between points."""
        shares, low, high = np.diff(self.below), self.points[:-1], self.points[1:]
        mean = (shares * (low + high)).sum() / 2
        low, high = low - mean, high - mean
        return float(np.sqrt((shares * (low**2 + low * high + high**2)).sum() / 3))


def exact_curve(values: Array, counts: Array) -> Curve:
    """Curve of distinct values, ascending, and how often each occurs."""
    below = np.cumsum(counts) / counts.sum()
    return Curve(np.repeat(values, 2), np.column_stack([np.append(0.0, below[:-1]), below]).reshape(-1))


def cell_curve(edges: Array, counts: Array, lowest: float, highest: float) -> Curve:
    """Curve of rows per cell ``(edges[i - 1], edges[i]]``, values spread evenly in each.

    Values of an outer cell thin out towards the least or greatest one, as those of an exponential tail: they end where
    an even spread has the mean of that tail. No cell reaches further out than the edges span, so that one outlier does
    not stretch it.
    """
    span = edges[-1] - edges[0]
    start = edges[0] - min(max(edges[0] - lowest, 0.0) * _tail(counts[0]), span)
    end = edges[-1] + min(max(highest - edges[-1], 0.0) * _tail(counts[-1]), span)
    points = np.concatenate([[start], edges, [end]])
    return Curve(points, np.append(0.0, np.cumsum(counts)) / counts.sum())


def _tail(n: float) -> float:
    """Twice the mean over the expected maximum of ``n`` exponential values, at most 1."""
    return min(1.0, 2.0 / float(np.log1p(max(n, 1.0)))) if n else 0.0


def wasserstein(reference: Curve, current: Curve) -> float:
    """Mean distance of equal quantiles, the area between both curves, in the unit of the values."""
    points = np.unique(np.concatenate([reference.points, current.points]))
    first, second = _sides(reference, points), _sides(current, points)
    start, end = (first[1] - second[1])[:-1], (first[0] - second[0])[1:]
    sizes = np.abs(start) + np.abs(end)
    crossing = (start**2 + end**2) / (2 * np.where(sizes > 0, sizes, 1.0))
    return float((np.where(start * end >= 0, sizes / 2, crossing) * np.diff(points)).sum())


def _sides(curve: Curve, points: Array) -> tuple[Array, Array]:
    """Share below each point, just before it and just after."""
    low, high = (np.searchsorted(curve.points, points, side=side) for side in ("left", "right"))
    between = np.interp(points, curve.points, curve.below)
    is_knot = high > low
    return (
        np.where(is_knot, curve.below[np.minimum(low, len(curve.below) - 1)], between),
        np.where(is_knot, curve.below[np.maximum(high - 1, 0)], between),
    )


def quantile_groups(counts: Array, n_groups: int) -> npt.NDArray[np.int64]:
    """First cell of each of at most ``n_groups`` neighbourhoods of cells with about equal counts.

    >>> quantile_groups(np.array([1.0, 1.0, 1.0, 1.0]), 2).tolist()
    [0, 2]
    """
    upto = np.cumsum(counts)
    ends = np.searchsorted(upto, np.arange(1, n_groups) * (upto[-1] / n_groups), side="left") + 1
    return np.unique(np.append(0, ends[ends < len(counts)]))


def smoothed(counts: Array) -> Array:
    """Shares with half a row added per level (Jeffreys), so that an empty level is rare, not impossible."""
    return cast(Array, (counts + 0.5) / (counts.sum() + 0.5 * len(counts)))


def population_stability_index(reference: Array, current: Array) -> float:
    """PSI of two rows of counts: symmetric divergence of the smoothed shares, nats."""
    p, q = smoothed(reference), smoothed(current)
    return float(((q - p) * np.log(q / p)).sum())


def kullback_leibler(reference: Array, current: Array) -> float:
    """Divergence of the current from the reference shares, ``sum q log(q / p)``, nats."""
    return float(special.rel_entr(smoothed(current), smoothed(reference)).sum())


def jensen_shannon(reference: Array, current: Array) -> float:
    """Jensen-Shannon divergence of two rows of counts, nats, between 0 and ln 2 (the square of scipy's distance)."""
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    return float((special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()) / 2)


def total_variation(reference: Array, current: Array) -> float:
    """Half the sum of absolute differences of two rows of counts, as shares."""
    return float(np.abs(reference / reference.sum() - current / current.sum()).sum() / 2)
