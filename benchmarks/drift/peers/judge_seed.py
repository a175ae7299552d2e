"""The rules of hand-made monitors: any KS test, any PSI, a share of the features.

Needs scipy. Upstream: windows. Downstream: ``environments``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.drift.peers.exchange import answer, features

ALPHA, PSI_LIMIT, SHARE, BINS = 0.05, 0.25, 0.3, 10
EMPTY = 1e-4


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> Mapping[str, bool]:
    """Fails by each rule."""
    numeric, categorical = features(reference)
    small = [stats.ks_2samp(reference[n].dropna(), current[n].dropna()).pvalue < ALPHA for n in numeric]
    for name in categorical:
        table = pd.concat([frame[name].value_counts() for frame in (reference, current)], axis=1).fillna(0)
        small.append(stats.chi2_contingency(table.to_numpy()).pvalue < ALPHA)
    indices = [psi(*_binned(reference[n].dropna(), current[n].dropna())) for n in numeric]
    indices += [psi(*_levels(reference[n], current[n])) for n in categorical]
    return {
        f"any test p < {ALPHA}": any(small),
        f"any PSI > {PSI_LIMIT}": max(indices) > PSI_LIMIT,
        f"share of features with p < {ALPHA} above {SHARE}": float(np.mean(small)) > SHARE,
    }


def psi(p: np.ndarray, q: np.ndarray) -> float:
    """Population stability index of two rows of shares; an empty bin counts as ``EMPTY``."""
    p, q = np.maximum(p, EMPTY), np.maximum(q, EMPTY)
    return float(((q - p) * np.log(q / p)).sum())


def _binned(reference: "pd.Series[float]", current: "pd.Series[float]") -> tuple[np.ndarray, np.ndarray]:
    edges = np.quantile(reference, np.arange(1, BINS) / BINS)
    counts = [np.bincount(np.searchsorted(edges, values), minlength=BINS) for values in (reference, current)]
    return counts[0] / len(reference), counts[1] / len(current)


def _levels(reference: "pd.Series[str]", current: "pd.Series[str]") -> tuple[np.ndarray, np.ndarray]:
    shares = pd.concat([reference.value_counts(normalize=True), current.value_counts(normalize=True)], axis=1)
    return shares.fillna(0).iloc[:, 0].to_numpy(), shares.fillna(0).iloc[:, 1].to_numpy()


if __name__ == "__main__":
    answer(judge)
