"""One column compared: counted in cells or value by value, by day or not, with weights or without."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from shadow_platform.contracts.policies.monitoring import DriftPolicy
from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.grid import exact_grid, reference_grid
from shadow_platform.domain.drift.measure import Measure, Sample, compare, measured, new_levels
from shadow_platform.domain.drift.profiles import profiles_of

NUMBER, LEVEL = [Feature("x", "")], [Feature("x", "", kind="categorical")]
SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "counts": lambda rng, n: rng.poisson(0.7, n).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
    "one outlier": lambda rng, n: np.where(np.arange(n) == 7, 1e6, rng.standard_normal(n)),
}


def _samples(reference: pd.DataFrame, current: pd.DataFrame, *, exact: bool, of: list[Feature]) -> list[Sample]:
    policy = DriftPolicy()
    grid = exact_grid(of, reference, current, policy) if exact else reference_grid(of, reference, policy)
    return [Sample(profiles_of(frame, grid), None, is_exact=exact) for frame in (reference, current)]


def _measure(reference: pd.DataFrame, current: pd.DataFrame, *, exact: bool, of: list[Feature] = NUMBER) -> Measure:
    comparison = compare("x", *_samples(reference, current, exact=exact, of=of))
    assert comparison is not None
    return measured(comparison, 0.0)


def _frames(shape: str, seed: int, n: int = 3_000, m: int = 2_000, shift: float = 0.1) -> list[pd.DataFrame]:
    rng = np.random.default_rng(seed)
    return [pd.DataFrame({"x": SHAPES[shape](rng, size) + move}) for size, move in ((n, 0.0), (m, shift))]


@pytest.mark.parametrize("shape", list(SHAPES))
def test_exact_distances_are_those_of_scipy(shape: str) -> None:
    reference, current = _frames(shape, 1)
    found = _measure(reference, current, exact=True)
    expected = stats.ks_2samp(reference["x"], current["x"], method="asymp")
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    distance = stats.wasserstein_distance(reference["x"], current["x"]) / reference["x"].std(ddof=0)
    assert found.wasserstein_sd == pytest.approx(distance, rel=1e-6)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("seed", range(3))
def test_distances_of_cells_are_within_their_stated_error(shape: str, seed: int) -> None:
    reference, current = _frames(shape, seed)
    comparison = compare("x", *_samples(reference, current, exact=False, of=NUMBER))
    assert comparison is not None
    exact = stats.ks_2samp(reference["x"], current["x"], method="asymp").statistic
    found = measured(comparison, 0.0).statistic
    assert found is not None
    assert found - 1e-12 <= exact <= found + comparison.error + 1e-12
    assert comparison.error < 0.01


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int64, st.integers(20, 400), elements=st.integers(0, 5)), st.integers(0, 1000))
def test_levels_are_tested_as_scipy_tests_them(levels: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    others = rng.integers(0, 6, len(levels) + 10)
    reference, current = (pd.DataFrame({"x": [f"l{level}" for level in own]}) for own in (levels, others))
    table = np.array([np.bincount(own, minlength=6) for own in (levels, others)], dtype=float)
    found = _measure(reference, current, exact=False, of=LEVEL)
    shares = table / table.sum(axis=1, keepdims=True)
    assert found.statistic == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    table = table[:, table.sum(axis=0) > 0]
    if (stats.contingency.expected_freq(table) >= 5).all():
        expected = stats.chi2_contingency(table, correction=False).pvalue if table.shape[1] > 1 else 1.0
        assert found.p_value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("exact", [True, False])
def test_a_constant_and_a_column_of_nulls_move_nothing(exact: bool) -> None:
    constant = pd.DataFrame({"x": np.full(600, 3.0)})
    found = _measure(constant, constant, exact=exact)
    assert (found.statistic, found.p_value, found.wasserstein_sd) == (0.0, 1.0, None)
    empty = pd.DataFrame({"x": np.full(600, np.nan)})
    assert _measure(constant, empty, exact=exact).statistic is None
    assert _measure(constant, empty, exact=exact).null_rate_p_value == pytest.approx(0.0, abs=1e-12)
    assert _measure(empty, empty, exact=exact).null_rate_p_value == 1.0


@pytest.mark.parametrize("exact", [True, False])
def test_one_outlier_moves_a_distance_by_no_more_than_its_row(exact: bool) -> None:
    reference, current = _frames("normal", 4)
    spoilt = current.copy()
    spoilt.loc[3, "x"] = 1e6
    before, after = (_measure(reference, frame, exact=exact) for frame in (current, spoilt))
    assert after.statistic == pytest.approx(before.statistic, abs=1 / len(current))
    assert after.psi == pytest.approx(before.psi, abs=2e-3)


def test_a_row_of_weight_two_counts_as_two_rows_in_distances() -> None:
    reference, current = _frames("counts", 5)
    doubled = pd.concat([current, current[:500]], ignore_index=True)
    weighted = current.assign(weight=np.where(np.arange(len(current)) < 500, 2.0, 1.0))
    plain, found = _measure(reference, doubled, exact=False), _measure(reference, weighted, exact=False)
    assert found.statistic == pytest.approx(plain.statistic, abs=1e-12)
    assert found.psi == pytest.approx(plain.psi, abs=1e-9)


def test_equal_weights_change_no_p_value_and_unequal_ones_cost_rows() -> None:
    reference, current = _frames("normal", 6, shift=0.05)
    plain = _measure(reference, current, exact=False).p_value
    same = _measure(reference, current.assign(weight=4.0), exact=False).p_value
    weights = np.random.default_rng(0).exponential(size=len(current)) ** 2
    sample = _samples(reference, current.assign(weight=weights), exact=False, of=NUMBER)[1]
    assert same == pytest.approx(plain)
    assert sample.rows * sample.worth == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_levels_unknown_to_the_reference_are_named_most_frequent_first() -> None:
    reference = pd.DataFrame({"x": ["a", "b"] * 300})
    current = pd.DataFrame({"x": ["a"] * 300 + ["ü"] * 200 + ["新"] * 100})
    for exact in (True, False):
        comparison = compare("x", *_samples(reference, current, exact=exact, of=LEVEL))
        assert comparison is not None
        assert list(new_levels(comparison.counts).items()) == [("ü", 200.0), ("新", 100.0)]
