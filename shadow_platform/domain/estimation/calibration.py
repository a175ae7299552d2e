"""What a score is worth as a probability, learnt on labelled reference rows, and how far that may be off.

Belongs here: the map and its error. Does not belong here: what is expected of it (``metrics``, ``intervals``), which
rows are the reference. Upstream: evaluation rows of a model. Downstream: ``daily``, ``intervals``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

MIN_REFERENCE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A non-decreasing map from score to probability: linear between its knots, constant beyond them.

    Attributes:
        scores, probabilities: the knots, ascending.
        level: number of the level that each knot stands on; a level is one mean over reference rows.
        day_shares: share of each reference day in the rows of each level, shape (days, levels).
        squares: sum of squared shares of the single rows of each level: one over their number, if they weigh alike.
        likeness: intraclass correlation of what rows of one day have in common that their scores do not tell.
    """

    scores: Array
    probabilities: Array
    level: Codes
    day_shares: Array
    squares: Array
    likeness: float

    def __call__(self, score: Array) -> Array:
        """Probabilities of scores."""
        return np.interp(np.asarray(score, dtype=np.float64), self.scores, self.probabilities)

    @property
    def freedom(self) -> int:
        """Degrees of freedom behind ``likeness``: reference days less one."""
        return len(self.day_shares) - 1

    def error(self, score: Array, gradient: Array) -> tuple[float, float]:
        """Variance that the map's own error gives ``gradient @ probability``: of single rows, and of whole days.

        Every level is a mean of Bernoulli outcomes, known as well as its rows allow; a level of 0 or 1 is taken for the
        half success that its rows may have missed.
        """
        if not len(self.day_shares):
            return 0.0, 0.0
        place = np.interp(score, self.scores, np.arange(len(self.scores), dtype=np.float64))
        below = np.minimum(place.astype(np.int64), max(len(self.scores) - 2, 0))
        above, part = np.minimum(below + 1, len(self.scores) - 1), place - below
        n_levels = len(self.squares)
        moved = np.bincount(self.level[below], gradient * (1 - part), n_levels)
        moved += np.bincount(self.level[above], gradient * part, n_levels)
        mean = np.zeros(n_levels)
        mean[self.level] = self.probabilities
        half = self.squares / (2 + 2 * self.squares)
        spread = moved * _deviation(np.clip(mean, half, 1 - half))
        alone = float(spread**2 @ self.squares)
        return (1 - self.likeness) * alone, self.likeness * float(np.square(self.day_shares @ spread).sum())

    def shared(self, probability: Array, gradient: Array) -> tuple[float, float]:
        """Variance that the outcomes of one day give ``gradient @ outcome``: of single rows, and of the day."""
        spread = gradient * _deviation(probability)
        return (1 - self.likeness) * float(spread @ spread), self.likeness * float(spread.sum()) ** 2


def identity() -> Calibrator:
    """The score taken as the probability, and as certain."""
    ends = np.array([0.0, 1.0])
    return Calibrator(ends, ends, np.arange(2), np.zeros((0, 2)), np.zeros(2), 0.0)


def fit_calibrator(
    score: Array, label: NDArray[np.bool_], weight: Array | None = None, days: Codes | None = None
) -> Calibrator:
    """Map from score to probability, fitted by isotonic regression on labelled reference rows.

    With fewer than ``MIN_REFERENCE_ROWS`` rows, or one class only, the score itself is taken as the probability.

    Args:
        weight: how many rows each one stands for; default: itself.
        days: number of each row's day, 0 and up; default: rows are independent.
    """
    if len(score) < MIN_REFERENCE_ROWS or len(np.unique(label)) < 2:
        return identity()
    from sklearn.isotonic import IsotonicRegression  # takes a second to import, and only calibration needs it

    truth = label.astype(np.float64)
    weight = np.ones(len(score)) if weight is None else weight
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, truth, weight)
    probability = np.asarray(fitted.predict(score), dtype=np.float64)
    levels, level = np.unique(fitted.y_thresholds_, return_inverse=True)
    nearest = np.clip(np.searchsorted((levels[1:] + levels[:-1]) / 2, probability), 0, len(levels) - 1)
    total = np.bincount(nearest, weight, len(levels))
    share = weight / total[nearest]
    by_row = days is None
    codes = np.zeros(len(score), dtype=np.int64) if days is None else days
    day_shares = np.zeros((int(codes.max()) + 1, len(levels)))
    np.add.at(day_shares, (codes, nearest), share)
    return Calibrator(
        np.asarray(fitted.X_thresholds_, dtype=np.float64),
        np.asarray(fitted.y_thresholds_, dtype=np.float64),
        level.astype(np.int64),
        day_shares,
        np.bincount(nearest, share**2, len(levels)).astype(np.float64),
        0.0 if by_row else _likeness(truth, probability, codes),
    )


def _likeness(truth: Array, probability: Array, days: Codes) -> float:
    """Intraclass correlation of outcomes of one day given their probabilities, by moments; 0 if it is negative.

    The square of a day's summed residuals has mean ``(1 - r) sum v + r (sum sqrt v)^2``. The fit took out the overall
    mean, which costs one day.
    """
    n_days, deviation = int(days.max()) + 1, _deviation(probability)
    if n_days < 2:
        return 0.0
    squared = float(np.square(np.bincount(days, truth - probability)).sum()) * n_days / (n_days - 1)
    alone = float(deviation @ deviation)
    together = float(np.square(np.bincount(days, deviation)).sum())
    return float(np.clip((squared - alone) / (together - alone), 0.0, 1.0)) if together > alone else 0.0


def _deviation(probability: Array) -> Array:
    return np.sqrt(np.maximum(probability * (1 - probability), 0.0))
