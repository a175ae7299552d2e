"""Bets are fair: capital never falls below zero, starts at one, and grows by luck as rarely as it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.domain.gates import evidence
from shadow_platform.domain.gates.betting import (
    BETS,
    LARGEST_BOUND,
    LARGEST_DIFFERENCE,
    betting_sequence,
    log_capital,
)
from shadow_platform.domain.gates.clusters import Array, Clusters
from shadow_platform.domain.gates.sequence import ConfidenceSequence, log_loss
from shadow_platform_tests.cohorts import paired_cohort
from shadow_platform_tests.streams import FOUR_PERCENT, Stream, better_challenger, equal_models


def gains(stream: Stream) -> Array:
    return log_loss(stream.champion, stream.label) - log_loss(stream.challenger, stream.label)


def bounds(row: Array, clusters: Clusters | None = None, alpha: float = 0.05) -> ConfidenceSequence:
    limits = np.full(len(row), LARGEST_DIFFERENCE)
    return betting_sequence(row, limits, clusters or Clusters(np.arange(len(row))), alpha)


shares = st.lists(st.floats(-1, 1), min_size=1, max_size=40)


@given(shares=shares, sizes=st.integers(1, 7), mean=st.floats(-LARGEST_DIFFERENCE, LARGEST_BOUND))
def test_capital_stays_above_zero_whatever_happens(shares: list[float], sizes: int, mean: float) -> None:
    size = np.full(len(shares), float(sizes))
    limits = LARGEST_DIFFERENCE * size

    capital = log_capital(np.array(shares) * limits, size, limits, mean)

    assert np.isfinite(capital).all()


def test_capital_starts_at_one_and_stays_there_when_nothing_differs() -> None:
    capital = log_capital(np.zeros(5), np.ones(5), np.full(5, LARGEST_DIFFERENCE), 0.0)

    assert capital == pytest.approx(np.zeros(5), abs=1e-12)


@given(st.lists(st.sampled_from([-1.0, 1.0]), min_size=0, max_size=12))
def test_capital_is_expected_to_stay_as_it_is_when_the_mean_is_the_one_bet_against(past: list[float]) -> None:
    def after(outcome: float) -> float:
        sums = LARGEST_DIFFERENCE * np.array([*past, outcome])
        size = np.ones(len(sums))
        return float(np.exp(log_capital(sums, size, LARGEST_DIFFERENCE * size, 0.0)[-1]))

    before = 1.0
    if past:
        size = np.ones(len(past))
        before = float(
            np.exp(log_capital(LARGEST_DIFFERENCE * np.array(past), size, LARGEST_DIFFERENCE * size, 0.0)[-1])
        )

    assert (after(-1.0) + after(1.0)) / 2 == pytest.approx(before)


def test_capital_is_the_mean_of_all_bets() -> None:
    sums, limits = np.array([1.0, -2.0, 3.0]), np.array([5.0, 10.0, 5.0])
    expected = [
        np.mean([np.prod(1 + bet / np.array([5.0, 10.0, 10.0])[:k] * sums[:k]) for bet in BETS]) for k in (1, 2, 3)
    ]

    assert np.exp(log_capital(sums, np.ones(3), limits, 0.0)) == pytest.approx(expected)


def test_an_equal_challenger_is_rarely_promoted_at_any_number_of_labels() -> None:
    rng = np.random.default_rng(1)
    sums = gains(equal_models(rng, 400, 1_500))
    limits = np.full(1_500, LARGEST_DIFFERENCE)

    ever = [(log_capital(row, np.ones(1_500), limits, 0.0) >= np.log(20)).any() for row in sums]

    assert np.mean(ever) <= 0.05


def test_a_skewed_difference_is_held_where_few_labels_would_deceive() -> None:
    rng = np.random.default_rng(2)
    rare = np.where(rng.random((400, 300)) < 0.01, -4.0, 4.0 / 99)
    limits = np.full(300, LARGEST_DIFFERENCE)

    ever = [(log_capital(row, np.ones(300), limits, 0.0) >= np.log(20)).any() for row in rare]

    assert np.mean(ever) <= 0.05


def test_a_better_challenger_is_found_and_a_worse_one_too() -> None:
    row = gains(better_challenger(np.random.default_rng(3), 1, 4_000, FOUR_PERCENT))[0]

    assert bounds(row).lower[-1] > 0
    assert bounds(-row).upper[-1] < 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=30), st.sampled_from([0.05, 0.2]))
def test_the_last_bound_is_where_capital_reaches_its_goal(values: list[float], alpha: float) -> None:
    row = np.array(values)
    lower = bounds(row, alpha=alpha).lower[-1]
    limits = np.full(len(row), LARGEST_DIFFERENCE)

    def capital(mean: float) -> float:
        return float(log_capital(row, np.ones(len(row)), limits, mean)[-1])

    if np.isfinite(lower):
        assert capital(lower) >= -np.log(alpha)
        assert lower + 1e-6 > LARGEST_BOUND or capital(lower + 1e-6) < -np.log(alpha)
    else:
        assert capital(-LARGEST_DIFFERENCE) < -np.log(alpha)


def test_a_later_row_changes_no_earlier_bound_but_by_the_grid() -> None:
    row = gains(better_challenger(np.random.default_rng(4), 1, 600, FOUR_PERCENT))[0]
    whole, part = bounds(row), bounds(row[:300])

    assert whole.lower[299] <= part.lower[-1] + 1e-9
    assert whole.lower[299] > part.lower[-1] - 0.05


def test_exchanging_the_models_mirrors_the_bounds() -> None:
    row = gains(equal_models(np.random.default_rng(5), 1, 300))[0]

    np.testing.assert_allclose(bounds(row).lower[-1], -bounds(-row).upper[-1])


def test_no_bet_is_made_on_a_day_that_may_not_be_over() -> None:
    cohort = paired_cohort(better_challenger(np.random.default_rng(6), 1, 1_050, FOUR_PERCENT))
    policy = GatePolicy(method="betting", cluster="day")

    assert evidence(cohort, policy, 0.05).n.tolist() == [100 * (day + 1) for day in range(10)]


def test_hidden_labels_widen_what_a_bet_may_lose() -> None:
    cohort = paired_cohort(better_challenger(np.random.default_rng(7), 1, 1_500, FOUR_PERCENT))
    policy = GatePolicy(method="betting", cluster=None)

    plain = evidence(cohort, policy, 0.05).lower[-1]
    careful = evidence(cohort.assign(label_propensity=np.where(np.arange(1_500) == 0, 0.1, 1.0)), policy, 0.05).lower[
        -1
    ]

    assert careful < plain


def test_subjects_over_many_days_cannot_be_bet_on() -> None:
    with pytest.raises(ValueError, match="betting goes on in the order of time"):
        bounds(np.zeros(4), Clusters(np.arange(4), np.zeros(4, dtype=np.int64)))


def test_no_pairs_give_an_empty_sequence() -> None:
    assert len(bounds(np.array([])).n) == 0
