"""How well probabilities agree with what happened: the numbers.

Upstream: labels and calibrated probabilities of the evaluation window. Downstream: tables, MLflow, the model card.
"""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score, roc_auc_score

from shadow_platform.domain.training.curves import calibration_error

# Probabilities are clipped to [0.01, 0.99] in every log loss of the platform (docs/methods.md).
LOG_LOSS_CLIP = 0.01

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def metrics(labels: Labels, probabilities: Floats, threshold: float) -> dict[str, float]:
    """ROC-AUC (NaN with one class only), log loss, Brier score, F1 at the threshold, calibration error, base rate."""
    clipped = np.clip(probabilities, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    has_both = bool(labels.any() and not labels.all())
    return {
        "roc_auc": float(roc_auc_score(labels, probabilities)) if has_both else float("nan"),
        "log_loss": float(-np.mean(np.where(labels, np.log(clipped), np.log1p(-clipped)))),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "f1": float(f1_score(labels, probabilities >= threshold, zero_division=0)),
        "calibration_error": calibration_error(labels, probabilities),
        "base_rate": float(np.mean(labels)),
    }
