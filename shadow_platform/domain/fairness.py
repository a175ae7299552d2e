"""Fairness stage: what a model decides about groups of people, side by side.

Belongs here: groups, their rates with intervals, the ratio to the best group, and what labels say of each. Does not
belong here: which groups to compare (``FairnessPolicy``), which labels are hidden (domain.censoring). Upstream: answers
with the features they rest on. Downstream: ``fairness_groups``.

A flag says that decisions differ, not why: groups may differ in what is predicted. It blocks nothing; people judge.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.contracts.use_case import FairnessAttribute, FairnessPolicy

CLIP = (0.01, 0.99)
CONFIDENCE = 0.95
MISSING = "missing"


def group_names(edges: Sequence[float]) -> list[str]:
    """Names of the groups between ascending edges, lowest first.

    >>> group_names((25, 40))
    ['<25', '25-40', '>=40']
    """
    if not edges:
        return []
    between = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    return [f"<{edges[0]:g}", *between, f">={edges[-1]:g}"]


def groups_of(values: pd.Series, edges: Sequence[float]) -> pd.Series:
    """Group of each value: its level, or the interval between ``edges`` it lies in, the lower edge included.

    A level that is called as the group without a value is quoted, so that the two never merge.

    >>> groups_of(pd.Series([24.9, 25.0, 40.0, None]), (25, 40)).tolist()
    ['<25', '25-40', '>=40', 'missing']
    """
    if not edges:
        return values.map(lambda value: MISSING if pd.isna(value) else _level(str(value))).astype(str)
    bounds = [-np.inf, *edges, np.inf]
    cut = pd.cut(pd.to_numeric(values), bounds, right=False, labels=group_names(edges))
    return cut.astype(object).where(cut.notna(), MISSING).astype(str)


def _level(text: str) -> str:
    return f"'{text}'" if text.strip("'") == MISSING else text


def compare_groups(answers: pd.DataFrame, policy: FairnessPolicy) -> pd.DataFrame:
    """One model's decisions by attribute and group, in order of the attributes; groups from low to high.

    Args:
        answers: ``prediction, probability``, the attributes' features, and of its request ``label`` (null: not matured
            or not known), ``label_propensity`` (null: not matured) and ``is_hidden``.

    Returns:
        Columns ``attribute, group_name`` and those of ``fairness_groups`` that are measured. Label columns are weighted
        by inverse propensities; ``equal_opportunity`` is null where some label of the group could never be seen,
        because the favourable decisions are then those whose labels are.
    """
    parts = [_by_attribute(answers, attribute, policy) for attribute in policy.attributes]
    return pd.concat(parts, ignore_index=True)


def _by_attribute(answers: pd.DataFrame, attribute: FairnessAttribute, policy: FairnessPolicy) -> pd.DataFrame:
    groups = groups_of(answers[attribute.feature], attribute.edges)
    order = [*(group_names(attribute.edges) or sorted(set(groups) - {MISSING})), MISSING]
    rows = pd.DataFrame(
        [
            {"attribute": attribute.name, "group_name": name, **_measure(answers[groups == name], policy)}
            for name in order
            if groups.eq(name).any()
        ]
    )
    return rows if rows.empty else rows.assign(**_against_the_best(rows, policy))


def _measure(group: pd.DataFrame, policy: FairnessPolicy) -> dict[str, Any]:
    favourable = group["prediction"].eq(policy.favourable_prediction)
    low, high = wilson_interval(int(favourable.sum()), len(group))
    labelled = group[group["label"].notna()]
    counts = {"n": len(group), "n_labelled": len(labelled), "favourable_rate": float(favourable.mean())}
    return {
        **counts,
        "favourable_rate_low": low,
        "favourable_rate_high": high,
        **_on_labels(labelled, favourable[labelled.index], policy, bool(group["label_propensity"].eq(0).any())),
    }


def _on_labels(
    labelled: pd.DataFrame, favourable: pd.Series, policy: FairnessPolicy, has_lost: bool
) -> dict[str, float | None]:
    names = ("equal_opportunity", "base_rate", "mean_probability", "log_loss")
    if labelled.empty:
        return dict.fromkeys(names)
    propensity = labelled["label_propensity"].to_numpy(np.float64)
    weight = 1.0 / np.where(propensity > 0, propensity, 1.0)
    label = labelled["label"].to_numpy(bool)
    probability = labelled["probability"].to_numpy(np.float64)
    clipped = np.clip(probability, *CLIP)
    deserving = label == policy.favourable_prediction
    opportunity = None
    if deserving.any() and not has_lost:
        opportunity = float(np.average(favourable.to_numpy(bool)[deserving], weights=weight[deserving]))
    values = (
        opportunity,
        float(np.average(label, weights=weight)),
        float(np.average(probability, weights=weight)),
        float(np.average(-np.log(np.where(label, clipped, 1 - clipped)), weights=weight)),
    )
    return dict(zip(names, values, strict=True))


def _against_the_best(rows: pd.DataFrame, policy: FairnessPolicy) -> dict[str, NDArray[Any]]:
    """Ratio of each group's favourable rate to the highest one among groups that are large enough, and its flag."""
    is_large = rows["n"] >= policy.min_rows
    best = rows.loc[is_large, "favourable_rate"].max()
    if not best > 0:
        return {name: np.full(len(rows), None, dtype=object) for name in ("favourable_ratio", "is_flagged")}
    ratio = rows["favourable_rate"] / best
    flagged = [bool(r < policy.min_ratio) if large else None for r, large in zip(ratio, is_large, strict=True)]
    return {"favourable_ratio": ratio.to_numpy(object), "is_flagged": np.array(flagged, dtype=object)}


def wilson_interval(k: int, n: int) -> tuple[float, float]:
    """95 % confidence interval of a share, ``k`` of ``n`` (Wilson 1927); (0, 1) without rows.

    >>> [round(bound, 3) for bound in wilson_interval(0, 10)]
    [0.0, 0.278]
    """
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(k, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)
