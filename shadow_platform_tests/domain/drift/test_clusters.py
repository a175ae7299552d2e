"""What rows of one day are worth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.drift.clusters import DayEffect, DaySums, common_persistence, day_effect, day_sums


@dataclass(frozen=True)
class Sizes:
    """Effective sizes as plain numbers."""

    reference: float
    current: float
    design_effect: float
    df: float


def _sizes(codes: np.ndarray, days: np.ndarray, split: int) -> Sizes:
    parts = [(codes[:split], days[:split]), (codes[split:], days[split:])]
    size = day_effect([_sums(levels, own, int(codes.max()) + 1) for levels, own in parts]).size()
    return Sizes(*(float(part[0]) for part in (size.reference, size.current, size.design_effect, size.df)))


def _sums(levels: np.ndarray, days: np.ndarray, n_levels: int) -> DaySums:
    counts = np.zeros((int(days.max()) + 1, n_levels))
    np.add.at(counts, (days, levels), 1.0)
    return day_sums(np.datetime64("2024-01-01", "h") + 24 * np.arange(len(counts)), counts, cumulative=False)


def test_rows_that_are_copies_of_their_day_count_as_one_a_day() -> None:
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(100), 50)
    codes = rng.integers(0, 4, 100)[days]
    size = _sizes(codes, days, 2500)
    assert size.reference == pytest.approx(50, rel=1e-6)
    assert size.design_effect == pytest.approx(50, rel=1e-6)


def test_independent_rows_keep_nearly_their_number_and_never_gain() -> None:
    effects = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size = _sizes(rng.integers(0, 4, 6000), np.repeat(np.arange(60), 100), 3000)
        effects.append(size.design_effect)
    assert min(effects) >= 1
    assert np.mean(effects) < 1.15


def test_a_difference_between_the_samples_is_not_taken_for_one_between_days() -> None:
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(0, 2, 3000), rng.integers(2, 4, 3000)])
    assert _sizes(codes, np.repeat(np.arange(60), 100), 3000).design_effect < 1.3


def test_design_effect_is_that_of_the_known_correlation() -> None:
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(400), 100)
    share = rng.beta(2, 2, 400)[days]
    codes = (rng.random(len(days)) < share).astype(np.int64)
    known = 1 + 99 * (1 / (2 + 2 + 1))
    assert _sizes(codes, days, 20_000).design_effect == pytest.approx(known, rel=0.1)


@pytest.mark.parametrize("n_days", [1, 2])
def test_very_few_days_leave_at_least_one_degree_of_freedom(n_days: int) -> None:
    days = np.repeat(np.arange(2 * n_days), 100)
    size = _sizes(np.tile([0, 1], 100 * n_days), days, 100 * n_days)
    assert size.df >= 1
    assert np.isfinite(pd.Series([size.reference, size.current])).all()


def _moody(persistence: float, seed: int, n_days: tuple[int, int] = (60, 28), size: int = 100) -> DayEffect:
    """Day effect of rows whose days lean one way or the other, for as long as ``persistence`` says."""
    rng = np.random.default_rng(seed)
    samples = []
    for days in n_days:
        mood = np.empty(days)
        mood[0] = rng.standard_normal()
        for day in range(1, days):
            mood[day] = persistence * mood[day - 1] + np.sqrt(1 - persistence**2) * rng.standard_normal()
        share = 1 / (1 + np.exp(-mood))
        counts = rng.binomial(size, share).astype(np.float64)
        starts = np.datetime64("2024-01-01", "h") + 24 * np.arange(days)
        samples.append(day_sums(starts, np.column_stack([counts, size - counts]), cumulative=True))
    return day_effect(samples)


def test_moods_that_last_for_days_leave_fewer_rows_than_those_of_single_days() -> None:
    short, long = ([_moody(persistence, seed) for seed in range(25)] for persistence in (0.0, 0.6))
    assert common_persistence(short) < 0.2
    assert common_persistence(long) == pytest.approx(0.6, abs=0.15)
    worth = [np.median([effect.size(common_persistence(own)).current[0] for effect in own]) for own in (short, long)]
    assert worth[0] / worth[1] == pytest.approx((1 + 0.6) / (1 - 0.6), rel=0.35)


def test_few_columns_do_not_tell_how_long_moods_last() -> None:
    assert common_persistence([_moody(0.6, seed) for seed in range(4)]) == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(60, 28), (60, 1), (5, 5), (2, 1)]), st.floats(0, 0.95))
def test_no_sample_is_ever_worth_more_than_its_rows(seed: int, n_days: tuple[int, int], persistence: float) -> None:
    effect = _moody(0.3, seed, n_days, size=20)
    size = effect.size(persistence)
    assert 0 < size.reference[0] <= 20 * n_days[0] * (1 + 1e-12)
    assert 0 < size.current[0] <= 20 * n_days[1] * (1 + 1e-12)
    assert size.design_effect[0] >= 1
    assert size.df[0] >= 1
    assert size.current[0] <= effect.size(0.0).current[0] * (1 + 1e-9)


def test_a_gap_between_days_is_no_neighbourhood() -> None:
    starts = np.array(["2024-01-01", "2024-01-03", "2024-01-05"], "datetime64[h]")
    sample = day_sums(starts, np.array([[5.0, 5.0], [9.0, 1.0], [5.0, 5.0]]), cumulative=True)
    assert day_effect([sample, sample]).pairs.sum() == 0
