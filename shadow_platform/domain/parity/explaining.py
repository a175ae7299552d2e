"""Gives every served value that differs exactly one cause, the first for which there is evidence.

Belongs here: the order of the causes and what counts as evidence of each. Does not belong here: what a cause asks for
(``causes``). Upstream: served values, the join's values, rows and materializations. Downstream: ``counting``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shadow_platform.contracts.use_case import Derivation, Feature, FeatureView, UseCase
from shadow_platform.domain.parity.causes import NOT_COMPARED, Cause, code
from shadow_platform.domain.parity.partitions import Making, Partitions
from shadow_platform.domain.parity.rows import NOWHERE, Places, ViewRows
from shadow_platform.domain.parity.served import ServedRequests
from shadow_platform.domain.parity.shifts import common_shift, equals_row
from shadow_platform.domain.parity.suspects import differing
from shadow_platform.domain.parity.values import Mask, as_values, differs, is_null, rounding

STREAM_DELAY = timedelta(seconds=5)
"""A streamed row is online within a second; a consumer that takes over from another needs some more."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an explanation of one view may draw on.

    Attributes:
        rows: of the suspected entities, with ``event_at`` and ``created_at``, as the lake holds them now.
        made: ``day, made_at, code_version`` of the materializations of their partitions.
    """

    rows: pd.DataFrame
    made: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["day", "made_at", "code_version"]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature, request by request.

    Attributes:
        source: feature view or derivation it comes from.
        causes: place in ``CAUSES`` of each request's cause; ``NOT_COMPARED`` where the request brought the value.
        differences: absolute difference of numbers; NaN where there are none.
    """

    feature: str
    source: str
    causes: NDArray[np.int8]
    differences: NDArray[np.float64]


def compare(
    use_case: UseCase, served: ServedRequests, offline: pd.DataFrame, evidence: Mapping[str, Evidence]
) -> list[Comparison]:
    """Every feature of views and derivations, with the cause of each of its values.

    Args:
        offline: what the point-in-time join gives for ``served.asked``, a column a view feature.
        evidence: of every view with a suspected entity.
    """
    found: list[Comparison] = []
    for view in use_case.views:
        found += _compare_view(use_case, view, served, offline, evidence.get(view.name))
    for derivation in use_case.derivations:
        found += _compare_derived(use_case.derived_features(derivation.name), derivation, served)
    return found


def _compare_view(
    use_case: UseCase, view: FeatureView, served: ServedRequests, offline: pd.DataFrame, evidence: Evidence | None
) -> list[Comparison]:
    differences = differing(use_case, view, served, offline)
    is_suspect = np.any(list(differences.values()), axis=0) if differences else np.zeros(len(served), dtype=bool)
    explanation = None
    if evidence is not None and is_suspect.any():
        explanation = _Explanation(view, use_case.view_features(view.name), served, offline, is_suspect, evidence)
    found = []
    for feature in use_case.view_features(view.name):
        causes = np.where(served.overridden[feature.name], NOT_COMPARED, code(Cause.SAME)).astype(np.int8)
        is_different = differences[feature.name]
        causes[is_different] = code(Cause.UNEXPLAINED)
        if explanation is not None:
            causes[is_suspect] = np.where(is_different[is_suspect], explanation.causes(feature), causes[is_suspect])
        known = as_values(offline[feature.name].to_numpy(), feature.kind)
        found.append(Comparison(feature.name, view.name, causes, _distance(served.values[feature.name], known)))
    return found


def _compare_derived(features: tuple[Feature, ...], derivation: Derivation, served: ServedRequests) -> list[Comparison]:
    """Derived again from the inputs that were served: differing inputs are told of the inputs."""
    derived = [derivation.derive(features, record)[0] for record in served.records]
    found = []
    for feature in features:
        known = as_values([values[feature.name] for values in derived], feature.kind)
        values = served.values[feature.name]
        causes = np.where(differs(values, known), code(Cause.DERIVED_DIFFERS), code(Cause.SAME)).astype(np.int8)
        found.append(Comparison(feature.name, derivation.name, causes, _distance(values, known)))
    return found


def _distance(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    return np.abs(left - right) if left.dtype != object else np.full(len(left), np.nan)


class _Explanation:
    """The suspected requests of one view, with everything that their causes are decided by."""

    def __init__(
        self,
        view: FeatureView,
        features: tuple[Feature, ...],
        served: ServedRequests,
        offline: pd.DataFrame,
        is_suspect: Mask,
        evidence: Evidence,
    ) -> None:
        floors = {f.name: rounding(served.values[f.name], as_values(offline[f.name], f.kind)) for f in features}
        self._rows = rows = ViewRows(view, features, evidence.rows, floors)
        self._features = {feature.name: feature for feature in features}
        asked = served.asked[is_suspect].reset_index(drop=True)
        self._keys, self._asked, logged_at = asked[view.entity], asked["requested_at"], asked["logged_at"]
        self._served = {name: served.values[name][is_suspect] for name in self._features}
        self._offline = {
            name: as_values(offline[name].to_numpy()[is_suspect], feature.kind)
            for name, feature in self._features.items()
        }
        self._compared = {name: ~served.overridden[name][is_suspect] for name in self._features}
        self._read_at = read_at = served.read_at.loc[is_suspect, view.name].reset_index(drop=True)
        self._is_read = read_at.notna().to_numpy()
        self._has_times = served.has_times[is_suspect]
        self._is_old = (self._asked - read_at > view.ttl).to_numpy()
        self._own: Places = rows.at(self._keys, read_at)
        self._newest: Places = rows.newest(self._keys, self._asked)
        delay = STREAM_DELAY if view.streaming else view.refresh
        self._due: Places = rows.newest(self._keys, self._asked - delay)
        self._due_at = rows.event_at(self._due)
        self._due[(self._asked - self._due_at > view.ttl).to_numpy()] = NOWHERE
        partitions = Partitions(evidence.made)
        self._own_made: Making = partitions.of(read_at, logged_at)
        self._was_corrected = self._own_made.is_late | self._own_made.is_corrected
        self._due_made: Making = partitions.of(self._due_at, logged_at)
        self._shift = self._find_shift()
        self._is_behind = self._find_behind(view, served, is_suspect)
        self._ages = served.asked["requested_at"] - served.read_at[view.name]
        self._ttl = view.ttl

    def causes(self, feature: Feature) -> NDArray[np.int8]:
        """Cause of a difference of the feature, for every suspected request."""
        steps = [*self._when_a_row_was_read(feature), *self._when_nothing_was_read(feature)]
        codes = [code(cause) for _, cause in steps]
        return np.select([where for where, _ in steps], codes, code(Cause.UNEXPLAINED)).astype(np.int8)

    def _when_a_row_was_read(self, feature: Feature) -> list[tuple[Mask, Cause]]:
        """What the row itself shows comes before when its day was made: a correction would explain any value.

        Not so a shift or a filling, which the former values of a corrected row may look like by themselves.
        """
        read, read_at, served = self._is_read, self._read_at, self._served[feature.name]
        own, made = self._own, self._own_made
        stored = self._rows.values(feature.name, own)
        is_true_row = read & (own != NOWHERE) & ~self._rows.differ(feature.name, own, served)
        is_newer_known = (self._newest != NOWHERE) & (read_at < self._rows.event_at(self._newest)).to_numpy()
        is_newer_due = (self._due != NOWHERE) & (read_at < self._due_at).to_numpy()
        was_created_later = (self._rows.created_at(own) > self._asked).to_numpy()
        return [
            (read & self._is_old, Cause.EXPIRED),
            (read & was_created_later, Cause.LATE_DATA),
            (read & ~is_true_row & made.is_recoded, Cause.CODE_CHANGE),
            (self._is_shifted, Cause.TIME_SHIFT),
            (self._is_filled(feature, stored), Cause.NULL_FILLED),
            (is_true_row & is_newer_known & ~is_newer_due, Cause.IN_TRANSIT),
            (is_true_row & is_newer_due & self._due_made.is_recoded_since, Cause.CODE_CHANGE),
            (is_true_row & is_newer_due & self._due_made.is_late, Cause.LATE_DATA),
            (is_true_row & is_newer_due, Cause.STALE_ONLINE),
            (read & made.is_late, Cause.LATE_DATA),
            (read & (own != NOWHERE) & made.is_corrected, Cause.STALE_ONLINE),
            (read & is_null(served), Cause.DEFAULT_USED),
        ]

    def _when_nothing_was_read(self, feature: Feature) -> list[tuple[Mask, Cause]]:
        """Why the row that was due was not there; that the store lost it is left when all else is ruled out."""
        nothing = self._has_times & ~self._is_read & is_null(self._served[feature.name])
        is_due, made = nothing & (self._due != NOWHERE), self._due_made
        if self._shift is not None:
            is_refused = (self._due_at + self._shift > self._asked).to_numpy()
        else:
            is_refused = np.zeros(len(nothing), dtype=bool)
        missed = is_due & ~made.is_recoded_since & ~made.is_late & ~is_refused & ~self._is_behind
        return [
            (nothing & ~is_due & (self._newest != NOWHERE), Cause.IN_TRANSIT),
            (is_due & made.is_recoded_since, Cause.CODE_CHANGE),
            (is_due & made.is_late, Cause.LATE_DATA),
            (is_due & is_refused, Cause.TIME_SHIFT),
            (is_due & self._is_behind, Cause.STALE_ONLINE),
            (missed & self._are_older_than_all_served(missed), Cause.EXPIRED),
            (missed, Cause.DEFAULT_USED),
        ]

    def _find_shift(self) -> timedelta | None:
        """The shift of this view's rows, and which vectors it made.

        A vector that equals its own row as well, because few features are compared, is shifted where most plainly are.
        """
        may_be_shifted = self._is_read & ~self._is_old & ~self._own_made.is_recoded & ~self._was_corrected
        is_foreign = may_be_shifted & ~equals_row(self._rows, self._own, self._served, self._compared)
        shift = common_shift(
            self._rows,
            self._keys[is_foreign],
            self._read_at[is_foreign],
            {name: values[is_foreign] for name, values in self._served.items()},
            {name: mask[is_foreign] for name, mask in self._compared.items()},
        )
        self._is_shifted = np.zeros(len(is_foreign), dtype=bool)
        if shift is not None:
            places = self._rows.at(self._keys, self._read_at - shift)
            is_row = equals_row(self._rows, places, self._served, self._compared)
            self._is_shifted = is_foreign & is_row
            is_either = may_be_shifted & ~is_foreign & is_row
            if is_either.sum() < self._is_shifted.sum():
                self._is_shifted |= is_either
        return shift

    def _find_behind(self, view: FeatureView, served: ServedRequests, is_suspect: Mask) -> Mask:
        """Where nothing as new as the row that was due had been served of anybody, while others got old rows."""
        is_stale = self._is_read & (self._own != NOWHERE) & (self._due != NOWHERE)
        is_stale &= (self._read_at < self._due_at).to_numpy()
        newest_served = served.read_at[view.name].astype("int64").where(served.read_at[view.name].notna(), -1).cummax()
        newest = newest_served[is_suspect].to_numpy()
        due_at = self._due_at.astype("int64").to_numpy()
        return np.asarray(is_stale.any() & (self._due != NOWHERE) & (newest < due_at), dtype=bool)

    def _are_older_than_all_served(self, missed: Mask) -> bool:
        """Whether age alone tells the rows that were not served from those that were, well within the time to live."""
        served = self._ages[self._ages <= self._ttl]
        ages = (self._asked - self._due_at)[missed]
        return bool(len(ages) and len(served) and ages.min() > served.max())

    def _is_filled(self, feature: Feature, stored: NDArray[Any]) -> Mask:
        """Where one and the same value was served wherever there is none."""
        served = self._served[feature.name]
        has_none = np.where(self._own != NOWHERE, is_null(stored), is_null(self._offline[feature.name]))
        is_filled = has_none & ~is_null(served) & self._compared[feature.name] & ~self._was_corrected
        return np.asarray(is_filled & (len(set(served[is_filled].tolist())) == 1), dtype=bool)
