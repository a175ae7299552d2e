"""Anytime-valid comparison of paired losses: a confidence sequence that may be looked at after every label.

Belongs here: the statistics alone. Does not belong here: policies and verdicts (criteria, decision). Upstream: arrays.
Downstream: gates.quality, the plot of ``gate_decision``, benchmarks/decisions.py.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]

CLIP = (0.01, 0.99)


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Bounds on the mean difference after each cluster; valid at all of them at once.

    Attributes:
        n: pairs seen so far, one entry a cluster.
        mean: mean difference so far; positive favours the challenger.
        width: distance from the mean to either one-sided bound.
        design_effect: variance of the mean over what independent rows would give, at the end.
    """

    n: NDArray[np.int64]
    mean: Array
    width: Array
    design_effect: float

    @property
    def lower(self) -> Array:
        """One-sided lower bounds."""
        return self.mean - self.width

    @property
    def upper(self) -> Array:
        """One-sided upper bounds."""
        return self.mean + self.width


def log_loss(probability: Array, label: Array) -> Array:
    """Log loss of each row in nats, probabilities clipped to ``CLIP`` so that one row cannot decide."""
    p = np.clip(probability, *CLIP)
    return np.asarray(-(label * np.log(p) + (1 - label) * np.log(1 - p)), dtype=np.float64)


def boundary(n: Array, alpha: float, tuned_at: int) -> Array:
    """Standardised one-sided boundary after ``n`` pairs.

    ``sqrt(2 (n r^2 + 1) / (n r^2) log(1 + sqrt(n r^2 + 1) / (2 alpha)))``, Waudby-Smith et al., arXiv 2103.06476,
    one-sided asymptotic confidence sequence.
    """
    q = np.asarray(n, dtype=np.float64) * tuning(alpha, tuned_at) ** 2
    return np.asarray(np.sqrt(2 * (q + 1) / q * np.log1p(np.sqrt(q + 1) / (2 * alpha))), dtype=np.float64)


@lru_cache
def tuning(alpha: float, tuned_at: int) -> float:
    """The ``r`` that makes the boundary smallest after ``tuned_at`` pairs."""

    def squared_boundary(log_q: float) -> float:
        q = float(np.exp(log_q))
        return 2 * (q + 1) / q * float(np.log1p(np.sqrt(q + 1) / (2 * alpha)))

    best = optimize.minimize_scalar(squared_boundary, bounds=(-5.0, 10.0), method="bounded", options={"xatol": 1e-10})
    return float(np.sqrt(np.exp(best.x) / tuned_at))


def confidence_sequence(
    differences: Array, clusters: NDArray[np.int64], alpha: float = 0.05, tuned_at: int = 2_000
) -> ConfidenceSequence:
    """Anytime-valid one-sided bounds on the mean of dependent differences.

    The variance of the sum is estimated from cluster sums, so rows of a cluster may depend on each other in any way.
    With few clusters that estimate is itself uncertain: the boundary is widened to the Student quantile of equal tail
    probability with (clusters - 1) degrees of freedom. With one row a cluster and many rows the bounds are those of
    arXiv 2103.06476.

    Args:
        differences: one value a pair, champion's loss minus challenger's, in prediction order.
        clusters: cluster number of each pair, 0, 1, 2, ... in order of first appearance.
        alpha: chance that either bound is ever wrong.
        tuned_at: number of pairs at which the bounds are tightest.
    """
    if len(differences) == 0:
        empty = np.array([], dtype=np.float64)
        return ConfidenceSequence(np.array([], dtype=np.int64), empty, empty, 1.0)
    size = np.bincount(clusters).astype(np.float64)
    centre = float(np.mean(differences))
    total = np.bincount(clusters, weights=differences - centre)
    n, k = np.cumsum(size), np.arange(1, len(size) + 1)
    mean = np.cumsum(total) / n
    scatter = np.cumsum(total**2) - 2 * mean * np.cumsum(total * size) + mean**2 * np.cumsum(size**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(k > 1, k / np.maximum(k - 1, 1) * np.maximum(scatter, 0.0), np.inf)
        z = boundary(n, alpha, tuned_at)
        z = np.where(k > 1, stats.t.isf(stats.norm.sf(z), np.maximum(k - 1, 1)), np.inf)
        width = z * np.sqrt(variance) / n
    independent = float(np.sum((differences - centre) ** 2))
    effect = float(variance[-1]) / independent if independent > 0 and len(size) > 1 else 1.0
    return ConfidenceSequence(n.astype(np.int64), centre + mean, width, effect)


def cluster_numbers(cohort: pd.DataFrame, cluster: str | None) -> NDArray[np.int64]:
    """Cluster of each row, numbered in order of first appearance.

    Args:
        cohort: rows in prediction order.
        cluster: as in ``GatePolicy.cluster``.
    """
    if cluster is None:
        return np.arange(len(cohort), dtype=np.int64)
    if cluster in ("hour", "day"):
        keys = cohort["requested_at"].dt.floor("h" if cluster == "hour" else "D")
    else:
        day = cohort["requested_at"].dt.strftime("%Y-%m-%d")
        keys = day + "|" + cohort[cluster].astype(str)
    return np.asarray(pd.factorize(keys)[0], dtype=np.int64)
