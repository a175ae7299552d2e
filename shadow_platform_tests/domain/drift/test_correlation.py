"""Rank correlations from sums of hours, and what counts as a change."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shadow_platform.contracts.policies.monitoring import DriftPolicy
from shadow_platform.domain.drift.correlation import CorrelationChange, correlation_changes
from shadow_platform.domain.drift.grid import reference_grid
from shadow_platform.domain.drift.profiles import profiles_of
from shadow_platform_tests.domain.drift.frames import features, frame, moods

N = 4_000


def _changes(
    reference: pd.DataFrame, current: pd.DataFrame, left_out: frozenset[str] = frozenset(), *, by_day: bool = True
) -> dict[tuple[str, str], CorrelationChange]:
    grid = reference_grid(features(), reference, DriftPolicy())
    profiles = [profiles_of(rows, grid) for rows in (reference, current)]
    before, after = (own.by_day() if by_day else own.merged() for own in profiles)
    found = correlation_changes(before, after, left_out, is_clustered=by_day)
    return {(change.first, change.second): change for change in found}


def test_correlations_are_those_of_spearman_within_a_hundredth() -> None:
    reference, current = frame(N, 1, n_days=60, correlation=0.5), frame(N, 2, correlation=0.2)
    for (first, second), change in _changes(reference, current).items():
        for rows, found in ((reference, change.reference), (current, change.current)):
            known = rows[[first, second]].dropna()
            expected = stats.spearmanr(known[first], known[second]).statistic
            assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("by_day", [True, False])
def test_p_values_of_unchanged_pairs_are_spread_evenly(by_day: bool) -> None:
    p_values = np.concatenate(
        [
            [c.p_value for c in _changes(frame(2_000, s, n_days=60), frame(2_000, s + 1), by_day=by_day).values()]
            for s in range(0, 30, 2)
        ]
    )
    assert 0.005 < (p_values < 0.05).mean() < 0.12
    assert 0.35 < p_values.mean() < 0.65


def test_days_that_move_two_features_together_are_not_taken_for_a_changed_pair() -> None:
    rng = np.random.default_rng(3)
    false_alarms = []
    for _ in range(15):
        reference, current = (
            frame(2_000, int(rng.integers(1_000_000)), n_days=days, correlation=0.0) for days in (60, 28)
        )
        for own, days in ((reference, 60), (current, 28)):
            of_day = (own["requested_at"] - own["requested_at"].min()).dt.days.to_numpy()
            together = moods(rng, days, 1, 0.0)[of_day, 0] * moods(rng, days, 1, 0.0)[of_day, 0]
            own["n1"] += together
            own["n2"] += together
        by_day, alone = (_changes(reference, current, by_day=own)["n1", "n2"].p_value for own in (True, False))
        false_alarms.append((by_day < 0.01, alone < 0.01))
    of_days, of_rows = np.mean(false_alarms, axis=0)
    assert of_days <= 0.14
    assert of_rows >= 0.25


def test_pairs_left_out_constants_and_absent_columns_are_not_looked_at() -> None:
    reference = frame(N, 1, n_days=60)
    current = frame(N, 2).assign(n2=1.0).drop(columns="n3")
    assert set(_changes(reference, current)) == {("n0", "n1")}
    assert set(_changes(reference, frame(N, 2), frozenset({"n0", "n1"}))) == {("n2", "n3")}
    assert _changes(reference, current, frozenset({"n0"})) == {}


def test_a_lost_correlation_is_the_first_of_the_list() -> None:
    current = frame(N, 2, correlation=0.5)
    shuffled = current.assign(n2=current["n2"].sample(frac=1, random_state=0).to_numpy())
    first = next(iter(_changes(frame(N, 1, n_days=60, correlation=0.5), shuffled)))
    assert "n2" in first
