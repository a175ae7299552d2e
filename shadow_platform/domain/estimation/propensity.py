"""Means over all requests when the outcomes of some are hidden, each with a known probability: inverse propensities.

Belongs here: the estimators and their 95 % intervals. Does not belong here: what is averaged, and which rows count.
Upstream: arrays, one entry a request. Downstream: ``daily``, benchmarks/censoring.py.

A request that is seen with probability p stands for 1/p requests. That works only where p is above zero for every
request: else there is no number, only the share of requests about which nothing can be known. Sources: Horvitz and
Thompson 1952 (JASA 47), Hajek 1971, Owen, "Monte Carlo theory, methods and examples", chapter 9.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over all requests with its 95 % confidence interval; ``None`` where it cannot be known.

    Attributes:
        n: requests.
        n_seen: of which the outcome is seen.
        effective_n: requests with outcome that would carry as much, if all had the same propensity.
        share_not_identifiable: share of requests that could never show their outcome; above 0, nothing is estimated.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_seen: int
    effective_n: float
    share_not_identifiable: float


def horvitz_thompson(
    values: Array, is_seen: Flags, propensity: Array, clusters: NDArray[np.int64] | None = None
) -> Estimate:
    """Sum of the seen values, each over its propensity, by the number of requests: unbiased.

    Args:
        values: one a request; those not seen are not read.
        is_seen: whether the outcome is seen.
        propensity: probability with which it is seen, in [0, 1].
        clusters: number of the group of requests that are not independent (a day), 0 and up; default: independent.
    """
    weight = inverse_propensity(is_seen, propensity)
    total = weight * np.where(is_seen, values, 0.0)
    mean = float(total.mean()) if len(total) else 0.0
    return _estimate(mean, (total - mean) / max(len(total), 1), is_seen, propensity, clusters)


def hajek(values: Array, is_seen: Flags, propensity: Array, clusters: NDArray[np.int64] | None = None) -> Estimate:
    """Mean of the seen values weighted by their inverse propensities: nearly unbiased, and far less scattered.

    Its interval comes from the delta method. Arguments as of :func:`horvitz_thompson`.
    """
    weight = inverse_propensity(is_seen, propensity)
    seen = np.where(is_seen, values, 0.0)
    total = float(weight.sum())
    mean = float(weight @ seen) / total if total > 0 else 0.0
    influence = weight * (seen - mean) / total if total > 0 else weight
    return _estimate(mean, influence, is_seen, propensity, clusters)


def inverse_propensity(is_seen: Flags, propensity: Array) -> Array:
    """How many requests each one stands for: 0 where the outcome is not seen."""
    return np.divide(1.0, propensity, out=np.zeros(len(propensity)), where=is_seen & (propensity > 0))


def effective_sample_size(weight: Array) -> float:
    """Rows of equal weight that carry as much (Kish 1965): ``(sum w)^2 / sum w^2``.

    >>> effective_sample_size(np.array([1.0, 1.0, 2.0, 0.0]))
    2.6666666666666665
    """
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def _estimate(
    mean: float, influence: Array, is_seen: Flags, propensity: Array, clusters: NDArray[np.int64] | None
) -> Estimate:
    n, n_seen = len(is_seen), int(is_seen.sum())
    hopeless = float(np.mean(propensity <= 0)) if n else 0.0
    effective = effective_sample_size(inverse_propensity(is_seen, propensity))
    if hopeless > 0 or n_seen == 0:
        return Estimate(None, None, None, n, n_seen, effective, hopeless)
    grouped = influence if clusters is None else np.bincount(clusters, weights=influence).astype(np.float64)
    width = _half_width(grouped)
    low, high = (None, None) if width is None else (mean - width, mean + width)
    return Estimate(mean, low, high, n, n_seen, effective, hopeless)


def _half_width(influence: Array) -> float | None:
    """Half the interval of a sum of independent influences; ``None`` with fewer than two.

    Few rows of great weight are few observations: the Student quantile has the degrees of freedom
    ``(sum u^2)^2 / sum u^4 - 1`` of Satterthwaite's approximation.
    """
    k, squares = len(influence), influence**2
    total = float(squares.sum())
    if k < 2:
        return None
    if total == 0:
        return 0.0
    freedom = max(total**2 / float(squares @ squares) - 1, 1.0)
    return float(stats.t.isf(TAIL, freedom)) * float(np.sqrt(k / (k - 1) * total))
