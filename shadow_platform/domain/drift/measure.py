"""One column compared between reference and window: tests at the effective number of rows, distances, null rates.

Belongs here: measuring, in two steps. ``compare`` finds distances and what days add to the variance; ``measured`` turns
them into p-values, once it is known how long the moods of most columns last. Does not belong here: deciding (verdict).
Upstream: profiles, clusters, statistics. Downstream: verdict, explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shadow_platform.domain.drift import statistics
from shadow_platform.domain.drift.clusters import (
    Array,
    Codes,
    DayEffect,
    DaySums,
    EffectiveSize,
    day_effect,
    day_sums,
    effective_dimension,
    independent_size,
)
from shadow_platform.domain.drift.grid import Cells, LevelCells, NumericCells
from shadow_platform.domain.drift.profiles import ColumnCounts, Profiles, ks_error
from shadow_platform.domain.drift.statistics import Curve

N_CELLS_BY_DAY = 64
N_DECILES = 10
# A constant has the width of its cell, one step of a float.
NO_SPREAD = 1e-12
# Of levels that are not told by name; no value is None, because that is a null.
UNNAMED = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, counted twice.

    Attributes:
        whole: all rows as one period, on cells as fine as the comparison is to be.
        daily: by day, on cells that may be coarser; ``None`` when rows count as independent.
        is_exact: whether every value has a cell of its own in ``whole``.
    """

    whole: Profiles
    daily: Profiles | None
    is_exact: bool

    @property
    def rows(self) -> float:
        """Rows, or sum of their weights."""
        return float(self.whole.n.sum())

    @property
    def worth(self) -> float:
        """Independent rows a unit of weight stands for (Kish 1965, section 11.7); 1 without weights."""
        squares = float(self.whole.squares.sum())
        return self.rows / squares if squares else 1.0

    def column(self, name: str) -> ColumnCounts | None:
        """Counts of one column, all rows as one period."""
        return self.whole.columns.get(name)

    def by_day(self, name: str) -> ColumnCounts | None:
        """Counts of one column by day, if days count."""
        return None if self.daily is None else self.daily.columns.get(name)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of both samples in the same cells or levels, nulls left out, with a name for each level."""

    reference: Array
    current: Array
    names: tuple[str | None, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether a sample has no value at all."""
        return not (self.reference.sum() and self.current.sum())


@dataclass(frozen=True, slots=True)
class Comparison:
    """What does not depend on other columns.

    Attributes:
        counts: of the whole samples.
        curves: distribution functions of reference and current; ``None`` for a categorical column or without values.
        by_day: cells, at most 64, or levels of both samples by day; ``None`` when rows count as independent.
        effect, null_effect: what days add to the cells' shares, and to the share of nulls; ``None``: independent rows.
        null_rates: of reference and current.
        error: largest error of the distance because values are counted in cells.
    """

    is_numeric: bool
    counts: Counts
    curves: tuple[Curve, Curve] | None
    by_day: Sequence[DaySums] | None
    effect: DayEffect | None
    null_effect: DayEffect | None
    rows: tuple[float, float]
    valid: tuple[float, float]
    null_rates: tuple[float, float]
    error: float


@dataclass(frozen=True, slots=True)
class Measure:
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


def compare(name: str, reference: Sample, current: Sample) -> Comparison | None:
    """Compare one column; ``None`` when a sample does not have it."""
    before, after = reference.column(name), current.column(name)
    if before is None or after is None:
        return None
    cells = reference.whole.grid.cells[name]
    counts = _counts(cells, before, after)
    sums = None if counts.is_empty else _value_sums(name, counts.names, reference, current)
    nulls = _null_sums(name, reference, current) if before.null.any() or after.null.any() else None
    return Comparison(
        is_numeric=isinstance(cells, NumericCells),
        counts=counts,
        curves=_curves(cells, counts, before, after, is_exact=reference.is_exact),
        by_day=sums,
        effect=None if sums is None or not sums[0].sums.shape[1] else day_effect(sums),
        null_effect=None if nulls is None else day_effect(nulls),
        rows=(reference.rows * reference.worth, current.rows * current.worth),
        valid=(counts.reference.sum() * reference.worth, counts.current.sum() * current.worth),
        null_rates=(float(before.null[0] / reference.rows), float(after.null[0] / current.rows)),
        error=_error(cells, counts, is_exact=reference.is_exact),
    )


def measured(comparison: Comparison, persistence: float) -> Measure:
    """Tests of one column, neighbouring days counted at least as alike as ``persistence`` says."""
    size, statistic, p_value = independent_size(1, 1), None, None
    if not comparison.counts.is_empty:
        size = independent_size(*comparison.valid)
        if comparison.effect is not None:
            size = comparison.effect.size(persistence)
        test = _numeric_test if comparison.is_numeric else _categorical_test
        statistic, p_value = test(comparison, size)
    return Measure(
        "ks" if comparison.is_numeric else "chi_square",
        statistic,
        p_value,
        *comparison.null_rates,
        _null_test(comparison, persistence),
        float(size.design_effect[0]),
        *_distances(comparison),
    )


def new_levels(counts: Counts) -> Mapping[str | None, float]:
    """Levels of the window that the reference does not know, most frequent first, and their rows."""
    found = {
        counts.names[place]: float(counts.current[place])
        for place in np.flatnonzero((counts.reference == 0) & (counts.current > 0))
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0] or "")))


def _counts(cells: Cells, before: ColumnCounts, after: ColumnCounts) -> Counts:
    if isinstance(cells, NumericCells):
        return Counts(before.counts[0], after.counts[0])
    late = sorted({*before.unseen, *after.unseen})
    return Counts(_levels(before, late)[0], _levels(after, late)[0], (*cells.names, *late, UNNAMED))


def _levels(column: ColumnCounts, late: list[str]) -> Array:
    """Rows by period and level: those of the grid, those it does not know by name, and the rest."""
    nothing = np.zeros(len(column.null))
    return np.column_stack([column.counts, *(column.unseen.get(level, nothing) for level in late), column.unnamed])


def _curves(
    cells: Cells, counts: Counts, before: ColumnCounts, after: ColumnCounts, *, is_exact: bool
) -> tuple[Curve, Curve] | None:
    if isinstance(cells, LevelCells) or counts.is_empty:
        return None
    if is_exact:
        values = np.append(cells.edges, np.fmax(before.highest, after.highest)[0])
        return statistics.exact_curve(values, counts.reference), statistics.exact_curve(values, counts.current)
    if not len(cells.edges):
        return None
    first, second = (
        statistics.cell_curve(cells.edges, column.counts[0], column.lowest[0], column.highest[0])
        for column in (before, after)
    )
    return first, second


def _error(cells: Cells, counts: Counts, *, is_exact: bool) -> float:
    if is_exact or isinstance(cells, LevelCells):
        return 0.0
    return ks_error(counts.reference, counts.current, cells)


def _value_sums(name: str, names: tuple[str | None, ...], reference: Sample, current: Sample) -> list[DaySums] | None:
    """Cells, at most 64, or the levels of ``names``, of both samples by day."""
    before, after = reference.by_day(name), current.by_day(name)
    if reference.daily is None or current.daily is None or before is None or after is None:
        return None
    cells = reference.daily.grid.cells[name]
    if isinstance(cells, LevelCells):
        counts = [_levels_of(column, cells, names) for column in (before, after)]
    else:
        groups = statistics.quantile_groups(before.counts.sum(axis=0), N_CELLS_BY_DAY)
        counts = [np.add.reduceat(column.counts, groups, axis=1) for column in (before, after)]
    return [
        day_sums(sample.daily.starts, rows * sample.worth, cumulative=isinstance(cells, NumericCells))
        for sample, rows in zip((reference, current), counts, strict=True)
        if sample.daily is not None
    ]


def _levels_of(column: ColumnCounts, cells: LevelCells, names: tuple[str | None, ...]) -> Array:
    """Rows by day and level, in the order of ``names``; all others in the last."""
    own = (*cells.names, *column.unseen, UNNAMED)
    places = {name: place for place, name in enumerate(names)}
    rows = np.zeros((len(names), len(column.null)))
    np.add.at(rows, [places.get(name, len(names) - 1) for name in own], _levels(column, list(column.unseen)).T)
    return rows.T


def _null_sums(name: str, reference: Sample, current: Sample) -> list[DaySums] | None:
    """Rows with and without a value by day; ``None`` when rows count as independent."""
    sums = []
    for sample in (reference, current):
        column = sample.by_day(name)
        if sample.daily is None or column is None:
            return None
        counts = np.column_stack([sample.daily.n - column.null, column.null]) * sample.worth
        sums.append(day_sums(sample.daily.starts, counts, cumulative=True))
    return sums


def _numeric_test(comparison: Comparison, size: EffectiveSize) -> tuple[float, float]:
    statistic = statistics.ks_distance(comparison.counts.reference, comparison.counts.current)
    p_value = statistics.ks_p_value(statistic, float(size.reference[0]), float(size.current[0]))
    return statistic, statistics.with_estimated_variance(p_value, float(size.df[0]))


def _categorical_test(comparison: Comparison, size: EffectiveSize) -> tuple[float, float]:
    reference, current = comparison.counts.reference, comparison.counts.current
    effective = reference * size.reference[0] / reference.sum(), current * size.current[0] / current.sum()
    pooled = statistics.pool_rare_levels(*effective)
    by_day = comparison.by_day
    dimension = None if by_day is None else effective_dimension([_merge(sums, pooled) for sums in by_day])
    counts = [np.bincount(pooled, weights=row).astype(np.float64) for row in effective]
    _, p_value = statistics.chi_square(counts[0], counts[1], dimension)
    distance = statistics.total_variation(reference, current)
    return distance, statistics.with_estimated_variance(p_value, float(size.df[0]))


def _merge(sums: DaySums, pooled: Codes) -> DaySums:
    order = np.argsort(pooled, kind="stable")
    starts = np.flatnonzero(np.diff(pooled[order], prepend=-1))
    merged = np.add.reduceat(sums.sums[:, order], starts, axis=1)
    return DaySums(sums.days, sums.sizes, merged, np.add.reduceat(sums.squares[order], starts))


def _null_test(comparison: Comparison, persistence: float) -> float | None:
    before, after = comparison.null_rates
    if not before and not after:
        return None
    size = independent_size(*comparison.rows)
    if comparison.null_effect is not None:
        size = comparison.null_effect.size(persistence)
    p_value = statistics.proportion_p_value(before, float(size.reference[0]), after, float(size.current[0]))
    return statistics.with_estimated_variance(p_value, float(size.df[0]))


def _distances(comparison: Comparison) -> tuple[float | None, ...]:
    """PSI, KL and Jensen-Shannon divergence, Wasserstein distance in reference standard deviations."""
    counts = [comparison.counts.reference, comparison.counts.current]
    if comparison.counts.is_empty:
        return (None,) * 4
    if comparison.is_numeric:
        groups = statistics.quantile_groups(counts[0], N_DECILES)
        counts = [np.add.reduceat(row, groups) for row in counts]
    distance = None
    if comparison.curves is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            spread = comparison.curves[0].standard_deviation()
            is_varied = NO_SPREAD * np.abs(comparison.curves[0].points).max() < spread < np.inf
            distance = statistics.wasserstein(*comparison.curves) / spread if is_varied else None
    return (
        statistics.population_stability_index(*counts),
        statistics.kullback_leibler(*counts),
        statistics.jensen_shannon(*counts),
        distance,
    )
