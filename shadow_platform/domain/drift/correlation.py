"""Which pairs of numeric features changed their rank correlation.

Belongs here: correlations of two samples from their sums, and tests of the change. Does not belong here: which pairs
are fit to be tested (verdict). Upstream: profiles, clusters. Downstream: verdict.

Values count by the rank that the reference gives their cell, so sums of hours add up. In a sample whose own values
moved these scores are no longer evenly spread, and a correlation may change for that reason alone. Fisher's z with the
variance 1.06 / (n - 3) of Fieller, Hartley and Pearson (1957); rows of one day counted by their design effect, on each
row's influence on the correlation, ``a b - r (a^2 + b^2) / 2`` of standardised scores.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from shadow_platform.domain.drift.clusters import Array, Codes, DaySums, day_effect
from shadow_platform.domain.drift.profiles import MOMENTS, Profiles

MAX_CORRELATION = 0.999999
MIN_PAIRS = 50
NO_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class CorrelationChange:
    """Rank correlation of one pair before and after; ``p_value`` is not yet corrected for the number of pairs."""

    first: str
    second: str
    reference: float
    current: float
    p_value: float


@dataclass(frozen=True, slots=True)
class _Sample:
    """Pairs of one sample; ``n`` and ``correlation`` of shape (pairs,)."""

    n: Array
    correlation: Array
    days: DaySums


def correlation_changes(
    reference: Profiles,
    current: Profiles,
    left_out: Collection[str],
    *,
    is_clustered: bool,
    persistence: float = 0.0,
) -> list[CorrelationChange]:
    """Every watched pair, strongest evidence first; pairs of constants are left out.

    Args:
        reference, current: on one grid; by day if rows of a day are alike, else of one period.
        left_out: features whose pairs are not looked at.
        persistence: of most columns' days; that of products of two columns is its square.
    """
    names = reference.grid.correlated
    if reference.correlations is None or current.correlations is None:
        return []
    kept = [place for place, name in enumerate(names) if name not in left_out]
    first, second = (np.array(kept, dtype=np.int64)[part] for part in np.triu_indices(len(kept), k=1))
    if not len(first):
        return []
    before, after = (_sample(profiles, first, second) for profiles in (reference, current))
    p_values = _p_values(before, after, persistence**2 if is_clustered else None)
    changes = [
        CorrelationChange(names[i], names[j], old, new, p_value)
        for i, j, old, new, p_value in zip(
            first.tolist(),
            second.tolist(),
            before.correlation.tolist(),
            after.correlation.tolist(),
            p_values.tolist(),
            strict=True,
        )
        if np.isfinite(p_value)
    ]
    return sorted(changes, key=lambda change: (change.p_value, -abs(change.current - change.reference)))


def _sample(profiles: Profiles, first: Codes, second: Codes) -> _Sample:
    """Correlations of pairs, and each row's influence on them, summed by day."""
    kept = profiles.n > 0
    worth = profiles.n.sum() / max(profiles.squares.sum(), 1.0)
    sums = _pair_sums(profiles, kept, first, second, worth)
    total = {moment: own.sum(axis=0) for moment, own in sums.items()}
    n = total[0, 0]
    raw = {moment: own / np.maximum(n, 1.0) for moment, own in total.items()}
    x, y = raw[1, 0], raw[0, 1]
    variances = raw[2, 0] - x**2, raw[0, 2] - y**2
    is_varied = (variances[0] > NO_VARIANCE) & (variances[1] > NO_VARIANCE) & (n > 0)
    s, t = (np.sqrt(np.where(is_varied, variance, 1.0)) for variance in variances)
    rho = np.where(is_varied, (raw[1, 1] - x * y) / (s * t), np.nan)
    r = np.nan_to_num(rho)
    first_square = (sums[2, 0] - 2 * x * sums[1, 0] + x**2 * sums[0, 0]) / s**2
    second_square = (sums[0, 2] - 2 * y * sums[0, 1] + y**2 * sums[0, 0]) / t**2
    product = (sums[1, 1] - y * sums[1, 0] - x * sums[0, 1] + x * y * sums[0, 0]) / (s * t)
    influence = product - r / 2 * (first_square + second_square)
    days = profiles.starts[kept].astype("datetime64[D]").astype(np.int64)
    return _Sample(n, rho, DaySums(days, profiles.n[kept] * worth, influence, n * _squared(raw, r, s, t)))


def _pair_sums(
    profiles: Profiles, kept: npt.NDArray[np.bool_], first: Codes, second: Codes, worth: float
) -> dict[tuple[int, int], Array]:
    """Moment -> its sum by period and pair, shape (periods, pairs), in independent rows."""
    if profiles.correlations is None:
        raise TypeError("profiles without sums of pairs have no correlations")
    known = profiles.correlations[kept] * worth
    sums = {moment: known[:, place][:, first, second] for place, moment in enumerate(MOMENTS)}
    mirrored = {(q, p): known[:, place][:, second, first] for place, (p, q) in enumerate(MOMENTS) if p != q}
    return {**sums, **mirrored}


def _squared(raw: dict[tuple[int, int], Array], r: Array, s: Array, t: Array) -> Array:
    """Mean square of a row's influence, from raw moments, by the centred moments of fourth order."""
    x, y = raw[1, 0], raw[0, 1]
    both = raw[2, 2] - 2 * y * raw[2, 1] - 2 * x * raw[1, 2] + y**2 * raw[2, 0] + x**2 * raw[0, 2]
    both = (both + 4 * x * y * raw[1, 1] - 3 * x**2 * y**2) / (s * t) ** 2
    three = raw[3, 1] - y * raw[3, 0] - 3 * x * raw[2, 1] + 3 * x * y * raw[2, 0] + 3 * x**2 * raw[1, 1]
    other = raw[1, 3] - x * raw[0, 3] - 3 * y * raw[1, 2] + 3 * x * y * raw[0, 2] + 3 * y**2 * raw[1, 1]
    mixed = (three - 3 * x**3 * y) / (s**3 * t) + (other - 3 * y**3 * x) / (t**3 * s)
    first = (raw[4, 0] - 4 * x * raw[3, 0] + 6 * x**2 * raw[2, 0] - 3 * x**4) / s**4
    second = (raw[0, 4] - 4 * y * raw[0, 3] + 6 * y**2 * raw[0, 2] - 3 * y**4) / t**4
    return np.maximum(both - r * mixed + r**2 / 4 * (first + 2 * both + second), 0.0)


def _p_values(before: _Sample, after: _Sample, persistence: float | None) -> Array:
    sizes, df = [before.n, after.n], None
    if persistence is not None:
        effective = day_effect([before.days, after.days], pooled=False).size(persistence)
        worth = before.n / before.days.rows, after.n / after.days.rows
        sizes, df = [effective.reference * worth[0], effective.current * worth[1]], effective.df
    spread = np.sqrt(sum(1.06 / (np.maximum(size, 4.0) - 3) for size in sizes))
    bounded = [np.arctanh(np.clip(m.correlation, -MAX_CORRELATION, MAX_CORRELATION)) for m in (before, after)]
    z = np.abs(bounded[1] - bounded[0]) / spread
    p_values = 2 * (stats.norm.sf(z) if df is None else stats.t.sf(z, df))
    enough = (before.n >= MIN_PAIRS) & (after.n >= MIN_PAIRS)
    return np.where(enough, p_values, np.nan)
