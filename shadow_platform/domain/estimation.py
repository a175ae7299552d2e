"""Estimation stage: how well a model does, on matured labels where there are any, and expected where there are none.

Belongs here: realised metrics of one day, and CBPE (confidence-based performance estimation). Does not belong here:
comparing two models (domain.gates). Upstream: cohorts of domain.labels. Downstream: ``performance_daily``.

An estimate without labels holds only if P(y|x) is stable. It may warn; it may never promote.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.tables import PERFORMANCE_DAILY

Array = NDArray[np.float64]
Calibrator = Callable[[Array], Array]

CLIP = (0.01, 0.99)
MIN_REFERENCE_ROWS = 500


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


def fit_calibrator(score: Array, label: NDArray[np.bool_]) -> Calibrator:
    """Map from score to probability, fitted by isotonic regression on labelled reference rows.

    With fewer than ``MIN_REFERENCE_ROWS`` rows, or one class only, the score itself is taken as the probability.
    """
    if len(score) < MIN_REFERENCE_ROWS or len(np.unique(label)) < 2:
        return lambda values: np.asarray(values, dtype=np.float64)
    from sklearn.isotonic import IsotonicRegression  # takes a second to import, and only calibration needs it

    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, label.astype(np.float64))
    return lambda values: np.asarray(isotonic.predict(np.asarray(values, dtype=np.float64)), dtype=np.float64)


def estimate(score: Array, prediction: NDArray[np.bool_], probability: Array) -> Performance:
    """Expected performance when each row is positive with its calibrated probability.

    Source: CBPE, as in nannyml 0.13 (``performance_estimation/confidence_based``).

    Args:
        score: the model's output, by which rows are ranked and its loss is taken.
        prediction: the decision taken.
        probability: calibrated probability that the row is positive.
    """
    n = len(score)
    if n == 0:
        return Performance(0, None, None, None, None, None, None, None)
    positive = prediction.astype(np.float64)
    tp, fp = float(probability @ positive), float((1 - probability) @ positive)
    fn, tn = float(probability @ (1 - positive)), float((1 - probability) @ (1 - positive))
    clipped = np.clip(score, *CLIP)
    loss = -(probability * np.log(clipped) + (1 - probability) * np.log(1 - clipped))
    return Performance(
        n=n,
        roc_auc=_expected_roc_auc(score, probability),
        log_loss=float(loss.mean()),
        brier=float((probability * (1 - score) ** 2 + (1 - probability) * score**2).mean()),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        accuracy=(tp + tn) / n,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
    )


def realise(score: Array, prediction: NDArray[np.bool_], label: NDArray[np.bool_]) -> Performance:
    """Performance on known labels: the estimate with certain truth. ROC-AUC is ``None`` with one class only."""
    return estimate(score, prediction, label.astype(np.float64))


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def _expected_roc_auc(score: Array, probability: Array) -> float | None:
    """Area under the expected ROC curve; rows of equal score form one step."""
    positives, negatives = float(probability.sum()), float((1 - probability).sum())
    if positives <= 0 or negatives <= 0:
        return None
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    tpr = np.append(0.0, np.cumsum(probability[order])[last_of_tie] / positives)
    fpr = np.append(0.0, np.cumsum(1 - probability[order])[last_of_tie] / negatives)
    return float(np.trapezoid(tpr, fpr))


def performance_by_day(
    cohort: pd.DataFrame, role: str, as_of: datetime, calibrator: Calibrator | None = None
) -> pd.DataFrame:
    """Rows of ``performance_daily``, one a request day and model version.

    Args:
        cohort: ``use_case, requested_at, model_version, probability, prediction, label`` (null: not matured or not
            known) of every prediction to be judged.
        role: ``champion`` or ``challenger``.
        as_of: labels known later were not used.
        calibrator: maps score to probability for the estimates; default: the score itself.
    """
    columns = list(PERFORMANCE_DAILY.column_names)
    rows = [
        {
            "use_case": use_case,
            "day_at": day_at,
            "model_version": version,
            "role": role,
            **_day_metrics(group, calibrator),
            "labels_as_of": as_of,
        }
        for (use_case, day_at, version), group in cohort.assign(day_at=cohort["requested_at"].dt.floor("D")).groupby(
            ["use_case", "day_at", "model_version"]
        )
    ]
    return pd.DataFrame(rows, columns=columns)


def _day_metrics(group: pd.DataFrame, calibrator: Calibrator | None) -> dict[str, float | int | None]:
    score = group["probability"].to_numpy(np.float64)
    prediction = group["prediction"].to_numpy(bool)
    expected = estimate(score, prediction, calibrator(score) if calibrator else score)
    labelled = group["label"].notna().to_numpy()
    label = group.loc[labelled, "label"].to_numpy(bool)
    true = realise(score[labelled], prediction[labelled], label)
    return {
        "n": len(group),
        "n_labelled": true.n,
        "base_rate": float(label.mean()) if true.n else None,
        "roc_auc": true.roc_auc,
        "log_loss": true.log_loss,
        "brier": true.brier,
        "f1": true.f1,
        "estimated_roc_auc": expected.roc_auc,
        "estimated_f1": expected.f1,
    }
