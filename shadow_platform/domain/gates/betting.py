"""Comparison by betting: bounds that hold at any number of labels, whatever the differences are like.

A bettor stakes part of a capital of 1 on each cluster's sum being above what a mean of ``m`` gives. If the mean is
``m`` or less, the capital is expected not to grow, so it ever reaches ``1 / alpha`` with chance ``alpha`` at most
(Ville 1939): the values of ``m`` at which it did are ruled out (Waudby-Smith and Ramdas 2024, grid Kelly). Stakes are
spread over ``BETS``, none of which looks at a label that is still to come.

Belongs here: the statistics alone. Upstream: arrays. Downstream: gates.quality. Nothing is assumed of rows of a
cluster, so a cluster of many rows is bet on with little: days of thousands of requests need years, see
benchmarks/decisions. Where requests are independent, let them be clusters of their own.
"""

import numpy as np
from scipy.special import logsumexp

from shadow_platform.domain.gates.clusters import Array, Clusters, running_mean
from shadow_platform.domain.gates.sequence import CLIP, ConfidenceSequence, design_effect, nothing_known

LARGEST_DIFFERENCE = float(np.log(CLIP[1] / CLIP[0]))
"""No two clipped answers differ by more in log loss."""
LARGEST_BOUND = LARGEST_DIFFERENCE / 10
"""Bounds are told up to this mean only; above it a stake of .9 could be more than lost."""
BETS = 0.9 * 0.5 ** np.arange(10)
"""Stakes as shares of the largest possible loss."""
GRID = np.geomspace(1e-4, 2.0, 40)


def log_capital(sums: Array, sizes: Array, limits: Array, mean: float) -> Array:
    """Logarithm of the capital after each cluster, from 0 before the first; finite, whatever the sums within limits.

    Args:
        sums: of each cluster's differences.
        sizes: rows of each cluster.
        limits: largest absolute value that each sum could have had, at least ``LARGEST_DIFFERENCE`` a row. A cluster
            larger than all before it is bet on with less, so that all count by their rows.
        mean: hypothesis that is bet against, at most ``LARGEST_BOUND``.
    """
    stakes = BETS[:, None] / np.maximum.accumulate(limits)
    growth = np.cumsum(np.log1p(stakes * (sums - mean * sizes)), axis=1)
    return np.asarray(logsumexp(growth, axis=0) - np.log(len(BETS)), dtype=np.float64)


def betting_sequence(differences: Array, limits: Array, clusters: Clusters, alpha: float) -> ConfidenceSequence:
    """Anytime-valid one-sided bounds on the mean of bounded differences.

    Args:
        differences: one value a pair, in prediction order.
        limits: largest absolute value that each could have had, known before its label.
        clusters: rows that are not independent, without subjects: bets are made in the order of time.
        alpha: chance that either bound is ever wrong.
    """
    if clusters.subject is not None:
        raise ValueError("betting goes on in the order of time: it cannot have clusters of subjects over many days")
    if len(differences) == 0:
        return nothing_known()
    running = running_mean(differences, clusters)
    sizes = np.bincount(clusters.number).astype(np.float64)
    most = np.bincount(clusters.number, weights=limits).astype(np.float64)
    sums = np.bincount(clusters.number, weights=differences).astype(np.float64)
    lower = _lower_bounds(sums, sizes, most, float(running.mean[-1]), alpha)
    upper = -_lower_bounds(-sums, sizes, most, -float(running.mean[-1]), alpha)
    return ConfidenceSequence(running.n, running.mean, lower, upper, design_effect(differences, running))


def _lower_bounds(sums: Array, sizes: Array, limits: Array, centre: float, alpha: float) -> Array:
    """Largest mean ruled out after each cluster, on a grid that is finest near ``centre``; the last one exactly."""
    largest = float(np.max(limits / sizes))
    grid = np.concatenate([centre - largest * GRID[::-1], [centre], centre + largest * GRID])
    grid = np.unique(np.clip(grid, -largest, LARGEST_BOUND))
    needed = -np.log(alpha)
    is_out = np.array([log_capital(sums, sizes, limits, float(mean)) >= needed for mean in grid])
    count = np.logical_and.accumulate(is_out, axis=0).sum(axis=0)
    lower = np.where(count > 0, grid[np.maximum(count - 1, 0)], -np.inf)
    if 0 < count[-1] < len(grid):
        low, high = float(lower[-1]), float(grid[count[-1]])
        for _ in range(40):
            middle = (low + high) / 2
            is_ruled_out = log_capital(sums, sizes, limits, middle)[-1] >= needed
            low, high = (middle, high) if is_ruled_out else (low, middle)
        lower[-1] = low
    return np.asarray(lower, dtype=np.float64)
