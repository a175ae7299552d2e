"""Counts of feature values that say whether they are whole; counts of two parts of a day add up.

Belongs here: what counts as missing, foreign, outside, and as a view without a row. Does not belong here: how many are
too many. Upstream: feature values as served, or as the champion's reference holds them. Downstream: ``requests``.

Serving never uses a row of a feature view that is older than the view's TTL: its features are then all null, at once.
So a view without a row is counted as such, and its features' nulls are counted only where it had one: one cause is
told once. Likewise a derived feature's nulls are counted only where all it is derived from had a value.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.use_case import Derivation, Feature

Mask = NDArray[np.bool_]
_OWN_TYPES: dict[str, tuple[type, ...]] = {"numeric": (float, int), "categorical": (str,)}
MAX_EXAMPLE = 40


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """Values of one feature.

    Attributes:
        n: requests, without those that its view had no row for, or that lack a value it is derived from.
        n_null: those without a value.
        n_foreign: those whose value is not of the feature's kind; all, where no request names the feature.
        n_outside: those whose number lies outside the declared range.
        levels: those with each level; empty for a numeric feature.
        example: a foreign value, as text; empty when there is none.
    """

    n: int
    n_null: int
    n_foreign: int
    n_outside: int
    levels: Counter[str] = field(default_factory=Counter)
    example: str = ""

    @property
    def n_valid(self) -> int:
        """Requests with a value of the feature's kind."""
        return self.n - self.n_null - self.n_foreign

    def __add__(self, other: "FeatureCounts") -> "FeatureCounts":
        return FeatureCounts(
            self.n + other.n,
            self.n_null + other.n_null,
            self.n_foreign + other.n_foreign,
            self.n_outside + other.n_outside,
            self.levels + other.levels,
            self.example or other.example,
        )


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Some requests.

    Attributes:
        without_row: requests that each view had no row for.
    """

    n: int
    features: Mapping[str, FeatureCounts]
    without_row: Mapping[str, int]

    def __add__(self, other: "RequestCounts") -> "RequestCounts":
        return RequestCounts(
            self.n + other.n,
            {name: counts + other.features[name] for name, counts in self.features.items()},
            {view: n + other.without_row[view] for view, n in self.without_row.items()},
        )


def count_frame(
    frame: pd.DataFrame, features: Sequence[Feature], derivations: Sequence[Derivation] = ()
) -> RequestCounts:
    """Counts of requests with one column a feature; one that the frame lacks is foreign in every row."""
    read = {feature.name: _Column.read(frame, feature) for feature in features}
    without: dict[str, Mask] = {}
    for view in sorted({feature.view for feature in features if feature.view is not None}):
        own = [read[feature.name] for feature in features if feature.view == view]
        is_empty = np.logical_and.reduce([column.is_null | column.is_absent for column in own])
        without[view] = is_empty & np.logical_or.reduce([column.is_null for column in own])
    lacking = {d.name: np.logical_or.reduce([read[name].is_null for name in d.inputs]) for d in derivations}
    excused, nobody = without | lacking, np.zeros(len(frame), dtype=bool)
    return RequestCounts(
        len(frame),
        {f.name: read[f.name].counts(~excused.get(f.view or f.derivation or "", nobody)) for f in features},
        {view: int(mask.sum()) for view, mask in without.items()},
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """The values of one feature, and what is wrong with each."""

    values: "pd.Series[Any]"
    is_categorical: bool
    is_absent: bool
    is_null: Mask
    is_foreign: Mask
    is_outside: Mask

    @classmethod
    def read(cls, frame: pd.DataFrame, feature: Feature) -> "_Column":
        nothing = np.zeros(len(frame), dtype=bool)
        is_categorical = feature.kind == "categorical"
        if feature.name not in frame.columns:
            nobody = pd.Series(None, index=frame.index, dtype=object)
            return cls(nobody, is_categorical, True, nothing, ~nothing, nothing)
        values = frame[feature.name]
        is_null = values.isna().to_numpy()
        is_foreign = _is_foreign(values, _OWN_TYPES[feature.kind]) & ~is_null
        is_outside = nothing
        if not is_categorical:
            numbers = values.mask(is_foreign).to_numpy(np.float64, na_value=np.nan)
            low = -np.inf if feature.low is None else feature.low
            high = np.inf if feature.high is None else feature.high
            is_outside = (numbers < low) | (numbers > high)
        return cls(values, is_categorical, False, is_null, is_foreign, is_outside)

    def counts(self, among: Mask) -> FeatureCounts:
        """Counts among some of the requests."""
        is_own = among & ~self.is_null & ~self.is_foreign
        levels = self.values[is_own].value_counts().to_dict() if self.is_categorical else {}
        foreign = self.values[self.is_foreign & among] if not self.is_absent else ()
        return FeatureCounts(
            n=int(among.sum()),
            n_null=int((self.is_null & among).sum()),
            n_foreign=int((self.is_foreign & among).sum()),
            n_outside=int((self.is_outside & among).sum()),
            levels=Counter({str(level): int(n) for level, n in levels.items() if n}),
            example=repr(next(iter(foreign)))[:MAX_EXAMPLE] if len(foreign) else "",
        )


def _is_foreign(values: "pd.Series[Any]", own: tuple[type, ...]) -> Mask:
    """Where a value is of another type; columns of numbers are not looked at one by one."""
    if values.dtype.kind in "fiu" and float in own:
        return np.zeros(len(values), dtype=bool)
    listed = values.tolist()
    if set(map(type, listed)) <= {*own, type(None)}:
        return np.zeros(len(values), dtype=bool)
    return np.fromiter((type(value) not in own for value in listed), bool, len(listed))
