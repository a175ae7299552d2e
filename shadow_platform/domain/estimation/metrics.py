"""Metrics of one model on one set of rows: expected where the outcome is a probability, realised where it is known.

Belongs here: every metric as sums over rows, each row counted once or with a weight. Does not belong here: where
weights come from (``propensity``), which rows form a day (``daily``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLIP = (0.01, 0.99)
METRICS = ("roc_auc", "log_loss", "brier", "f1", "accuracy", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Performance:
    """Metrics of one model on one set of predictions; ``None`` where the metric is not defined."""

    n: int
    roc_auc: float | None
    log_loss: float | None
    brier: float | None
    f1: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None


def log_losses(score: Array, probability: Array) -> Array:
    """Log loss of each row in nats, scores clipped to ``CLIP``, when the row is positive with ``probability``."""
    clipped = np.clip(score, *CLIP)
    return np.asarray(-(probability * np.log(clipped) + (1 - probability) * np.log(1 - clipped)), dtype=np.float64)


def estimate(
    score: Array, prediction: NDArray[np.bool_], probability: Array, weight: Array | None = None
) -> Performance:
    """Expected performance when each row is positive with its calibrated probability.

    Source: CBPE, as in nannyml 0.13 (``performance_estimation/confidence_based``).

    Args:
        score: the model's output, by which rows are ranked and its loss is taken.
        prediction: the decision taken.
        probability: calibrated probability that the row is positive.
        weight: how many rows each one stands for, above 0; default: itself.
    """
    n = len(score)
    if n == 0:
        return Performance(0, None, None, None, None, None, None, None)
    positives = probability if weight is None else weight * probability
    negatives = 1 - probability if weight is None else weight * (1 - probability)
    decided = prediction.astype(np.float64)
    tp, fp = float(positives @ decided), float(negatives @ decided)
    fn, tn = float(positives @ (1 - decided)), float(negatives @ (1 - decided))
    squares = probability * (1 - score) ** 2 + (1 - probability) * score**2
    return Performance(
        n=n,
        roc_auc=_roc_auc(score, positives, negatives),
        log_loss=float(np.average(log_losses(score, probability), weights=weight)),
        brier=float(np.average(squares, weights=weight)),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        accuracy=(tp + tn) / (n if weight is None else float(weight.sum())),
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
    )


def realise(
    score: Array, prediction: NDArray[np.bool_], label: NDArray[np.bool_], weight: Array | None = None
) -> Performance:
    """Performance on known labels: the estimate with certain truth. ROC-AUC is ``None`` with one class only."""
    return estimate(score, prediction, label.astype(np.float64), weight)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def placements(score: Array, positives: Array, negatives: Array) -> tuple[Array, Array]:
    """Of every row, the positive mass ranked above it and the negative mass below, ties by half."""
    _, rank = np.unique(score, return_inverse=True)
    by_rank = np.bincount(rank, positives), np.bincount(rank, negatives)
    above = by_rank[0].sum() - np.cumsum(by_rank[0]) + by_rank[0] / 2
    below = np.cumsum(by_rank[1]) - by_rank[1] / 2
    return above[rank], below[rank]


def _roc_auc(score: Array, positives: Array, negatives: Array) -> float | None:
    """Area under the ROC curve of rows with a positive and a negative mass each; rows of equal score form one step."""
    n_positive, n_negative = float(positives.sum()), float(negatives.sum())
    if n_positive <= 0 or n_negative <= 0:
        return None
    return float(positives @ placements(score, positives, negatives)[1]) / (n_positive * n_negative)
