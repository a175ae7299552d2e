"""How well probabilities agree with what happened: the numbers, and how sure one can be of them.

Belongs here: metrics of rows, and their intervals over days. Does not belong here: curves (``curves``), groups of
rows (``segments``), limits (``quality``). Upstream: labels and calibrated probabilities of the evaluation window.
Downstream: tables, MLflow, the model card.

Every metric is a formula on totals of rows, and totals of days add up. So the rows are read once, however often days
are drawn: a draw's totals are its day counts times the days' totals.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.domain.training.curves import CALIBRATION_BINS, calibration_bins

# Probabilities are clipped to [0.01, 0.99] in every log loss of the platform (docs/methods.md).
LOG_LOSS_CLIP = 0.01
# The Student quantile keeps its promise from three days on, but the width of one interval is then off by half.
MIN_DAYS = 5
# A metric that fewer draws identify has no interval: those that do are not like those that do not.
MIN_IDENTIFIED = 0.95
# Scores of either class that draws tell apart; neighbours beyond that count as tied, which moves an interval's end by
# less than a hundredth of its width.
MAX_LEVELS_OF_A_CLASS = 1_000
AGREEING = 1e-12
# Distances from the diagonal cannot be negative: by chance alone they are above zero, in a draw twice.
BIASED = frozenset({"calibration_error"})
RANGES = {"log_loss": (0.0, np.inf), "log_loss_gain": (-np.inf, np.inf)}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Labels = npt.NDArray[np.bool_]


def metrics(labels: Labels, probabilities: Floats, threshold: float) -> dict[str, float]:
    """Metrics by name; NaN where the rows do not identify one.

    ``roc_auc``; ``average_precision``; ``log_loss`` (nats a row); ``log_loss_gain`` (nats a row by which it beats the
    rows' own base rate as a constant answer); ``brier``; ``f1`` at the threshold; ``calibration_error`` (expected, over
    ten equal-width bins); ``base_rate``.
    """
    whole = np.zeros(len(labels), dtype=np.intp)
    totals = _totals(labels, probabilities, threshold, whole, np.unique(probabilities))
    return {name: float(values[0]) for name, values in _formulas(totals).items()}


def estimates(
    labels: Labels,
    probabilities: Floats,
    threshold: float,
    days: npt.ArrayLike,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, MetricEstimate]:
    """Metrics of the rows with intervals over days; what the rows do not identify is left out.

    Rows of a day are alike (docs/adr/0005), so days are drawn, with replacement, not rows. The interval is the value
    plus and minus the draws' standard deviation times the Student quantile of one degree of freedom a day, less one:
    in a week 95 % intervals by the draws' percentiles cover in 86 % of simulated weeks, these in 94 % (Hesterberg 2015,
    What Teachers Should Know About the Bootstrap, on small samples).

    Args:
        days: day of each row, of any type.
        n_resamples: draws.
        confidence: that an interval covers the metric of days without end.
    """
    day, names = pd.factorize(np.asarray(days))
    n_days = len(names)
    values = {name: value for name, value in metrics(labels, probabilities, threshold).items() if np.isfinite(value)}
    if n_days < MIN_DAYS:
        return {name: MetricEstimate(value=value, low=None, high=None) for name, value in values.items()}
    totals = _totals(labels, probabilities, threshold, day, _levels(labels, probabilities))
    counts = np.random.default_rng(seed).multinomial(n_days, np.full(n_days, 1 / n_days), size=n_resamples)
    drawn = _formulas(totals.weighted(counts.astype(np.float64)))
    return {name: _estimate(name, value, drawn[name], n_days, confidence) for name, value in values.items()}


def log_losses(labels: Labels, probabilities: Floats) -> Floats:
    """Log loss of each row in nats, probabilities clipped so that no row decides alone."""
    clipped = np.clip(probabilities, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    return -np.where(labels, np.log(clipped), np.log1p(-clipped))


def _estimate(name: str, value: float, drawn: Floats, n_days: int, confidence: float) -> MetricEstimate:
    identified = drawn[np.isfinite(drawn)]
    is_enough = len(identified) >= max(2, MIN_IDENTIFIED * len(drawn))
    # Draws that all agree (no row at the threshold on any day) say nothing of other days, not that those agree too.
    if not is_enough or np.ptp(identified) < AGREEING:
        return MetricEstimate(value=value, low=None, high=None)
    # Draws spread by the variance of days divided by their number, not by one less.
    spread = float(np.std(identified, ddof=1)) * np.sqrt(n_days / (n_days - 1))
    width = spread * float(stats.t.ppf((1 + confidence) / 2, n_days - 1))
    bias = float(np.mean(identified)) - value if name in BIASED else 0.0
    lowest, highest = RANGES.get(name, (0.0, 1.0))
    low, high = min(value, value - bias - width), max(value, value - bias + width)
    return MetricEstimate(value=value, low=max(lowest, low), high=min(highest, high))


@dataclass(frozen=True, slots=True)
class _Totals:
    """Sums over the rows of each day or draw, shape ``(days,)``, or by bin or level of the score, ``(days, levels)``.

    Attributes:
        hits: rows with a positive label and a probability at the threshold or above, of ``calls`` such rows.
        excess: probabilities less labels, by bin.
        rows_at, positives_at: by level of the score, highest first.
    """

    n: Floats
    positives: Floats
    calls: Floats
    hits: Floats
    log_loss: Floats
    squared_error: Floats
    excess: Floats
    rows_at: Floats
    positives_at: Floats

    def weighted(self, counts: Floats) -> "_Totals":
        """Totals of draws, ``counts`` of shape ``(draws, days)`` saying how often each holds each day."""
        return _Totals(*(counts @ getattr(self, each.name) for each in fields(self)))


def _totals(labels: Labels, probabilities: Floats, threshold: float, day: Integers, levels: Floats) -> _Totals:
    """Totals by day; a score belongs to the highest of ``levels`` (ascending) that it reaches."""
    n_days = int(day.max(initial=0)) + 1
    label = labels.astype(np.float64)
    level = len(levels) - np.searchsorted(levels, probabilities, side="right")

    def by_day(values: Floats) -> Floats:
        return np.bincount(day, values, minlength=n_days).astype(np.float64)

    def by_day_and(cell: Integers, n_cells: int, values: Floats) -> Floats:
        sums = np.bincount(day * n_cells + cell, values, minlength=n_days * n_cells)
        return sums.reshape(n_days, n_cells).astype(np.float64)

    calls, ones = (probabilities >= threshold).astype(np.float64), np.ones(len(label))
    return _Totals(
        n=by_day(ones),
        positives=by_day(label),
        calls=by_day(calls),
        hits=by_day(calls * label),
        log_loss=by_day(log_losses(labels, probabilities)),
        squared_error=by_day((probabilities - label) ** 2),
        excess=by_day_and(calibration_bins(probabilities), CALIBRATION_BINS, probabilities - label),
        rows_at=by_day_and(level, len(levels), ones),
        positives_at=by_day_and(level, len(levels), label),
    )


def _levels(labels: Labels, probabilities: Floats) -> Floats:
    """Scores that are told apart: all of them, or evenly many of either class, so that rare positives stay apart."""
    levels: Floats = np.unique(probabilities)
    if len(levels) <= 2 * MAX_LEVELS_OF_A_CLASS:
        return levels
    places = np.linspace(0, 1, MAX_LEVELS_OF_A_CLASS)
    classes = [probabilities[labels], probabilities[~labels]]
    chosen = [np.quantile(scores, places, method="lower") for scores in classes if len(scores)]
    return np.unique(np.concatenate([levels[:1], *chosen]))


def _formulas(totals: _Totals) -> dict[str, Floats]:
    """Metrics of each day or draw."""
    n, positives = totals.n, totals.positives
    found, reached = np.cumsum(totals.positives_at, axis=1), np.cumsum(totals.rows_at, axis=1)
    negatives_at = totals.rows_at - totals.positives_at
    concordant = np.sum(negatives_at * (found - totals.positives_at / 2), axis=1)
    precision = found / np.maximum(reached, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        base_rate, log_loss = positives / n, totals.log_loss / n
        constant = np.clip(base_rate, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
        loss_of_constant = -(base_rate * np.log(constant) + (1 - base_rate) * np.log1p(-constant))
        return {
            "roc_auc": concordant / (positives * (n - positives)),
            "average_precision": np.sum(totals.positives_at * precision, axis=1) / positives,
            "log_loss": log_loss,
            "log_loss_gain": loss_of_constant - log_loss,
            "brier": totals.squared_error / n,
            "f1": 2 * totals.hits / (totals.calls + positives),
            "calibration_error": np.sum(np.abs(totals.excess), axis=1) / n,
            "base_rate": base_rate,
        }
