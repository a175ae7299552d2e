"""What rows of one day are worth."""

import numpy as np
import pandas as pd
import pytest

from shadow_platform.domain.drift.clusters import EffectiveSize, effective_size, indicator_sums


def _sizes(codes: np.ndarray, days: np.ndarray, split: int) -> EffectiveSize:
    n_levels = int(codes.max()) + 1
    parts = [(codes[:split], days[:split]), (codes[split:], days[split:])]
    return effective_size([indicator_sums(level, n_levels, day, cumulative=False) for level, day in parts])


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
