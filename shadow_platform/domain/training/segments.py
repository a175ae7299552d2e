"""How good a model is for whom: metrics of groups of evaluation rows.

Belongs here: forming groups that are large enough to judge, and measuring each. Does not belong here: which features
make groups and where numeric ones are cut (the caller gives ready columns), the metrics themselves (``metrics``).
Upstream: judged rows and their group columns. Downstream: ``model_metrics``, the model card, plots.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.model_card import SegmentMetrics
from shadow_platform.contracts.use_case import TrainingPolicy
from shadow_platform.domain.training.metrics import estimates

MIN_ROWS_OF_A_LEVEL = 100
OTHER, MISSING = "other", "missing"

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def segment_metrics(
    labels: Labels,
    probabilities: Floats,
    threshold: float,
    frame_rows: pd.DataFrame,
    segment_features: Sequence[str],
    days: npt.ArrayLike,
    policy: TrainingPolicy,
    seed: int,
) -> tuple[SegmentMetrics, ...]:
    """Metrics of all rows, then of each group of each feature, groups by name; a feature's groups hold every row once.

    Args:
        frame_rows: the judged rows, row by row as ``labels``, with a column of levels (strings or null) for each of
            ``segment_features``.
        days: day of each row.
        policy: its ``n_resamples`` and ``confidence`` make the intervals.
    """
    day, _ = pd.factorize(np.asarray(days))

    def measured(feature: str | None, level: str | None, rows: Labels) -> SegmentMetrics:
        found = estimates(
            labels[rows], probabilities[rows], threshold, day[rows], policy.n_resamples, policy.confidence, seed
        )
        n, n_positive = int(rows.sum()), int(labels[rows].sum())
        return SegmentMetrics(feature=feature, level=level, n=n, n_positive=n_positive, metrics=found)

    result = [measured(None, None, np.ones(len(labels), dtype=bool))]
    for feature in dict.fromkeys(segment_features):
        groups = group_rows(frame_rows[feature])
        result += [measured(feature, name, groups == name) for name in sorted(set(groups))]
    return tuple(result)


def group_rows(levels: pd.Series) -> npt.NDArray[np.object_]:
    """Group of each row: its level, ``other`` where that has fewer than 100 rows, ``missing`` where it is null.

    Where a level itself is called so, the group's name stands in brackets.

    >>> group_rows(pd.Series(["a"] * 100 + ["b", "missing", None]))[[0, 100, 101, 102]].tolist()
    ['a', 'other', 'other', '(missing)']
    """
    values = levels.astype(object)
    counts = values.value_counts()
    other, missing = _free_name(OTHER, counts.index), _free_name(MISSING, counts.index)
    is_rare = values.map(counts).lt(MIN_ROWS_OF_A_LEVEL).to_numpy(dtype=bool)
    groups = values.mask(is_rare, other).where(values.notna(), missing)
    return groups.astype(str).to_numpy(dtype=object)


def _free_name(name: str, levels: Collection[str]) -> str:
    while name in levels:
        name = f"({name})"
    return name
