"""Why one probability is what it is: how far each feature moved it away from the usual one (Shapley values).

Belongs here: one attribution along one order of the features, means of attributions, choosing the largest. Does not
belong here: which orders, how many, for how long (``bento.explaining.explain_process``), encoding and scoring. Pure:
the model is a function, the order an argument. Upstream: bento (a row, background rows). Downstream: the answer of POST
/explain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Predict = Callable[[Matrix], npt.NDArray[Any]]
"""Probabilities of shape ``(rows,)`` of a float32 matrix of shape ``(rows, features)``."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """``base + contributions.sum()`` is the row's probability.

    Attributes:
        base: mean probability of the background rows it was made with.
        contributions: one a feature, in the order of the matrix.
        n_background: number of those background rows, its weight in a mean.
    """

    base: float
    contributions: Vector
    n_background: int


def attribute(predict: Predict, row: Matrix, background: Matrix, order: Sequence[int]) -> Attribution:
    """Contributions of features that take the row's values one after another, in ``order`` and in its reverse.

    The mean over all orders is the Shapley value (Castro et al. 2009, section 3); a random order gives an unbiased
    estimate, and adding its reverse (antithetic sampling, Mitchell et al. 2022, section 4.1) makes it exact wherever
    no more than two features interact.

    Args:
        row: the row explained, shape ``(features,)``.
        background: rows that stand for features not yet taken, shape ``(rows, features)``.
        order: a permutation of the features' places.
    """
    n_features = len(order)
    place = np.argsort(np.asarray(order))
    n_taken = np.arange(n_features + 1)[:, None]
    is_taken = np.concatenate([place < n_taken, place >= n_features - n_taken[1:-1]])
    means = _mean_probabilities(predict, row, background, is_taken)
    forward, between = means[: n_features + 1], means[n_features + 1 :]
    backward = np.concatenate([forward[:1], between, forward[-1:]])
    in_order = (np.diff(forward) + np.diff(backward)[::-1]) / 2.0
    return Attribution(float(means[0]), in_order[place], len(background))


def _mean_probabilities(
    predict: Predict, row: Matrix, background: Matrix, is_taken: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Mean over the background of the probability with the row's values where taken; one call of the model."""
    mixed = np.where(is_taken[:, None, :], row, background)
    probabilities = np.asarray(predict(mixed.reshape(-1, mixed.shape[-1])), dtype=np.float64)
    means: npt.NDArray[np.float64] = probabilities.reshape(len(is_taken), len(background)).mean(axis=1)
    return means


def mean_attribution(parts: Sequence[Attribution]) -> Attribution:
    """Mean of attributions of one row, each weighing as many background rows as it was made with."""
    weights = [part.n_background for part in parts]
    contributions = np.average([part.contributions for part in parts], axis=0, weights=weights)
    return Attribution(float(np.average([part.base for part in parts], weights=weights)), contributions, sum(weights))


def largest(contributions: Sequence[float], top: int) -> tuple[list[int], float]:
    """Places of the ``top`` contributions by size, the largest first, and the sum of all others.

    >>> largest([0.1, -0.3, 0.0, 0.2], 2)
    ([1, 3], 0.1)
    """
    places = sorted(range(len(contributions)), key=lambda place: -abs(contributions[place]))
    return places[:top], float(sum(contributions[place] for place in places[top:]))
