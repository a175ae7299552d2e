"""Which rows depend on each other, and how much a sum of them varies.

Belongs here: clusters of a policy, the variance they leave. Does not belong here: bounds (``sequence``, ``betting``).
Upstream: judged pairs in prediction order. Downstream: gates.sequence, gates.segments.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

DAY_AND_SUBJECT = "day_and_subject"


@dataclass(frozen=True, slots=True)
class Clusters:
    """Rows that may depend on each other in any way: those of a cluster, and those of a subject if there are subjects.

    Attributes:
        number: cluster of each row, 0, 1, 2, ... in order of first appearance.
        subject: subject of each row, numbered likewise, when rows of one subject are alike on all days.
    """

    number: Numbers
    subject: Numbers | None = None

    @classmethod
    def of(cls, cohort: pd.DataFrame, cluster: str | None) -> Self:
        """Clusters of the rows of a cohort in prediction order; ``cluster`` as in ``GatePolicy.cluster``."""
        if cluster == DAY_AND_SUBJECT:
            subject = np.asarray(pd.factorize(cohort["subject_id"].astype(str))[0], dtype=np.int64)
            return cls(cluster_numbers(cohort, "day"), subject)
        return cls(cluster_numbers(cohort, cluster))

    def take(self, rows: Numbers) -> "Clusters":
        """Clusters of some of the rows, numbered anew."""
        number = np.asarray(pd.factorize(self.number[rows])[0], dtype=np.int64)
        if self.subject is None:
            return Clusters(number)
        return Clusters(number, np.asarray(pd.factorize(self.subject[rows])[0], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class RunningMean:
    """Mean of rows after each cluster, and how much their sum varies.

    Attributes:
        n: rows so far.
        variance: of the sum of the rows so far, from the scatter of cluster sums; infinite with one cluster.
        groups: clusters so far, or subjects if they are fewer: what the variance is estimated from.
    """

    n: Numbers
    mean: Array
    variance: Array
    groups: Numbers


def unit_of(cluster: str | None) -> str:
    """What one cluster is, in a word.

    >>> unit_of("day_and_subject"), unit_of(None)
    ('day', 'request')
    """
    return "day" if cluster == DAY_AND_SUBJECT else cluster or "request"


def cluster_numbers(cohort: pd.DataFrame, cluster: str | None) -> Numbers:
    """Cluster of each row, numbered in order of first appearance.

    Args:
        cohort: rows in prediction order.
        cluster: ``"hour"``, ``"day"``, a column within its day, or ``None``.
    """
    if cluster is None:
        return np.arange(len(cohort), dtype=np.int64)
    if cluster in ("hour", "day"):
        keys = cohort["requested_at"].dt.floor("h" if cluster == "hour" else "D")
    else:
        day = cohort["requested_at"].dt.strftime("%Y-%m-%d")
        keys = day + "|" + cohort[cluster].astype(str)
    return np.asarray(pd.factorize(keys)[0], dtype=np.int64)


def running_mean(values: Array, clusters: Clusters) -> RunningMean:
    """Mean and variance of the sum after each cluster of at least one row.

    With subjects the variance is that of two-way clusters (Cameron, Gelbach and Miller 2011): of days, plus of
    subjects, minus of a subject's rows of a day, and never below either of the first two.
    """
    size = np.bincount(clusters.number).astype(np.float64)
    n, k = np.cumsum(size), np.arange(1, len(size) + 1)
    centre = float(np.mean(values))
    total = np.bincount(clusters.number, weights=values - centre)
    mean = np.cumsum(total) / n
    variance, groups = _scatter(np.cumsum(total**2), np.cumsum(total * size), np.cumsum(size**2), mean, k), k
    if clusters.subject is not None:
        by_subject, seen, by_cell = _subjects(values - centre, clusters, mean)
        variance = np.maximum(variance + by_subject - by_cell, np.maximum(variance, by_subject))
        groups = np.minimum(k, seen)
    variance = np.where(groups > 1, variance, np.inf)
    return RunningMean(n.astype(np.int64), centre + mean, variance, groups)


def _scatter(squares: Array, products: Array, sizes: Array, mean: Array, k: Numbers) -> Array:
    """Sum of squared group sums around the mean, times k / (k - 1)."""
    return np.asarray(k / np.maximum(k - 1, 1) * np.maximum(squares - 2 * mean * products + mean**2 * sizes, 0.0))


def _subjects(values: Array, clusters: Clusters, mean: Array) -> tuple[Array, Numbers, Array]:
    """After each cluster: variance of subjects' sums, number of subjects, variance of subjects' sums of a cluster."""
    assert clusters.subject is not None
    n_clusters, n_subjects = len(mean), int(clusters.subject.max()) + 1
    total, size = np.zeros(n_subjects), np.zeros(n_subjects)
    whole, cells = np.zeros((3, n_clusters)), np.zeros((4, n_clusters))
    seen = np.zeros(n_clusters, dtype=np.int64)
    ends = np.searchsorted(clusters.number, np.arange(n_clusters), side="right")
    for cluster, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        names, place = np.unique(clusters.subject[start:end], return_inverse=True)
        sums, counts = np.bincount(place, weights=values[start:end]), np.bincount(place).astype(np.float64)
        total[names] += sums
        size[names] += counts
        whole[:, cluster] = total @ total, total @ size, size @ size
        cells[:, cluster] = sums @ sums, sums @ counts, counts @ counts, len(names)
        seen[cluster] = np.count_nonzero(size)
    squares, products, sizes, n_cells = np.cumsum(cells, axis=1)
    return (
        _scatter(whole[0], whole[1], whole[2], mean, seen),
        seen,
        _scatter(squares, products, sizes, mean, n_cells.astype(np.int64)),
    )
