"""Where a shift of the model's mean score comes from: which features moved it.

Belongs here: sampled Shapley values of two samples over one background. Does not belong here: splitting the shift by
levels (``segments``), whether the shift is more than chance (``verdict``); this describes the rows there are. The
method is that of ``domain.explanation``, over many rows at once. Pure: the model is a function, the seed an argument.
Upstream: encoded rows, the champion's scoring. Downstream: verdict, ``drift_segments``, pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import ScoreShift
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.segments import moved_in, segment_features, segment_shifts

Matrix = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
Predict = Callable[[Matrix], npt.NDArray[Any]]
"""Probabilities of shape ``(rows,)`` of a float32 matrix of shape ``(rows, features)``."""

MAX_ROWS = 1_500
MAX_CELLS = 100_000_000
CELLS_A_CALL = 2_000_000
NOISE = 4.0
LEADING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Contributions:
    """Each feature's part of the change of the mean score of two samples of equal size, shape (features,).

    Attributes:
        error: standard errors of the parts, over pairs of rows.
    """

    parts: Array
    error: Array


def score_shift(
    predict: Predict,
    reference_matrix: Matrix,
    current_matrix: Matrix,
    background: Matrix,
    feature_names: Sequence[str],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    features: Sequence[Feature],
    policy: DriftPolicy,
    seed: int,
) -> ScoreShift:
    """Where the shift of the mean score comes from, by feature and by level.

    Args:
        reference_matrix, current_matrix: the frames' rows as the model sees them, shape ``(rows, features)``.
        background: rows that stand for features not yet taken.
        feature_names: names of the matrices' columns.
        reference, current: rows with ``score``, none of them null; features as known.
    """
    before, after = (frame["score"].to_numpy(np.float64) for frame in (reference, current))
    n_rows = _n_rows(len(before), len(after), len(feature_names))
    places = _spread(before, n_rows), _spread(after, n_rows)
    found = contributions(predict, reference_matrix[places[0]], current_matrix[places[1]], background, seed)
    leading = _leading(found, feature_names)
    chosen = segment_features(features, reference, current, policy)
    return ScoreShift(
        mean_reference=float(before.mean()),
        mean_current=float(after.mean()),
        by_feature=dict(zip(feature_names, found.parts.tolist(), strict=True)),
        by_feature_error=dict(zip(feature_names, found.error.tolist(), strict=True)),
        leading=leading,
        segments=segment_shifts(chosen, reference, current),
        moved_in=moved_in(leading, features, chosen, reference, current),
    )


def contributions(predict: Predict, reference: Matrix, current: Matrix, background: Matrix, seed: int) -> Contributions:
    """Shapley values of the current rows less those of the reference rows, averaged; both have as many rows.

    A pair of rows, one of each sample, meets the same background row and the same random order of the features and
    its reverse (antithetic sampling, Mitchell et al. 2022, section 4.1). So what background and order do by chance
    cancels, and the parts sum exactly to the change of the mean score of these rows. One order a pair, because more
    pairs lower the error further than more orders do.
    """
    rng = np.random.default_rng(seed)
    n_rows, n_features = current.shape
    place = rng.permuted(np.tile(np.arange(n_features), (n_rows, 1)), axis=1)
    base = background[rng.integers(0, len(background), n_rows)]
    each = _along(predict, current, base, place) - _along(predict, reference, base, place)
    error = each.std(axis=0, ddof=1) / np.sqrt(n_rows) if n_rows > 1 else np.full(n_features, np.inf)
    return Contributions(each.mean(axis=0), error)


def _along(predict: Predict, rows: Matrix, base: Matrix, place: npt.NDArray[np.int64]) -> Array:
    """Contributions of every row, each along its own order of features and its reverse, shape of ``rows``."""
    n_rows, n_features = rows.shape
    found = np.empty((n_rows, n_features))
    n_taken = np.arange(n_features + 1)[None, :, None]
    step = max(1, CELLS_A_CALL // (2 * (n_features + 1) * n_features))
    for first in range(0, n_rows, step):
        part = slice(first, first + step)
        at = place[part, None, :]
        is_taken = np.concatenate([at < n_taken, at >= n_features - n_taken], axis=1)
        mixed = np.where(is_taken, rows[part, None, :], base[part, None, :]).reshape(-1, n_features)
        answers = np.asarray(predict(mixed), dtype=np.float64).reshape(-1, 2, n_features + 1)
        steps = np.diff(answers, axis=2)
        in_order = (steps[:, 0] + steps[:, 1, ::-1]) / 2.0
        found[part] = np.take_along_axis(in_order, place[part], axis=1)
    return found


def _n_rows(n_reference: int, n_current: int, n_features: int) -> int:
    """Rows of each sample that the time for one verdict allows."""
    affordable = MAX_CELLS // (4 * (n_features + 1) * n_features)
    return max(2, min(MAX_ROWS, n_reference, n_current, affordable))


def _spread(scores: Array, n_rows: int) -> npt.NDArray[np.int64]:
    """Rows at evenly spread ranks of the score, whose mean is close to that of all rows; at most as many as there are.

    >>> _spread(np.array([0.3, 0.1, 0.2, 0.4]), 2).tolist()
    [2, 3]
    """
    order = np.argsort(scores, kind="stable")
    spread: npt.NDArray[np.int64] = order[((np.arange(n_rows) + 0.5) * len(scores) / n_rows).astype(np.int64)]
    return spread


def _leading(found: Contributions, names: Sequence[str]) -> tuple[str, ...]:
    size = np.abs(found.parts)
    counts = (size > NOISE * found.error) & (size >= LEADING_SHARE * size.max(initial=0.0))
    return tuple(names[i] for i in np.argsort(-size, kind="stable") if counts[i])
