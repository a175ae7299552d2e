"""How many independent rows a sample is worth, when rows of one day share weather, schedules and campaigns.

Belongs here: days of rows, and design effects (Kish 1965, Survey Sampling, section 5.4) by analysis of variance.
Does not belong here: what is tested with them. Upstream: nothing. Downstream: profiles, correlation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DaySums:
    """One sample, summed by day: enough to split the variance of K quantities into between and within days.

    Attributes:
        sizes: rows of each day, shape (days,).
        sums: sum of each quantity on each day, shape (days, K).
        squares: sum of each quantity's squares over all rows, shape (K,).
    """

    sizes: Array
    sums: Array
    squares: Array

    @property
    def kish_size(self) -> float:
        """Mean day size as a random row sees it."""
        return float((self.sizes**2).sum() / self.sizes.sum())


@dataclass(frozen=True, slots=True)
class EffectiveSize:
    """What the rows of reference and current are worth.

    Attributes:
        design_effect: of the current sample, >= 1.
        df: degrees of freedom behind the estimate; infinite when rows count as independent.
    """

    reference: float
    current: float
    design_effect: float
    df: float


def day_codes(requested_at: "pd.Series[pd.Timestamp]") -> Codes:
    """Number of each row's UTC day, from 0; rows without a time share one day of their own.

    >>> day_codes(pd.Series(["2013-01-01T23:59:59Z", "2013-01-02T00:00:00Z", None, "2013-01-01T01:00:00Z"])).tolist()
    [0, 1, 2, 0]
    """
    days = pd.to_datetime(requested_at, utc=True).dt.tz_convert(None).to_numpy().astype("datetime64[D]")
    codes, known = pd.factorize(days)
    return np.where(codes < 0, len(known), codes).astype(np.int64)


def indicator_sums(levels: Codes, n_levels: int, days: Codes, *, cumulative: bool) -> DaySums:
    """Day sums of level indicators ``1{level = k}``, or ``1{level <= k}`` when levels are ordered."""
    n_days = int(days.max()) + 1
    counts = np.bincount(days * n_levels + levels, minlength=n_days * n_levels).reshape(n_days, n_levels)
    counts = counts[counts.sum(axis=1) > 0].astype(np.float64)
    sums = np.cumsum(counts, axis=1)[:, :-1] if cumulative else counts
    return DaySums(counts.sum(axis=1), sums, sums.sum(axis=0))


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike rows of one day are: the intraclass correlation of K quantities, as a fraction to be pooled or not.

    Attributes:
        between: excess of the mean square between days over that within, shape (K,).
        total: what it is a share of, shape (K,).
        day_size: rows of a day behind the estimate.
        df: days minus samples.
    """

    between: Array
    total: Array
    day_size: float
    df: float

    def pooled(self) -> Array:
        """One correlation for all quantities, shape (1,)."""
        total = self.total.sum(keepdims=True)
        return np.where(total > 0, self.between.sum(keepdims=True) / np.where(total > 0, total, 1.0), 0.0)

    def each(self) -> Array:
        """Correlation of every quantity, shape (K,); 0 where a quantity is constant."""
        is_known = np.isfinite(self.total) & (self.total > 0)
        return np.where(is_known, self.between / np.where(is_known, self.total, 1.0), 0.0)


def likeness(samples: Sequence[DaySums]) -> Likeness:
    """Likeness of rows of one day, by one-way analysis of variance with days nested in samples.

    Nested, so that a difference between the samples themselves, which is what the test looks for, does not count.
    """
    rows = sum(float(s.sizes.sum()) for s in samples)
    days = sum(len(s.sizes) for s in samples)
    df = float(days - len(samples))
    by_day = [(s.sums**2 / s.sizes[:, None]).sum(axis=0) for s in samples]
    means = [s.sums.sum(axis=0) ** 2 / s.sizes.sum() for s in samples]
    between = np.sum(by_day, axis=0) - np.sum(means, axis=0)
    within = np.sum([s.squares for s in samples], axis=0) - np.sum(by_day, axis=0)
    if df < 1 or rows <= days:
        return Likeness(np.zeros_like(between), np.ones_like(between), max(rows / max(days, 1), 1.0), df)
    size = (rows - sum(s.kish_size for s in samples)) / df
    between, within = between / df, np.maximum(within, 0) / (rows - days)
    return Likeness(np.maximum(between - within, 0), between + (size - 1) * within, size, df)


def design_effects(correlation: Array, samples: Sequence[DaySums]) -> list[Array]:
    """Variance of a sample's mean against that of independent rows, per sample: ``1 + (m - 1) ICC``, >= 1."""
    return [np.maximum(1.0, 1 + (s.kish_size - 1) * correlation) for s in samples]


def degrees_of_freedom(alike: Likeness, correlation: Array, samples: Sequence[DaySums]) -> Array:
    """Degrees of freedom of the variance of the difference of the samples' means (Satterthwaite 1946), >= 1.

    Days minus samples when the days of both samples are of one size. Fewer when the likeness, measured on small days,
    is carried over to large ones, where its error weighs more.
    """
    effects = design_effects(correlation, samples)
    variance = sum((e / s.sizes.sum() for e, s in zip(effects, samples, strict=True)), start=np.zeros(1))
    slope = (1 + (alike.day_size - 1) * correlation) * (1 - correlation) / alike.day_size
    weight = sum((s.kish_size - 1) / float(s.sizes.sum()) for s in samples)
    shrink = np.minimum(variance / np.maximum(slope * weight, 1e-12 * variance), 1.0)
    return np.maximum(alike.df * shrink**2, 1.0)


def effective_size(samples: Sequence[DaySums]) -> EffectiveSize:
    """Effective rows of (reference, current): ``n / design effect``, with one likeness for all quantities."""
    alike = likeness(samples)
    correlation = alike.pooled()
    effects = [float(effect[0]) for effect in design_effects(correlation, samples)]
    sizes = [float(s.sizes.sum()) / effect for s, effect in zip(samples, effects, strict=True)]
    df = float(degrees_of_freedom(alike, correlation, samples)[0])
    return EffectiveSize(sizes[0], sizes[1], effects[1], df)


def independent_size(n_reference: int, n_current: int) -> EffectiveSize:
    """Every row counts as one."""
    return EffectiveSize(float(n_reference), float(n_current), 1.0, float("inf"))


def effective_dimension(samples: Sequence[DaySums]) -> float:
    """In how many directions the shares of the levels vary between days: ``tr(S)^2 / tr(S^2)``, infinite if unknown.

    S is the covariance, by whole days, of the difference between the samples, each level scaled by the root of its
    share. The estimate of ``tr(S^2)`` is freed of the noise of few days (Bai and Saranadasa 1996).
    """
    rows = sum(s.sums.sum(axis=0) for s in samples)
    scale = 1 / np.sqrt(np.maximum(rows / rows.sum(), 1e-12))
    deviations = np.vstack(
        [
            (s.sums - s.sizes[:, None] * s.sums.sum(axis=0) / s.sizes.sum()) * scale / s.sizes.sum()
            for s in samples
            if len(s.sizes) > 1
        ]
        or [np.zeros((0, len(scale)))]
    )
    df = len(deviations) - sum(len(s.sizes) > 1 for s in samples)
    if df < 3:
        return 1.0
    gram = deviations @ deviations.T
    trace, squares = float(np.trace(gram)), float((gram**2).sum())
    unbiased = df**2 / ((df - 1) * (df + 2)) * (squares - trace**2 / df)
    return trace**2 / unbiased if unbiased > 0 else float("inf")
