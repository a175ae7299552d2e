"""How many independent rows a sample is worth, when rows of one day share weather, schedules and campaigns.

Belongs here: how much of the variance lies between days, whether neighbouring days are alike too, and what that leaves
of a sample: design effects (Kish 1965, Survey Sampling, section 5.4) by analysis of variance. Does not belong here:
what is tested with them. Upstream: counts by day. Downstream: measure, correlation, classifier.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

# One-sided 5 % of a normal: neighbouring days count as alike only when that is more than chance.
CLEAR_LIKENESS = 1.64
# Days differ clearly when their variance is so many standard errors above none.
CLEAR_EFFECT = 1.5
MIN_CLEAR_COLUMNS = 5
# Days from which the reference alone can say how days differ: an error of about a quarter in their variance.
ENOUGH_DAYS = 28
MAX_PERSISTENCE = 0.95
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class DaySums:
    """One sample, summed by day: enough to split the variance of K quantities into between and within days.

    Attributes:
        days: number of each calendar day, ascending, shape (days,).
        sizes: rows of each day, shape (days,).
        sums: sum of each quantity on each day, shape (days, K).
        squares: sum of each quantity's squares over all rows, shape (K,).
    """

    days: Codes
    sizes: Array
    sums: Array
    squares: Array

    @property
    def rows(self) -> float:
        """Rows of all days."""
        return float(self.sizes.sum())

    @property
    def kish_size(self) -> float:
        """Mean day size as a random row sees it."""
        return float((self.sizes**2).sum() / self.sizes.sum())


@dataclass(frozen=True, slots=True)
class EffectiveSize:
    """What the rows of both samples are worth, shape (K,) each, or (1,) for all quantities together.

    Attributes:
        design_effect: of the current sample, >= 1.
        df: degrees of freedom behind the estimate; infinite when rows count as independent.
    """

    reference: Array
    current: Array
    design_effect: Array
    df: Array


def day_sums(starts: Times, counts: Array, *, cumulative: bool) -> DaySums:
    """Day sums of level indicators ``1{level = k}``, or ``1{level <= k}`` when levels are ordered.

    Args:
        counts: rows in each level, shape (days, levels); days without rows are left out.
    """
    sizes = counts.sum(axis=1)
    kept = sizes > 0
    sums = np.cumsum(counts[kept], axis=1)[:, :-1] if cumulative else counts[kept]
    days = starts[kept].astype("datetime64[D]").astype(np.int64)
    return DaySums(days, sizes[kept], sums, sums.sum(axis=0))


@dataclass(frozen=True, slots=True)
class DayEffect:
    """What a day adds to K quantities in two samples, by one-way analysis of variance with days nested in samples.

    Nested, so that a difference between the samples themselves, which is what a test looks for, does not count.

    Attributes:
        between, within: variance of a row between and within days, shape (K,).
        products: sum over pairs of neighbouring days of the product of their means' deviations, shape (K,).
        pairs, rows, days, kish_sizes: of each sample, shape (2,).
        is_measured: which samples the estimate comes from, shape (2,).
        day_size: rows of a day behind the estimate.
        df: days minus samples.
    """

    between: Array
    within: Array
    products: Array
    pairs: Array
    rows: Array
    days: Array
    kish_sizes: Array
    is_measured: Array
    day_size: float
    df: float

    @property
    def is_clear(self) -> bool:
        """Whether days differ by more than chance."""
        return bool((self.between > CLEAR_EFFECT * self.error_of_between()).all())

    def persistence(self) -> Array:
        """Correlation of neighbouring days' effects; 0 where it is not more than chance."""
        return self._fitted(np.zeros(1))[1]

    def size(self, common_persistence: float = 0.0) -> EffectiveSize:
        """Effective rows, counting neighbouring days as alike as they are, or as most columns' are if that is more."""
        variances, _ = self._fitted(np.array([common_persistence]))
        alone = self._variances(np.maximum(self.between, 0), np.zeros(1), np.zeros(1))
        total = self._total()
        effects = np.maximum(variances * self.rows[:, None] / total, 1.0)
        sizes = self.rows[:, None] / effects
        inflation = variances.sum(axis=0) / alone.sum(axis=0)
        return EffectiveSize(sizes[0], sizes[1], effects[1], np.maximum(self._own_df() / inflation, 1.0))

    def _total(self) -> Array:
        return np.maximum(np.maximum(self.between, 0) + self.within, 1e-300)

    def error_of_between(self) -> Array:
        """Standard error of the variance between days."""
        day_variance = np.maximum(self.between, 0) + self.within / self.day_size
        error: Array = day_variance * np.sqrt(2 / max(self.df, 1.0))
        return error

    def _variances(self, between: Array, neighbours: Array, persistence: Array) -> Array:
        """Variance of each sample's mean, shape (2, K); covariances of days fall off geometrically."""
        days, sizes = self.days[:, None], self.kish_sizes[:, None]
        reach = 1 / (1 - persistence) - (1 - persistence**days) / (days * (1 - persistence) ** 2)
        own = (sizes - 1) * between + self._total() + 2 * sizes * neighbours * reach
        variances: Array = own / self.rows[:, None]
        return variances

    def _fitted(self, floor: Array) -> tuple[Array, Array]:
        """Variances of both means, and persistence.

        Deviations from a sample's own mean hide what its days share, the more the fewer days there are: each round
        puts back the variance of the mean that the round before found.
        """
        own = np.maximum(self.between, 0)
        alone = variances = self._variances(own, np.zeros(1), np.zeros(1))
        chance = (own + self.within / self.day_size) / np.sqrt(max(self.pairs.sum(), 1.0))
        persistence = np.zeros_like(own)
        for _ in range(ROUNDS):
            hidden = (variances - alone) * (self.days * self.is_measured)[:, None]
            between = own + np.maximum(hidden.sum(axis=0), 0) / max(self.df, 1.0)
            shared = (self.products + self.pairs @ variances) / max(self.pairs.sum(), 1.0)
            shared = np.where((shared > CLEAR_LIKENESS * chance) & (self.pairs.sum() > 0), shared, 0.0)
            shared = np.minimum(np.maximum(shared, floor * between), between)
            least = between + 0.3 * self.error_of_between()
            persistence = np.clip(shared / np.where(least > 0, least, 1.0), floor, MAX_PERSISTENCE)
            variances = self._variances(between, shared, persistence)
        return variances, persistence

    def _own_df(self) -> Array:
        """Degrees of freedom of the variance of the difference of means (Satterthwaite 1946), days independent.

        Days minus samples when the days of both samples are of one size. Fewer when the likeness, measured on small
        days, is carried over to large ones, where its error weighs more.
        """
        share = np.maximum(self.between, 0) / self._total()
        effects = np.maximum(1.0, 1 + (self.kish_sizes[:, None] - 1) * share)
        variance = (effects / self.rows[:, None]).sum(axis=0)
        slope = (1 + (self.day_size - 1) * share) * (1 - share) / self.day_size
        weight = ((self.kish_sizes - 1) / self.rows).sum()
        shrink = np.minimum(variance / np.maximum(slope * weight, 1e-12 * variance), 1.0)
        df: Array = np.maximum(self.df * shrink**2, 1.0)
        return df


def day_effect(samples: Sequence[DaySums], *, pooled: bool = True) -> DayEffect:
    """Day effect of (reference, current): of all quantities together, or of each.

    It is measured on the reference alone if the window's days differ clearly more than its own: a step amid the window
    would else pass for a mood that its days share, and so excuse itself.
    """
    if len(samples[0].days) >= ENOUGH_DAYS:
        calm, stirred = (_day_effect([sample], np.ones(1), pooled=True) for sample in samples)
        error = np.hypot(calm.error_of_between(), stirred.error_of_between())
        if (stirred.between - calm.between > CLEAR_EFFECT * error).all() and stirred.df >= 1:
            return _day_effect(samples, np.array([1.0, 0.0]), pooled=pooled)
    return _day_effect(samples, np.ones(2), pooled=pooled)


def _day_effect(samples: Sequence[DaySums], is_measured: Array, *, pooled: bool) -> DayEffect:
    """Day effect of all samples, estimated from those that are measured."""
    told = [s for s, is_told in zip(samples, is_measured, strict=True) if is_told]
    rows = np.array([s.rows for s in samples], dtype=np.float64)
    days = np.array([len(s.days) for s in samples], dtype=np.float64)
    kish_sizes = np.array([s.kish_size for s in samples])
    n_told, told_days = rows @ is_measured, days @ is_measured
    df = float(told_days - len(told))
    by_day = [(s.sums**2 / s.sizes[:, None]).sum(axis=0) for s in told]
    means = [s.sums.sum(axis=0) ** 2 / s.rows for s in told]
    between = np.sum(by_day, axis=0) - np.sum(means, axis=0)
    within = np.sum([s.squares for s in told], axis=0) - np.sum(by_day, axis=0)
    neighbours = [_neighbours(s) for s in samples]
    products = np.sum(
        [products for (products, _), is_told in zip(neighbours, is_measured, strict=True) if is_told], axis=0
    )
    if pooled:
        between, within, products = (part.sum(keepdims=True) for part in (between, within, products))
    pairs = np.array([n_pairs for _, n_pairs in neighbours], dtype=np.float64) * is_measured
    if df < 1 or n_told <= told_days:
        nothing, one = np.zeros_like(between), np.ones_like(between)
        day_size = max(float(n_told / told_days), 1.0)
        return DayEffect(nothing, one, nothing, 0 * pairs, rows, days, kish_sizes, is_measured, day_size, df)
    day_size = float((n_told - kish_sizes @ is_measured) / df)
    within = np.maximum(within, 0) / (n_told - told_days)
    between = (between / df - within) / day_size
    return DayEffect(between, within, products, pairs, rows, days, kish_sizes, is_measured, day_size, df)


def common_persistence(effects: Iterable[DayEffect]) -> float:
    """Persistence of most columns whose days clearly differ; 0 if they are few.

    One column has too few days to tell how long its moods last; if most columns' last, this one's may.
    """
    found = [float(effect.persistence()[0]) for effect in effects if effect.is_clear]
    return float(np.median(found)) if len(found) >= MIN_CLEAR_COLUMNS else 0.0


def independent_size(n_reference: float, n_current: float) -> EffectiveSize:
    """Every row counts as one."""
    return EffectiveSize(np.array([n_reference]), np.array([n_current]), np.ones(1), np.full(1, np.inf))


def effective_dimension(samples: Sequence[DaySums]) -> float:
    """In how many directions the shares of the levels vary between days: ``tr(S)^2 / tr(S^2)``, infinite if unknown.

    S is the covariance, by whole days, of the difference between the samples, each level scaled by the root of its
    share. The estimate of ``tr(S^2)`` is freed of the noise of few days (Bai and Saranadasa 1996).
    """
    rows = sum(s.sums.sum(axis=0) for s in samples)
    scale = 1 / np.sqrt(np.maximum(rows / rows.sum(), 1e-12))
    deviations = np.vstack([_deviations(s) * scale / s.rows for s in samples if len(s.days) > 1] or [scale[None][:0]])
    df = len(deviations) - sum(len(s.days) > 1 for s in samples)
    if df < 3:
        return 1.0
    gram = deviations @ deviations.T
    trace, squares = float(np.trace(gram)), float((gram**2).sum())
    unbiased = df**2 / ((df - 1) * (df + 2)) * (squares - trace**2 / df)
    return trace**2 / unbiased if unbiased > 0 else float("inf")


def _deviations(sample: DaySums) -> Array:
    deviations: Array = sample.sums - sample.sizes[:, None] * sample.sums.sum(axis=0) / sample.rows
    return deviations


def _neighbours(sample: DaySums) -> tuple[Array, int]:
    """Products of the deviations of neighbouring days' means, and how many pairs there are.

    Every pair counts alike, whatever its rows: else a short window of large days would speak for all.
    """
    follows = np.flatnonzero(np.diff(sample.days) == 1)
    deviations = _deviations(sample) / sample.sizes[:, None]
    return (deviations[follows] * deviations[follows + 1]).sum(axis=0), len(follows)
