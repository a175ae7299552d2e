"""The confidence sequence promotes equal challengers rarely, finds better ones, and agrees with its formula."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.domain.gates.clusters import Array, Clusters, cluster_numbers
from shadow_platform.domain.gates.sequence import (
    ConfidenceSequence,
    boundary,
    confidence_sequence,
    log_loss,
    tuning,
)
from shadow_platform_tests.streams import Stream, better_challenger, clustered_differences, equal_models

LOOKS = np.arange(200, 4_001, 200)


def gains(stream: Stream) -> Array:
    return log_loss(stream.champion, stream.label) - log_loss(stream.challenger, stream.label)


def alone(n: int) -> Clusters:
    """Every row on its own."""
    return Clusters(np.arange(n))


def width(sequence: ConfidenceSequence) -> Array:
    return sequence.mean - sequence.lower


def first_promotion(differences: Array, looks: NDArray[np.int64]) -> int | None:
    """Number of labels at the first look whose lower bound is above zero."""
    sequence = confidence_sequence(differences, alone(len(differences)))
    found = looks[sequence.lower[looks - 1] > 0]
    return int(found[0]) if len(found) else None


def naive_promotion(differences: Array, looks: NDArray[np.int64]) -> bool:
    """Whether a one-sided paired t-test is below .05 at some look."""
    return any(stats.ttest_1samp(differences[:n], 0, alternative="greater").pvalue < 0.05 for n in looks)


def share_promoted(differences: Array, clusters: NDArray[np.int64], min_clusters: int = 7) -> float:
    """Share of streams promoted at some cluster end."""
    promoted = [
        bool((confidence_sequence(row, Clusters(clusters)).lower[min_clusters - 1 :] > 0).any()) for row in differences
    ]
    return float(np.mean(promoted))


def test_an_equal_challenger_is_rarely_promoted_however_often_one_looks() -> None:
    differences = gains(equal_models(np.random.default_rng(1), 300, 4_000))

    promoted = np.mean([first_promotion(row, LOOKS) is not None for row in differences])

    assert promoted <= 0.05


def test_a_naive_paired_test_promotes_equal_challengers_far_above_its_level() -> None:
    differences = gains(equal_models(np.random.default_rng(1), 300, 4_000))

    promoted = np.mean([naive_promotion(row, LOOKS) for row in differences])

    assert promoted > 0.15


def test_a_gain_of_two_percent_is_found_within_a_few_thousand_labels() -> None:
    stream = better_challenger(np.random.default_rng(2), 60, 10_000)
    relative = 1 - log_loss(stream.challenger, stream.label).mean() / log_loss(stream.champion, stream.label).mean()

    found = [first_promotion(row, np.arange(200, 10_001, 200)) for row in gains(stream)]

    assert relative == pytest.approx(0.02, abs=0.003)
    assert all(found)
    assert 1_000 <= np.median([n for n in found if n]) <= 3_000


def test_day_clusters_hold_the_level_where_requests_of_a_day_are_alike() -> None:
    differences = clustered_differences(np.random.default_rng(3), 200, days=31)
    rows = np.arange(differences.shape[1])

    assert share_promoted(differences, rows // 900) <= 0.05


def test_request_clusters_promote_by_luck_where_requests_of_a_day_are_alike() -> None:
    differences = clustered_differences(np.random.default_rng(3), 100, days=31, hours=18, per_hour=50)

    assert share_promoted(differences, np.arange(differences.shape[1]), min_clusters=200) > 0.10


@pytest.mark.parametrize("n", [200, 2_000, 50_000])
def test_the_boundary_is_the_published_formula(n: int) -> None:
    r, alpha = tuning(0.05, 2_000), 0.05
    expected = np.sqrt(2 * (n * r**2 + 1) / (n**2 * r**2) * np.log(1 + np.sqrt(n * r**2 + 1) / (2 * alpha)))

    assert boundary(np.array([n]), alpha, 2_000)[0] / np.sqrt(n) == pytest.approx(expected, rel=1e-12)


def test_the_boundary_is_tightest_where_it_was_tuned() -> None:
    at = boundary(np.array([2_000.0]), 0.05, 2_000)[0]

    assert at < min(boundary(np.array([2_000.0]), 0.05, other)[0] for other in (1_500, 2_700))


def test_without_clusters_the_width_is_that_of_independent_rows() -> None:
    differences = np.random.default_rng(4).normal(0.01, 0.2, 5_000)

    sequence = confidence_sequence(differences, alone(5_000))

    expected = np.std(differences, ddof=1) * boundary(np.array([5_000]), 0.05, 2_000)[0] / np.sqrt(5_000)
    assert width(sequence)[-1] == pytest.approx(expected, rel=2e-3)
    assert sequence.design_effect == pytest.approx(1.0, abs=1e-3)


def test_few_clusters_widen_the_bounds() -> None:
    sums = np.random.default_rng(5).normal(0, 1, 10)

    few = confidence_sequence(sums, alone(10))

    normal = boundary(np.array([10]), 0.05, 2_000)[0] * np.std(sums, ddof=1) / np.sqrt(10)
    assert width(few)[-1] > normal * 1.3


def test_a_single_cluster_bounds_nothing() -> None:
    sequence = confidence_sequence(np.ones(500), Clusters(np.zeros(500, dtype=np.int64)))

    assert width(sequence).tolist() == [np.inf]


def test_no_pairs_give_an_empty_sequence() -> None:
    assert len(confidence_sequence(np.array([]), alone(0)).n) == 0


@settings(max_examples=50, deadline=None)
@given(
    differences=st.lists(st.floats(-4.6, 4.6), min_size=3, max_size=60),
    size=st.integers(1, 5),
    shift=st.floats(-3, 3),
)
def test_the_cumulative_form_equals_a_computation_from_scratch(
    differences: list[float], size: int, shift: float
) -> None:
    values = np.array(differences) + shift
    clusters = np.arange(len(values)) // size
    sequence = confidence_sequence(values, Clusters(clusters))

    for k in range(2, len(sequence.n) + 1):
        part = clusters < k
        n, mean = int(part.sum()), float(values[part].mean())
        residuals = np.bincount(clusters[part], weights=values[part] - mean)
        variance = k / (k - 1) * float(residuals @ residuals)
        z = stats.t.isf(stats.norm.sf(boundary(np.array([n]), 0.05, 2_000)[0]), k - 1)
        assert sequence.n[k - 1] == n
        assert sequence.mean[k - 1] == pytest.approx(mean, abs=1e-9)
        assert width(sequence)[k - 1] == pytest.approx(z * np.sqrt(variance) / n, rel=1e-4, abs=1e-4 * z)


@given(st.lists(st.floats(-1, 1), min_size=10, max_size=40))
def test_exchanging_the_models_mirrors_the_bounds(differences: list[float]) -> None:
    values, clusters = np.array(differences), np.arange(len(differences)) // 2

    forward, backward = (
        confidence_sequence(values, Clusters(clusters)),
        confidence_sequence(-values, Clusters(clusters)),
    )

    np.testing.assert_allclose(forward.lower, -backward.upper, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [(None, [0, 1, 2, 3]), ("hour", [0, 0, 1, 2]), ("day", [0, 0, 0, 1]), ("route", [0, 1, 0, 2])],
)
def test_rows_fall_into_the_clusters_of_the_policy(cluster: str | None, expected: list[int]) -> None:
    at = pd.to_datetime(
        ["2013-03-01T05:10Z", "2013-03-01T05:50Z", "2013-03-01T06:00Z", "2013-03-02T05:00Z"], format="ISO8601"
    )
    cohort = pd.DataFrame({"requested_at": at, "route": ["a", "b", "a", "a"]})

    assert cluster_numbers(cohort, cluster).tolist() == expected


def test_one_certain_and_wrong_answer_costs_a_bounded_loss() -> None:
    assert log_loss(np.array([0.0]), np.array([1.0]))[0] == pytest.approx(-np.log(0.01))


def test_two_sided_bounds_hold_the_truth_at_all_times_at_once() -> None:
    rng, missed = np.random.default_rng(6), 0
    for _ in range(200):
        values = rng.choice([-0.1, 0.3], 2_000, p=[0.75, 0.25])
        band = confidence_sequence(values, alone(2_000), alpha=0.05 / 2)
        missed += bool(((band.lower[200:] > 0) | (band.upper[200:] < 0)).any())

    assert missed / 200 <= 0.05


def test_less_error_to_spend_widens_the_bounds() -> None:
    values = np.random.default_rng(7).normal(0, 1, 500)

    whole, part = (width(confidence_sequence(values, alone(500), alpha))[-1] for alpha in (0.05, 0.0076))

    assert whole < part
