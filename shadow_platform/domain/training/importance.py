"""What each feature is worth to a model: the loss when its values are shuffled.

Belongs here: permutation importance of a scoring function. Does not belong here: why one answer is as it is
(domain.explanation). Upstream: the exported model's scoring, encoded evaluation rows. Downstream: model card, plots.

Features that carry the same information stand in for each other: each alone then looks worth less than both.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from shadow_platform.contracts.model_card import FeatureImportance, MetricEstimate
from shadow_platform.domain.training.metrics import MIN_DAYS, log_losses

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Labels = npt.NDArray[np.bool_]
Score = Callable[[Matrix], Floats]


def importances(
    score: Score,
    matrix: Matrix,
    labels: Labels,
    names: Sequence[str],
    days: npt.ArrayLike,
    seed: int,
    n_repeats: int = 3,
    max_rows: int = 10_000,
    confidence: float = 0.95,
) -> tuple[FeatureImportance, ...]:
    """Mean increase of log loss, nats a row, when a feature's values change places (Breiman 2001); largest first.

    A row's increase is its mean over the repeats. The interval takes days as what varies: sums of a day, Student
    quantile. Each shuffling mixes the days' rows anew, so that its own chance varies between days too, and is covered.

    Args:
        score: probabilities of encoded rows, as the exported model answers.
        matrix: encoded evaluation rows, one column for each of ``names``.
        max_rows: as many rows, drawn, are judged at most.
    """
    rng = np.random.default_rng(seed)
    if len(matrix) > max_rows:
        rows = np.sort(rng.choice(len(matrix), max_rows, replace=False))
        matrix, labels, days = matrix[rows], labels[rows], np.asarray(days)[rows]
    day, _ = pd.factorize(np.asarray(days))
    # The same shufflings for every feature: what they do by chance then differs less between features.
    orders = [rng.permutation(len(matrix)) for _ in range(n_repeats)]
    before = log_losses(labels, score(matrix))
    shuffled = matrix.copy()
    result = []
    for column, name in enumerate(names):
        increase = np.zeros(len(matrix))
        for order in orders:
            shuffled[:, column] = matrix[order, column]
            increase += (log_losses(labels, score(shuffled)) - before) / n_repeats
        shuffled[:, column] = matrix[:, column]
        result.append(FeatureImportance(feature=name, log_loss_increase=_mean_over_days(increase, day, confidence)))
    return tuple(sorted(result, key=lambda one: -one.log_loss_increase.value))


def _mean_over_days(values: Floats, day: Integers, confidence: float) -> MetricEstimate:
    """Mean of rows; its interval takes sums of days as independent (cluster-robust variance, Liang and Zeger 1986)."""
    mean, n_days = float(values.mean()), int(day.max(initial=-1)) + 1
    if n_days < MIN_DAYS:
        return MetricEstimate(value=mean, low=None, high=None)
    excess = np.bincount(day, values - mean)
    error = np.sqrt(n_days / (n_days - 1) * np.sum(excess**2)) / len(values)
    width = float(error * stats.t.ppf((1 + confidence) / 2, n_days - 1))
    return MetricEstimate(value=mean, low=mean - width, high=mean + width)
