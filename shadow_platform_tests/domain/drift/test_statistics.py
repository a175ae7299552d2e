"""Statistics of drift against scipy, on data that hypothesis makes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import spatial, stats

from shadow_platform.domain.drift import statistics

VALUES = st.floats(-1e6, 1e6, allow_nan=False, width=32)
SAMPLES = hnp.arrays(np.float64, st.integers(3, 60), elements=VALUES)
TIED_SAMPLES = hnp.arrays(np.float64, st.integers(3, 60), elements=st.integers(0, 4).map(float))
COUNTS = hnp.arrays(np.float64, 6, elements=st.integers(0, 400).map(float)).filter(lambda counts: counts.sum() > 0)


def _in_cells(values: np.ndarray, sample: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(values, sample), minlength=len(values)).astype(np.float64)


@settings(max_examples=150, deadline=None)
@given(st.one_of(SAMPLES, TIED_SAMPLES), st.one_of(SAMPLES, TIED_SAMPLES))
def test_ks_distance_of_distinct_values_is_that_of_scipy_ties_included(
    reference: np.ndarray, current: np.ndarray
) -> None:
    expected = stats.ks_2samp(reference, current, method="asymp").statistic
    values = np.unique(np.concatenate([reference, current]))
    found = statistics.ks_distance(_in_cells(values, reference), _in_cells(values, current))
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 0.2), st.integers(200, 50_000), st.integers(200, 50_000))
def test_ks_p_value_is_that_of_scipy(statistic: float, n: int, m: int) -> None:
    expected = stats.kstwo.sf(statistic, np.round(n * m / (n + m)))
    assert statistics.ks_p_value(statistic, n, m) == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_chi_square_is_the_homogeneity_test_of_scipy(reference: np.ndarray, current: np.ndarray) -> None:
    statistic, p_value = statistics.chi_square(reference, current)
    table = np.vstack([reference, current])[:, reference + current > 0]
    expected = stats.chi2_contingency(table, correction=False)
    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert p_value == pytest.approx(expected.pvalue, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_pooling_keeps_every_row_and_leaves_no_rare_level(reference: np.ndarray, current: np.ndarray) -> None:
    new = statistics.pool_rare_levels(reference, current)
    total = np.bincount(new, weights=reference + current)
    assert total.sum() == (reference + current).sum()
    expected = total * min(reference.sum(), current.sum()) / total.sum()
    assert len(total) == 1 or (expected[total > 0] >= 5 - 1e-9).all()


def _exact(values: np.ndarray, sample: np.ndarray) -> statistics.Curve:
    return statistics.exact_curve(values, _in_cells(values, sample))


@settings(max_examples=100, deadline=None)
@given(st.one_of(SAMPLES, TIED_SAMPLES), st.one_of(SAMPLES, TIED_SAMPLES))
def test_wasserstein_and_standard_deviation_of_distinct_values_are_those_of_scipy_and_numpy(
    reference: np.ndarray, current: np.ndarray
) -> None:
    values = np.unique(np.concatenate([reference, current]))
    before, after = _exact(values, reference), _exact(values, current)
    expected = stats.wasserstein_distance(reference, current)
    assert statistics.wasserstein(before, after) == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert before.standard_deviation() == pytest.approx(reference.std(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential", "laplace"])
def test_wasserstein_of_cells_stays_within_a_hundredth_of_a_deviation(draw: str) -> None:
    rng = np.random.default_rng(0)
    reference, current = (getattr(rng, draw)(size=20_000) for _ in range(2))
    current = current * 1.1 + 0.2
    edges = np.quantile(reference, np.arange(1, 256) / 256)
    curves = [
        statistics.cell_curve(
            edges,
            np.bincount(np.searchsorted(edges, sample), minlength=256).astype(np.float64),
            float(sample.min()),
            float(sample.max()),
        )
        for sample in (reference, current)
    ]
    expected = stats.wasserstein_distance(reference, current) / reference.std()
    found = statistics.wasserstein(*curves) / curves[0].standard_deviation()
    assert found == pytest.approx(expected, abs=0.01)


def test_one_outlier_stretches_no_cell() -> None:
    counts, edges = np.full(9, 1000.0), np.arange(8.0)
    plain, spoilt = (statistics.cell_curve(edges, counts, -1.0, highest) for highest in (8.0, 1e6))
    assert statistics.wasserstein(plain, spoilt) < 0.5


@settings(max_examples=100, deadline=None)
@given(TIED_SAMPLES, st.floats(0.01, 0.99))
def test_quantiles_of_distinct_values_are_values(sample: np.ndarray, share: float) -> None:
    found = _exact(np.unique(sample), sample).quantile(share)
    assert min(sample) <= found <= max(sample)
    assert (sample <= found + 1e-9).mean() >= share - 1e-9


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.integers(0, 9).map(float)), st.integers(1, 64))
def test_groups_of_cells_keep_their_order_and_number(counts: np.ndarray, n_groups: int) -> None:
    firsts = statistics.quantile_groups(counts, n_groups)
    assert firsts[0] == 0
    assert (np.diff(firsts) > 0).all()
    assert len(firsts) <= n_groups
    assert firsts[-1] < len(counts)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_jensen_shannon_is_the_squared_distance_of_scipy(reference: np.ndarray, current: np.ndarray) -> None:
    expected = spatial.distance.jensenshannon(reference, current) ** 2
    assert statistics.jensen_shannon(reference, current) == pytest.approx(np.nan_to_num(expected), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS)
def test_kullback_leibler_is_the_entropy_of_scipy_and_psi_its_symmetric_sum(
    reference: np.ndarray, current: np.ndarray
) -> None:
    p, q = statistics.smoothed(reference), statistics.smoothed(current)
    assert statistics.kullback_leibler(reference, current) == pytest.approx(stats.entropy(q, p), abs=1e-9)
    psi = statistics.population_stability_index(reference, current)
    assert psi == pytest.approx(stats.entropy(q, p) + stats.entropy(p, q), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.floats(0.001, 0.5))
def test_benjamini_hochberg_rejects_as_scipy_does(p_values: np.ndarray, q: float) -> None:
    adjusted = stats.false_discovery_control(p_values)
    clear = np.abs(adjusted - q) > 1e-9
    assert (statistics.benjamini_hochberg(p_values, q)[clear] == (adjusted <= q)[clear]).all()


def test_proportion_test_is_the_uncorrected_chi_square_of_two_by_two() -> None:
    expected = stats.chi2_contingency([[30, 970], [55, 1945]], correction=False).pvalue
    assert statistics.proportion_p_value(0.03, 1000, 0.0275, 2000) == pytest.approx(expected)


def test_few_days_make_a_p_value_larger_never_smaller() -> None:
    p_values = [statistics.with_estimated_variance(1e-4, df) for df in (float("inf"), 100, 10, 2, 1)]
    assert p_values == sorted(p_values)
    assert p_values[0] == 1e-4
