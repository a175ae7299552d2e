"""In which part of the requests a shift happened: the levels of categorical features as segments.

Belongs here: splitting the shift of the mean score by level, exactly, and naming the level in which a feature moved.
Does not belong here: which feature moved the score (``attribution``), whether anything moved by more than chance
(``verdict``). Upstream: rows with scores. Downstream: ``attribution``, ``drift_segments``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import SegmentShift
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.columns import as_levels, as_numbers

Array = npt.NDArray[np.float64]
Samples = tuple["pd.Series[Any]", "pd.Series[Any]"]

MAX_LEVELS = 20
NO_LEVEL = ""
EMPTY_TEXT = "''"
MAX_NAMED = 3
NOISE = 4.0
MIN_EXCESS = 0.5
MIN_MOVEMENT = 0.01


def segment_features(
    features: Sequence[Feature], reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy
) -> dict[str, Samples]:
    """Categorical features that make the segments, with their levels in both samples.

    Null is ``""``, and an empty text, which is a level like any other, ``"''"``.
    """
    chosen: dict[str, Samples] = {}
    for feature in features:
        is_asked = policy.segments is None or feature.name in policy.segments
        if feature.kind != "categorical" or not is_asked or not _in_both(feature.name, reference, current):
            continue
        before, after = (_named(as_levels(frame[feature.name])) for frame in (reference, current))
        if policy.segments is not None or len({*before.unique(), *after.unique()}) <= MAX_LEVELS:
            chosen[feature.name] = before, after
    return chosen


def _named(levels: "pd.Series[Any]") -> "pd.Series[Any]":
    return levels.mask(levels == "", EMPTY_TEXT).fillna(NO_LEVEL)


def segment_shifts(
    chosen: Mapping[str, Samples], reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[SegmentShift, ...]:
    """Every level of every segment feature with its part of the shift of the mean score.

    A level's part is what its mean score changed, at its mean share, and what its share changed, at the distance of
    its mean score from the overall one (Kitagawa 1955); the parts of one feature's levels sum exactly to the shift.
    """
    scores = reference["score"].to_numpy(np.float64), current["score"].to_numpy(np.float64)
    overall = (scores[0].mean() + scores[1].mean()) / 2
    found = []
    for name, levels in chosen.items():
        before, after = (_by_level(level, score) for level, score in zip(levels, scores, strict=True))
        rows = before.join(after, lsuffix="_reference", rsuffix="_current", how="outer").sort_index()
        p, q = rows["share_reference"].fillna(0.0), rows["share_current"].fillna(0.0)
        was = rows["score_reference"].fillna(rows["score_current"])
        is_now = rows["score_current"].fillna(rows["score_reference"])
        part = (q - p) * ((was + is_now) / 2 - overall) + (p + q) / 2 * (is_now - was)
        rows = rows.assign(share_reference=p, share_current=q, contribution=part).replace({np.nan: None})
        found += [
            SegmentShift.model_validate({"feature": name, "level": level, **row})
            for level, row in rows.to_dict("index").items()
        ]
    return tuple(found)


def _by_level(levels: "pd.Series[Any]", scores: Array) -> pd.DataFrame:
    """``share`` of the rows and mean ``score`` of every level."""
    grouped = pd.Series(scores).groupby(levels.to_numpy())
    return pd.DataFrame({"share": grouped.size() / len(scores), "score": grouped.mean()})


@dataclass(frozen=True, slots=True)
class _Place:
    """A segment in which a feature may have moved; ``excess``: its part of the movement beyond its part of rows."""

    name: str
    excess: float


def moved_in(
    names: Sequence[str],
    features: Sequence[Feature],
    chosen: Mapping[str, Samples],
    reference: pd.DataFrame,
    current: pd.DataFrame,
) -> dict[str, str]:
    """Of the first few features named, the one level that holds most of the feature's own movement; else nothing.

    Movement is the change of the mean of its ranks in the reference; of levels, of their mean scores there. A level is
    named when it holds more than half of what is beyond its share of rows, and moved unlike the rest by more than
    chance would do to independent rows.
    """
    kinds = {feature.name: feature.kind for feature in features}
    found = {}
    for name in [name for name in names if name in kinds and _in_both(name, reference, current)][:MAX_NAMED]:
        ranks = _positions(name, kinds[name], reference, current)
        places = [place for other in chosen if other != name for place in _places(other, chosen[other], ranks)]
        best = max(places, key=lambda place: place.excess, default=None)
        if best is not None:
            found[name] = best.name
    return found


def _in_both(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    return name in reference.columns and name in current.columns


def _positions(name: str, kind: str, reference: pd.DataFrame, current: pd.DataFrame) -> tuple[Array, Array]:
    """Each row's place between 0 and 1 in the reference, NaN where null."""
    if kind == "categorical":
        before, after = as_levels(reference[name]), as_levels(current[name])
        means = reference["score"].groupby(before.to_numpy()).mean().rank(pct=True)
        return _placed(before, means), _placed(after, means)
    numbers = as_numbers(reference[name])[0], as_numbers(current[name])[0]
    ordered = np.sort(numbers[0][~np.isnan(numbers[0])])
    return _midranks(numbers[0], ordered), _midranks(numbers[1], ordered)


def _placed(levels: "pd.Series[Any]", means: "pd.Series[float]") -> Array:
    return np.asarray(levels.map(means), dtype=np.float64)


def _midranks(values: Array, ordered: Array) -> Array:
    below, until = (np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right"))
    ranks: Array = np.where(np.isnan(values), np.nan, (below + until) / (2 * max(len(ordered), 1)))
    return ranks


def _places(feature: str, levels: Samples, ranks: tuple[Array, Array]) -> list[_Place]:
    """Levels of one feature that hold clearly more of the movement than of the rows."""
    known = [~np.isnan(values) for values in ranks]
    before, after = (
        pd.Series(values[is_known]).groupby(level.to_numpy()[is_known]).agg(["size", "mean", "var"])
        for values, level, is_known in zip(ranks, levels, known, strict=True)
    )
    both = before.join(after, lsuffix="_before", rsuffix="_after", how="inner")
    both = both[(both["size_before"] > 1) & (both["size_after"] > 1)]
    share = both["size_after"] / both["size_after"].sum()
    change = both["mean_after"] - both["mean_before"]
    variance = both["var_before"] / both["size_before"] + both["var_after"] / both["size_after"]
    movement = share * change
    total, found = float(movement.sum()), []
    for level in both.index:
        rest = 1 - share[level]
        if rest <= 0 or abs(total) < MIN_MOVEMENT:
            continue
        excess = (movement[level] / total - share[level]) / rest
        elsewhere = (total - movement[level]) / rest
        others = float((share**2 * variance).sum() - share[level] ** 2 * variance[level]) / rest**2
        noise = NOISE * np.sqrt(variance[level] + others)
        if excess > MIN_EXCESS and abs(change[level] - elsewhere) > noise:
            found.append(_Place(f"{feature}={level}", float(min(excess, 1.0) * abs(change[level] - elsewhere))))
    return found
