"""Shapley values by orders: their axioms, and agreement with the definition by coalitions."""

import math
from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.explanation import Attribution, Matrix, Predict, attribute, largest, mean_attribution

SEEDS = st.integers(0, 2**32 - 1)


def shapley(predict: Predict, row: Matrix, background: Matrix) -> np.ndarray:
    """By the definition: weighted marginal contributions to every coalition (Shapley 1953)."""
    n = len(row)

    def value(coalition: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return float(np.mean(predict(mixed)))

    found = np.zeros(n)
    for feature in range(n):
        others = [place for place in range(n) if place != feature]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for chosen in combinations(others, size):
                found[feature] += weight * (value((*chosen, feature)) - value(chosen))
    return found


def case(seed: int, n_features: int, n_background: int = 3) -> tuple[Predict, Matrix, Matrix]:
    """A curved model with interactions of every order, a row, and background rows."""
    rng = np.random.default_rng(seed)
    weights, products = rng.normal(size=n_features), rng.normal(size=3)

    def predict(matrix: Matrix) -> Any:
        x = matrix.astype(np.float64)
        score = x @ weights + products[0] * x.prod(axis=1) + products[1] * np.sin(x.sum(axis=1)) + products[2]
        return 1.0 / (1.0 + np.exp(-score))

    rows = rng.normal(size=(n_background + 1, n_features)).astype(np.float32)
    return predict, rows[0], rows[1:]


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, n_features=st.integers(1, 4))
def test_the_mean_over_all_orders_is_the_shapley_value(seed: int, n_features: int) -> None:
    predict, row, background = case(seed, n_features)
    parts = [attribute(predict, row, background, order) for order in permutations(range(n_features))]

    np.testing.assert_allclose(
        mean_attribution(parts).contributions, shapley(predict, row, background), rtol=0, atol=1e-9
    )


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, n_features=st.integers(1, 12), n_parts=st.integers(1, 4))
def test_base_and_contributions_add_up_to_the_probability_however_few_orders_were_tried(
    seed: int, n_features: int, n_parts: int
) -> None:
    predict, row, background = case(seed, n_features, n_background=7)
    rng = np.random.default_rng(seed)
    parts = [
        attribute(predict, row, part, rng.permutation(n_features).tolist())
        for part in np.array_split(background, n_parts)
    ]
    found = mean_attribution(parts)

    assert found.base + found.contributions.sum() == pytest.approx(predict(row[None])[0], abs=1e-9)
    assert found.base == pytest.approx(np.mean(predict(background)), abs=1e-9)
    assert found.n_background == len(background)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, data=st.data())
def test_a_feature_the_model_ignores_contributes_nothing(seed: int, data: st.DataObject) -> None:
    predict, row, background = case(seed, 5)
    ignored = data.draw(st.integers(0, 4))
    order = data.draw(st.permutations(range(5)))

    def blind(matrix: Matrix) -> Any:
        seen = matrix.copy()
        seen[:, ignored] = 1.0
        return predict(seen)

    assert attribute(blind, row, background, order).contributions[ignored] == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_features_the_model_treats_alike_contribute_alike(seed: int) -> None:
    predict, row, background = case(seed, 4)

    def alike(matrix: Matrix) -> Any:
        swapped = matrix[:, [1, 0, 2, 3]]
        return (predict(matrix) + predict(swapped)) / 2.0

    row, background = row.copy(), background.copy()
    row[1], background[:, 1] = row[0], background[:, 0]
    parts = [attribute(alike, row, background, order) for order in permutations(range(4))]
    first, second, *_ = mean_attribution(parts).contributions

    assert first == pytest.approx(second, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, data=st.data())
def test_one_order_and_its_reverse_are_exact_where_only_pairs_interact(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    order = data.draw(st.permutations(range(5)))
    pairs = rng.normal(size=(5, 5))
    rows = rng.normal(size=(4, 5)).astype(np.float32)
    predict: Callable[[Matrix], Any] = lambda m: np.einsum("ri,ij,rj->r", m, pairs, m, dtype=np.float64)  # noqa: E731

    found = attribute(predict, rows[0], rows[1:], order)
    np.testing.assert_allclose(found.contributions, shapley(predict, rows[0], rows[1:]), rtol=0, atol=1e-5)


def test_one_order_costs_two_evaluations_a_feature_and_background_row() -> None:
    predict, row, background = case(1, 6, n_background=4)
    asked: list[int] = []

    def counting(matrix: Matrix) -> Any:
        asked.append(len(matrix))
        return predict(matrix)

    attribute(counting, row, background, range(6))
    assert asked == [2 * 6 * 4]


def test_a_mean_weighs_parts_by_their_background() -> None:
    parts = [Attribution(0.1, np.array([0.4]), 1), Attribution(0.3, np.array([0.2]), 3)]

    found = mean_attribution(parts)
    assert [found.base, *found.contributions] == pytest.approx([0.25, 0.25])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.integers(0, 12))
def test_the_largest_contributions_and_the_others_are_all_of_them(contributions: list[float], top: int) -> None:
    places, others = largest(contributions, top)

    assert len(places) == min(top, len(contributions))
    assert sum(contributions[place] for place in places) + others == pytest.approx(sum(contributions), abs=1e-12)
    left_out = [abs(c) for place, c in enumerate(contributions) if place not in places]
    assert all(abs(contributions[place]) >= max(left_out, default=0.0) for place in places)
