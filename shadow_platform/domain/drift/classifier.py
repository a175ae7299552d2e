"""Rule 7, where a policy asks for it: whether a model tells rows of the window from rows of the reference.

It sees what no test of single columns does, how features go together. It needs rows, so profiles have no such rule.
Belongs here: fitting and its test. Does not belong here: deciding (rules). Upstream: frames in canonical order.
Downstream: verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.clusters import Array, Codes, DaySums, day_effect
from shadow_platform.domain.drift.columns import as_numbers, level_codes

MAX_ROWS = 20_000
N_FOLDS = 5
MAX_BINS = 64
MAX_LEVELS = 200


@dataclass(frozen=True, slots=True)
class Separation:
    """How well window and reference are told apart on rows the model has not seen.

    Attributes:
        p_value: one-sided, of an area of one half, rows of a day counted by their design effect.
    """

    auc: float
    p_value: float


def separation(
    features: Sequence[Feature], reference: pd.DataFrame, current: pd.DataFrame, *, is_clustered: bool
) -> Separation | None:
    """Cross-validated area under the ROC curve of gradient-boosted trees.

    ``None`` with fewer than two days in a sample, or when the rows have none of the features. Folds never share a day:
    rows of one day are alike, so a model that has seen a day would know its others by it.
    """
    samples = [_spread(frame) for frame in (reference, current)]
    days = [_days(sample, is_clustered) for sample in samples]
    n_folds = min(N_FOLDS, *(len(np.unique(own)) for own in days))
    if n_folds < 2:
        return None
    folds = np.concatenate([_folds(own, n_folds) for own in days])
    rows = pd.concat(samples, ignore_index=True)
    columns = [_column(rows, feature) for feature in features if feature.name in rows.columns]
    if not columns:
        return None
    is_current = np.repeat([False, True], [len(sample) for sample in samples])
    scores = _unseen_scores(np.column_stack(columns), is_current, folds, n_folds)
    return _tested(scores[~is_current], scores[is_current], days if is_clustered else None)


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    """At most 20,000 rows; those of a frame in canonical order are in no order that means anything."""
    return frame if len(frame) <= MAX_ROWS else frame.iloc[:MAX_ROWS]


def _days(frame: pd.DataFrame, is_clustered: bool) -> Codes:
    """Number of each row's calendar day; every row its own where rows are independent."""
    if not is_clustered:
        return np.arange(len(frame), dtype=np.int64)
    times = pd.to_datetime(frame["requested_at"], utc=True).dt.tz_convert(None).to_numpy()
    return times.astype("datetime64[D]").astype(np.int64)


def _folds(days: Codes, n_folds: int) -> Codes:
    """Fold of each row: neighbouring days in turn, so that every fold spans the whole time."""
    return np.unique(days, return_inverse=True)[1].astype(np.int64) % n_folds


def _column(rows: pd.DataFrame, feature: Feature) -> Array:
    if feature.kind == "numeric":
        return as_numbers(rows[feature.name])[0]
    codes, _ = level_codes(rows[feature.name])
    frequent = np.argsort(-np.bincount(codes[codes >= 0], minlength=1), kind="stable")[:MAX_LEVELS]
    order = np.full(int(codes.max(initial=0)) + 1, np.nan)
    order[frequent] = np.arange(len(frequent))
    ranked: Array = np.where(codes < 0, np.nan, order[np.maximum(codes, 0)])
    return ranked


def _unseen_scores(values: Array, is_current: npt.NDArray[np.bool_], folds: Codes, n_folds: int) -> Array:
    scores = np.empty(len(values))
    for fold in range(n_folds):
        held = folds == fold
        model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, min_samples_leaf=50, max_bins=MAX_BINS, random_state=0
        )
        model.fit(values[~held], is_current[~held])
        scores[held] = model.predict_proba(values[held])[:, 1]
    return scores


def _tested(reference: Array, current: Array, days: Sequence[Codes] | None) -> Separation:
    """Area and its p-value by the variance of placements (DeLong et al. 1988), each day a cluster of them."""
    placements = [_share_below(reference, current), 1 - _share_below(current, reference)]
    auc = float(placements[0].mean())
    samples = [placements[1], placements[0]]
    variances, df = [float(own.var(ddof=1)) / len(own) for own in samples], np.inf
    if days is not None:
        effect = day_effect([_sums(own, codes) for own, codes in zip(samples, days, strict=True)])
        size = effect.size()
        worth = float(size.reference[0]), float(size.current[0])
        variances = [float(own.var(ddof=1)) / n for own, n in zip(samples, worth, strict=True)]
        df = float(size.df[0])
    z = (auc - 0.5) / np.sqrt(max(sum(variances), 1e-300))
    return Separation(auc, float(stats.norm.sf(z) if np.isinf(df) else stats.t.sf(z, df)))


def _share_below(values: Array, points: Array) -> Array:
    """Share of values below each point, ties counted half."""
    ordered = np.sort(values)
    low, high = (np.searchsorted(ordered, points, side=side) for side in ("left", "right"))
    shares: Array = (low + high) / (2 * len(values))
    return shares


def _sums(values: Array, days: Codes) -> DaySums:
    own, places = np.unique(days, return_inverse=True)
    sizes = np.bincount(places).astype(np.float64)
    centred = values - values.mean()
    sums = np.bincount(places, centred).astype(np.float64)
    return DaySums(own, sizes, sums[:, None], np.array([(centred**2).sum()]))
