"""How well probabilities agree with what happened: the curves people look at.

Belongs here: points of curves, few enough to draw. Does not belong here: single numbers (``metrics``), drawing
(adapters.pictures.training). Upstream: labels and calibrated probabilities of the evaluation window. Downstream: plots.

A curve of rows that do not identify it (no positive, or no negative label) is empty.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

CALIBRATION_BINS = 10
MAX_POINTS = 500

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Labels = npt.NDArray[np.bool_]


def calibration_bins(probabilities: Floats) -> Integers:
    """Number of the equal-width bin of each probability, 0 to 9; 1.0 lies in the last."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def reliability(labels: Labels, probabilities: Floats, confidence: float = 0.95) -> pd.DataFrame:
    """How often probabilities came true, by equal-width bin that has rows.

    Returns:
        ``probability`` (mean), ``observed`` (share of positives) with its Wilson interval ``observed_low``,
        ``observed_high`` (Wilson 1927; as if rows were independent), ``n``, and the bin's ends ``bin_low``,
        ``bin_high``.
    """
    bins = calibration_bins(probabilities)
    rows = pd.DataFrame({"probability": probabilities, "label": labels}).groupby(bins)
    n, positives = rows.size(), rows["label"].sum()
    intervals = [
        stats.binomtest(int(k), int(m)).proportion_ci(confidence, method="wilson")
        for k, m in zip(positives, n, strict=True)
    ]
    return pd.DataFrame(
        {
            "probability": rows["probability"].mean(),
            "observed": positives / n,
            "observed_low": [interval.low for interval in intervals],
            "observed_high": [interval.high for interval in intervals],
            "n": n,
            "bin_low": n.index / CALIBRATION_BINS,
            "bin_high": (n.index + 1) / CALIBRATION_BINS,
        }
    ).reset_index(drop=True)


def roc(labels: Labels, probabilities: Floats) -> pd.DataFrame:
    """False and true positive rate as the threshold falls from above every score to the lowest."""
    found, reached = _cumulated(labels, probabilities)
    if not _has_both(labels):
        return pd.DataFrame({"false_positive_rate": [], "true_positive_rate": []})
    false_positives = np.r_[0.0, reached - found]
    return _thinned(
        pd.DataFrame(
            {
                "false_positive_rate": false_positives / false_positives[-1],
                "true_positive_rate": np.r_[0.0, found] / found[-1],
            }
        )
    )


def precision_recall(labels: Labels, probabilities: Floats) -> pd.DataFrame:
    """Recall and precision as the threshold falls from the highest score to the lowest."""
    found, reached = _cumulated(labels, probabilities)
    if not _has_both(labels):
        return pd.DataFrame({"recall": [], "precision": []})
    return _thinned(pd.DataFrame({"recall": found / found[-1], "precision": found / reached}))


def gain(labels: Labels, probabilities: Floats) -> pd.DataFrame:
    """Share of the positives found among the share of rows with the highest probabilities (cumulative gain)."""
    found, reached = _cumulated(labels, probabilities)
    if not _has_both(labels):
        return pd.DataFrame({"share_of_rows": [], "share_of_positives": []})
    rows, positives = np.r_[0.0, reached] / reached[-1], np.r_[0.0, found] / found[-1]
    return _thinned(pd.DataFrame({"share_of_rows": rows, "share_of_positives": positives}))


def _has_both(labels: Labels) -> bool:
    return bool(labels.any() and not labels.all())


def _cumulated(labels: Labels, probabilities: Floats) -> tuple[Floats, Floats]:
    """Positives and rows with at least each score that occurs, highest first; tied rows come together."""
    _, level = np.unique(-probabilities, return_inverse=True)
    found, reached = np.cumsum(np.bincount(level, labels)), np.cumsum(np.bincount(level))
    return found.astype(np.float64), reached.astype(np.float64)


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most 500 points, the ends among them, evenly along the path; so none that is left out would be seen."""
    if len(curve) <= MAX_POINTS:
        return curve
    path = np.r_[0.0, np.cumsum(np.abs(np.diff(curve.to_numpy(), axis=0)).sum(axis=1))]
    places = np.searchsorted(path, np.linspace(0, path[-1], MAX_POINTS - 1))
    return curve.iloc[np.unique(np.r_[places, len(curve) - 1])].reset_index(drop=True)
