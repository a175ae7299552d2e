"""How well probabilities agree with what happened: the curves people look at.

Upstream: labels and calibrated probabilities of the evaluation window. Downstream: plots.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_curve

CALIBRATION_BINS = 10

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def reliability(labels: Labels, probabilities: Floats, n_bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Mean probability, share of positives and rows ``n`` of each equal-width bin that has rows."""
    bins = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    table = pd.DataFrame({"bin": bins, "probability": probabilities, "observed": labels.astype(float)}).groupby("bin")
    result = table.mean()
    result["n"] = table.size()
    return result.reset_index(drop=True)


def calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Expected calibration error over ten equal-width bins (Naeini et al. 2015)."""
    table = reliability(labels, probabilities)
    return float(np.average((table["probability"] - table["observed"]).abs(), weights=table["n"]))


def roc(labels: Labels, probabilities: Floats) -> pd.DataFrame:
    """False and true positive rate along the ROC curve."""
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, probabilities)
    return pd.DataFrame({"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate})
