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

from shadow_platform.domain.gates.clusters import Array, Clusters, RunningMean, running_mean

CLIP = (0.01, 0.99)


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Bounds on the mean difference after each cluster; valid at all of them at once.

    Attributes:
        n: pairs seen so far, one entry a cluster.
        mean: mean difference so far; positive favours the challenger.
        lower, upper: one-sided bounds.
        design_effect: variance of the mean over what independent rows would give, at the end.
    """

    n: NDArray[np.int64]
    mean: Array
    lower: Array
    upper: Array
    design_effect: float


def log_loss(probability: Array, label: Array) -> Array:
    """Log loss of each row in nats, probabilities clipped to ``CLIP`` so that one row cannot decide."""
    p = np.clip(probability, *CLIP)
    return np.asarray(-(label * np.log(p) + (1 - label) * np.log(1 - p)), dtype=np.float64)


def log_losses(pairs: pd.DataFrame) -> tuple[Array, Array]:
    """Log loss of champion and challenger of each judged pair, times its weight; 0 where the label is hidden."""
    label, weight = pairs["label"].to_numpy(np.float64), pairs["weight"].to_numpy(np.float64)
    champion = log_loss(pairs["probability"].to_numpy(np.float64), label)
    challenger = log_loss(pairs["challenger_probability"].to_numpy(np.float64), label)
    return weight * champion, weight * challenger


def log_loss_gains(pairs: pd.DataFrame) -> Array:
    """Champion's log loss minus the challenger's of each pair, nats, times its weight; positive favours the challenger.

    The label of a hidden pair is not read: its weight is 0.
    """
    champion, challenger = log_losses(pairs)
    return champion - challenger


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
    differences: Array, clusters: Clusters, alpha: float = 0.05, tuned_at: int = 2_000
) -> ConfidenceSequence:
    """Anytime-valid one-sided bounds on the mean of dependent differences; at ``alpha / 2`` both hold at once.

    The variance of the sum is estimated from cluster sums, so rows of a cluster may depend on each other in any way.
    With few clusters that estimate is itself uncertain: the boundary is widened to the Student quantile of equal tail
    probability with (clusters - 1) degrees of freedom. With one row a cluster and many rows the bounds are those of
    arXiv 2103.06476.

    Args:
        differences: one value a pair, champion's loss minus challenger's, in prediction order.
        clusters: rows that are not independent.
        alpha: chance that either bound is ever wrong.
        tuned_at: number of pairs at which the bounds are tightest.
    """
    if len(differences) == 0:
        return nothing_known()
    running = running_mean(differences, clusters)
    z = boundary(running.n.astype(np.float64), alpha, tuned_at)
    with np.errstate(invalid="ignore"):
        z = np.where(running.groups > 1, stats.t.isf(stats.norm.sf(z), np.maximum(running.groups - 1, 1)), np.inf)
        width = z * np.sqrt(running.variance) / running.n
    lower, upper = running.mean - width, running.mean + width
    return ConfidenceSequence(running.n, running.mean, lower, upper, design_effect(differences, running))


def nothing_known() -> ConfidenceSequence:
    """The sequence of no pairs."""
    empty = np.array([], dtype=np.float64)
    return ConfidenceSequence(np.array([], dtype=np.int64), empty, empty, empty, 1.0)


def design_effect(differences: Array, running: RunningMean) -> float:
    """Variance of the mean over what independent rows would give, at the end."""
    independent = float(np.sum((differences - np.mean(differences)) ** 2))
    known = independent > 0 and running.groups[-1] > 1
    return float(running.variance[-1]) / independent if known else 1.0
