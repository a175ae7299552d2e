"""One feature compared between reference and window: tests at the effective number of rows, distances, null rates.

Belongs here: measuring. Does not belong here: deciding (verdict). Upstream: columns, clusters, statistics.
"""

from dataclasses import dataclass

import numpy as np

from shadow_platform.domain.drift import statistics
from shadow_platform.domain.drift.clusters import (
    Array,
    Codes,
    DaySums,
    EffectiveSize,
    effective_dimension,
    effective_size,
    independent_size,
    indicator_sums,
)
from shadow_platform.domain.drift.columns import Column, Values

Days = tuple[Codes, Codes] | None


@dataclass(frozen=True, slots=True)
class Profile:
    """Evidence on one column.

    Attributes:
        test: ``ks`` or ``chi_square``.
        statistic: KS D or total variation; ``None`` when a sample has no value at all.
        null_rate_p_value: ``None`` when neither sample has a null.
    """

    test: str
    statistic: float | None
    p_value: float | None
    null_rate_reference: float
    null_rate_current: float
    null_rate_p_value: float | None
    design_effect: float
    psi: float | None
    kl: float | None
    js: float | None
    wasserstein_sd: float | None

    @property
    def null_rate_change(self) -> float:
        """Absolute change of the null rate."""
        return abs(self.null_rate_current - self.null_rate_reference)


def profile(column: Column, days: Days) -> Profile:
    """Compare one column; ``days`` are the day codes of both samples, ``None`` if rows count as independent."""
    is_numeric = column.reference.ordered is not None
    before, after = column.reference, column.current
    if not before.n_valid or not after.n_valid:
        size, statistic, p_value = independent_size(1, 1), None, None
        distances: tuple[float | None, ...] = (None,) * 4
    elif is_numeric:
        size, statistic, p_value = _numeric_test(column, days)
        distances = _numeric_distances(before, after)
    else:
        size, statistic, p_value = _categorical_test(column, days)
        distances = (*_divergences(*column.counts()), None)
    return Profile(
        "ks" if is_numeric else "chi_square",
        statistic,
        p_value,
        before.null_rate,
        after.null_rate,
        _null_test(before, after, days),
        size.design_effect,
        *distances,
    )


def _day_sums(column: Column, days: tuple[Codes, Codes], *, cumulative: bool) -> list[DaySums]:
    sums = []
    for values, codes in zip((column.reference, column.current), days, strict=True):
        valid = values.codes >= 0
        sums.append(indicator_sums(values.codes[valid], column.n_levels, codes[valid], cumulative=cumulative))
    return sums


def _numeric_test(column: Column, days: Days) -> tuple[EffectiveSize, float, float]:
    before, after = column.reference.ordered, column.current.ordered
    if before is None or after is None:
        raise TypeError(f"a numeric column carries its ordered values, got {column!r}")
    size = independent_size(len(before), len(after))
    if days is not None and column.n_levels > 1:
        size = effective_size(_day_sums(column, days, cumulative=True))
    statistic = statistics.ks_statistic(before, after)
    p_value = statistics.ks_p_value(statistic, size.reference, size.current)
    return size, statistic, statistics.with_estimated_variance(p_value, size.df)


def _categorical_test(column: Column, days: Days) -> tuple[EffectiveSize, float, float]:
    reference, current = column.counts()
    size, by_day = independent_size(column.reference.n_valid, column.current.n_valid), None
    if days is not None:
        by_day = _day_sums(column, days, cumulative=False)
        size = effective_size(by_day)
    effective = reference * size.reference / reference.sum(), current * size.current / current.sum()
    pooled = statistics.pool_rare_levels(*effective)
    dimension = None if by_day is None else effective_dimension([_merge(sums, pooled) for sums in by_day])
    counts = [np.bincount(pooled, weights=row).astype(np.float64) for row in effective]
    _, p_value = statistics.chi_square(counts[0], counts[1], dimension)
    distance = statistics.total_variation(reference, current)
    return size, distance, statistics.with_estimated_variance(p_value, size.df)


def _merge(sums: DaySums, pooled: Codes) -> DaySums:
    order = np.argsort(pooled, kind="stable")
    starts = np.flatnonzero(np.diff(pooled[order], prepend=-1))
    merged = np.add.reduceat(sums.sums[:, order], starts, axis=1)
    return DaySums(sums.sizes, merged, np.add.reduceat(sums.squares[order], starts))


def _null_test(before: Values, after: Values, days: Days) -> float | None:
    is_null = [(values.codes < 0).astype(np.int64) for values in (before, after)]
    if not is_null[0].any() and not is_null[1].any():
        return None
    size = independent_size(len(is_null[0]), len(is_null[1]))
    if days is not None:
        size = effective_size(
            [indicator_sums(nulls, 2, codes, cumulative=True) for nulls, codes in zip(is_null, days, strict=True)]
        )
    p_value = statistics.proportion_p_value(before.null_rate, size.reference, after.null_rate, size.current)
    return statistics.with_estimated_variance(p_value, size.df)


def _divergences(reference: Array, current: Array) -> tuple[float, float, float]:
    return (
        statistics.population_stability_index(reference, current),
        statistics.kullback_leibler(reference, current),
        statistics.jensen_shannon(reference, current),
    )


def _numeric_distances(before: Values, after: Values) -> tuple[float | None, ...]:
    reference, current = before.ordered, after.ordered
    if reference is None or current is None:
        return (None,) * 4
    edges = np.unique(reference[(np.arange(1, 10) * len(reference)) // 10])
    counts = [
        np.diff(np.searchsorted(values, edges, side="right"), prepend=0, append=len(values)).astype(np.float64)
        for values in (reference, current)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(reference.std())
        distance = statistics.wasserstein(reference, current) / spread if 0 < spread < np.inf else None
    return *_divergences(counts[0], counts[1]), distance
