"""How far expected performance may lie from what the labels will say: 95 % intervals of the estimates.

Belongs here: gradients and intervals. Does not belong here: the estimates (``metrics``), the map from score to
probability and its error (``calibration``). Upstream: scores and decisions of one day. Downstream: ``daily``.

An interval is for the metric that the labels of these very requests will give, if P(y|x) is stable. It holds the chance
of the outcomes given their probabilities, the error of the calibration, and what the rows of a day have in common as
far as the reference days show it. The delta method: each metric is taken as linear in the probabilities around its
estimate. Sources: Oehlert 1992 (The American Statistician 46); for the area under the ROC curve, DeLong 1988.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.domain.estimation.calibration import Array, Calibrator
from shadow_platform.domain.estimation.metrics import CLIP, METRICS, Performance, estimate, placements

TAIL = 0.025
# With fewer expected positives, or negatives, a ratio of counts is not nearly linear, and there is no interval.
MIN_EXPECTED = 3.0


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of a 95 % interval; ``None`` where there is none."""

    low: float | None
    high: float | None


NONE = Interval(None, None)


def expected_performance(
    score: Array, prediction: NDArray[np.bool_], calibrator: Calibrator
) -> tuple[Performance, dict[str, Interval]]:
    """CBPE of the requests of one day: expected metrics, and the 95 % interval of each by its name."""
    probability = calibrator(score)
    expected = estimate(score, prediction, probability)
    if not len(score):
        return expected, dict.fromkeys(METRICS, NONE)
    gradients = gradients_of(score, prediction.astype(np.float64), probability, expected)
    intervals = dict.fromkeys(METRICS, NONE)
    for name, gradient in gradients.items():
        width = _half_width(gradient, score, probability, calibrator)
        value, highest = getattr(expected, name), -np.log(CLIP[0]) if name == "log_loss" else 1.0
        intervals[name] = Interval(max(value - width, 0.0), min(value + width, highest))
    return expected, intervals


def auc_interval(score: Array, label: NDArray[np.bool_], weight: Array | None = None) -> Interval:
    """95 % interval of a realised area under the ROC curve (DeLong 1988), of independent rows."""
    weights = np.ones(len(score)) if weight is None else weight
    positives, negatives = weights * label, weights * ~label
    n_positive, n_negative = float(positives.sum()), float(negatives.sum())
    if min(int(label.sum()), int((~label).sum())) < 2:
        return NONE
    above, below = placements(score, positives, negatives)
    auc = float(positives @ below) / (n_positive * n_negative)
    influence = positives * (below / n_negative - auc) / n_positive
    influence += negatives * (above / n_positive - auc) / n_negative
    width = float(stats.norm.isf(TAIL)) * float(np.sqrt(influence @ influence))
    return Interval(max(auc - width, 0.0), min(auc + width, 1.0))


def gradients_of(score: Array, decided: Array, probability: Array, expected: Performance) -> dict[str, Array]:
    """By what each metric that is defined rises with the probability of each row."""
    n, n_decided = len(score), float(decided.sum())
    n_positive, n_negative = float(probability.sum()), float((1 - probability).sum())
    clipped = np.clip(score, *CLIP)
    found = {
        "log_loss": (np.log(1 - clipped) - np.log(clipped)) / n,
        "brier": (1 - 2 * score) / n,
        "accuracy": (2 * decided - 1) / n,
    }
    if expected.precision is not None and n_decided >= MIN_EXPECTED:
        found["precision"] = decided / n_decided
    if expected.recall is not None and n_positive >= MIN_EXPECTED:
        found["recall"] = (decided - expected.recall) / n_positive
    if expected.f1 is not None and n_positive + n_decided >= 2 * MIN_EXPECTED:
        found["f1"] = (2 * decided - expected.f1) / (n_positive + n_decided)
    if expected.roc_auc is not None and min(n_positive, n_negative) >= MIN_EXPECTED:
        above, below = placements(score, probability, 1 - probability)
        pairs, auc = n_positive * n_negative, expected.roc_auc
        found["roc_auc"] = (below - above) / pairs - auc / n_positive + auc / n_negative
    return found


def _half_width(gradient: Array, score: Array, probability: Array, calibrator: Calibrator) -> float:
    """Student's, with the degrees of freedom of Satterthwaite where few days tell how alike the rows of one are."""
    alone, together = calibrator.shared(probability, gradient)
    row_error, day_error = calibrator.error(score, gradient)
    between, total = together + day_error, alone + together + row_error + day_error
    freedom = calibrator.freedom * (total / between) ** 2 if between > 0 else np.inf
    return float(stats.t.isf(TAIL, freedom)) * float(np.sqrt(total))
