"""A shift of the scores is laid on the features that moved them, and on no others."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.monitoring_verdicts import ScoreShift
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.domain.drift.attribution import contributions, score_shift
from shadow_platform_tests.domain.drift.worlds import FEATURES, NAMES, encode, predict, requests


def shift_of(reference: pd.DataFrame, current: pd.DataFrame, seed: int = 0) -> ScoreShift:
    matrices = encode(reference), encode(current)
    return score_shift(predict, *matrices, matrices[0][:40], NAMES, reference, current, FEATURES, DriftPolicy(), seed)


def test_a_feature_that_fell_in_one_region_is_named_with_the_region() -> None:
    found = shift_of(requests(4_000, 1), requests(3_000, 2, fall_in_north=1.5))
    assert found.leading[0] == "visits"
    assert found.by_feature["visits"] < -0.04
    assert found.moved_in == {"visits": "region=north"}
    assert found.by_feature["idle"] == 0


def test_a_feature_that_fell_everywhere_is_named_without_a_region() -> None:
    found = shift_of(requests(4_000, 1), requests(3_000, 2, fall=0.8))
    assert found.leading[0] == "visits"
    assert found.moved_in == {}


def test_no_shift_tells_no_story() -> None:
    stories = [shift_of(requests(2_000, 2 * seed), requests(2_000, 2 * seed + 1), seed) for seed in range(25)]
    assert [(story.leading, story.moved_in) for story in stories] == [((), {})] * 25


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), other=st.integers(2, 60))
def test_the_parts_sum_to_the_shift_of_the_rows_sampled(seed: int, n: int, other: int) -> None:
    reference, current = encode(requests(n, seed)), encode(requests(other, seed + 1, fall=1.0))
    size = min(n, other)
    found = contributions(predict, reference[:size], current[:size], reference, seed)
    expected = predict(current[:size]).mean() - predict(reference[:size]).mean()
    assert found.parts.sum() == pytest.approx(expected, abs=1e-12)


def test_the_rows_sampled_shift_as_all_rows_do() -> None:
    reference, current = requests(5_000, 1), requests(4_000, 2, fall=0.7)
    found = shift_of(reference, current)
    assert sum(found.by_feature.values()) == pytest.approx(found.total, abs=1e-3)
    assert found.total == pytest.approx(current["score"].mean() - reference["score"].mean())


def test_the_parts_are_shapley_values_within_their_stated_error() -> None:
    reference, current = encode(requests(40, 5)), encode(requests(40, 6, fall_in_north=2.0))
    background = encode(requests(8, 7))
    exact = exact_shapley(current, background) - exact_shapley(reference, background)
    deviations = []
    for seed in range(12):
        found = contributions(predict, reference, current, background, seed)
        deviations.append((found.parts - exact)[found.error > 0] / found.error[found.error > 0])
    assert np.abs(deviations).max() < 4
    assert np.abs(np.mean(deviations, axis=0)).max() < 1


def exact_shapley(rows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Mean over rows and background of the mean over all orders of the features."""
    pairs = [np.repeat(rows, len(background), axis=0), np.tile(background, (len(rows), 1))]
    total = np.zeros(rows.shape[1])
    # The model does not look at "idle", so orders of the others are enough.
    orders = list(permutations([0, 1, 2, 4, 5]))
    for order in orders:
        mixed, last = pairs[1].copy(), predict(pairs[1])
        for feature in order:
            mixed[:, feature] = pairs[0][:, feature]
            answers = predict(mixed)
            total[feature] += (answers - last).mean()
            last = answers
    return total / len(orders)


def test_the_same_rows_and_seed_give_the_same_parts() -> None:
    reference, current = requests(500, 1), requests(400, 2, fall=0.3)
    assert shift_of(reference, current, 9) == shift_of(reference, current, 9)


def test_with_many_features_fewer_rows_are_sampled_and_the_error_says_so() -> None:
    rng = np.random.default_rng(0)
    sizes = []

    def first_feature(matrix: np.ndarray) -> np.ndarray:
        sizes.append(len(matrix))
        return np.asarray(matrix[:, 0], dtype=np.float64)

    before, after = (rng.standard_normal((50, 600)).astype(np.float32) for _ in range(2))
    rows = [pd.DataFrame({"score": matrix[:, 0].astype(np.float64)}) for matrix in (before, after)]
    names = [f"f{i}" for i in range(600)]
    found = score_shift(first_feature, before, after, before, names, rows[0], rows[1], (), DriftPolicy(), 0)
    assert sum(sizes) * 600 < 110_000_000
    assert found.by_feature_error["f0"] > 0
