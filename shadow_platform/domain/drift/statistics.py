"""Two-sample tests and distances on plain arrays; each is checked against scipy.

Belongs here: formulas. Does not belong here: features, policies, rules. Upstream: arrays. Downstream: profiles,
verdict. A test takes effective sample sizes, so that rows of one day, which share weather and schedules, do not
count as independent; ``df`` is the number of degrees of freedom with which the inflation was estimated.
"""

from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Array = npt.NDArray[np.float64]
WASSERSTEIN_POINTS = 100_000


def ks_statistic(reference: Array, current: Array) -> float:
    """Largest distance of the two empirical distribution functions; both arrays sorted.

    Only the smaller sample is searched for: between two of its neighbours its own function is flat and the other's
    monotone, so the largest distance stands at, or immediately before, one of its points.

    >>> round(ks_statistic(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0])), 3)
    0.667
    """
    few, many = (reference, current) if len(reference) <= len(current) else (current, reference)
    points, first = np.unique(few, return_index=True)
    below_few = first / len(few)
    upto_few = np.append(first[1:], len(few)) / len(few)
    below_many = np.searchsorted(many, points, side="left") / len(many)
    upto_many = np.searchsorted(many, points, side="right") / len(many)
    return float(max(np.abs(below_few - below_many).max(), np.abs(upto_few - upto_many).max()))


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


def wasserstein(reference: Array, current: Array) -> float:
    """Mean distance of equal quantiles, in the unit of the values; both arrays sorted.

    Samples above 100,000 rows are thinned to as many equally spaced order statistics.
    """
    reference, current = _thin(reference), _thin(current)
    points = np.concatenate([reference, current])
    points.sort()
    below_reference = np.searchsorted(reference, points[:-1], side="right") / len(reference)
    below_current = np.searchsorted(current, points[:-1], side="right") / len(current)
    return float((np.abs(below_reference - below_current) * np.diff(points)).sum())


def _thin(ordered: Array) -> Array:
    if len(ordered) <= WASSERSTEIN_POINTS:
        return ordered
    return ordered[((np.arange(WASSERSTEIN_POINTS) + 0.5) * len(ordered) / WASSERSTEIN_POINTS).astype(np.int64)]


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
