"""Guarantees of the model families: hyperparameters by name, weights of rows, searches that begin at the default."""

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Feature
from shadow_platform.use_case_kit import models
from shadow_platform.use_case_kit.models import gradient_boosting, lightgbm, logistic_regression, random_forest

FEATURES = (Feature("x", "X", unit="1"), Feature("level", "Level", kind="categorical"))
N_LEVELS = {"level": 3}
ALL = (logistic_regression, gradient_boosting, random_forest, lightgbm)
_each = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)


def _rows(n=4_000):
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.normal(size=n), rng.integers(0, 4, n)]).astype(np.float32)
    return matrix, rng.random(n) < 0.1 + 0.1 * (matrix[:, 0] > 0)


@_each
def test_unknown_hyperparameter_is_named_with_those_that_exist(family):
    message = (
        rf"{family.name} has no hyperparameter 'depth' \(given: 3\); it has: .*positive_weight.*; correct the name"
    )
    with pytest.raises(UseCaseError, match=message):
        family(depth=3)
    with pytest.raises(UseCaseError, match=message):
        family()(FEATURES, N_LEVELS, 0, depth=3)


def test_hyperparameters_of_a_call_win_over_those_of_the_builder_and_these_over_the_family_s():
    builder = gradient_boosting(max_iter=7, learning_rate=0.5)
    made: Any = builder(FEATURES, N_LEVELS, 4, learning_rate=0.25)
    found = made.get_params()
    assert (found["max_iter"], found["learning_rate"], found["random_state"]) == (7, 0.25, 4)
    assert found["max_leaf_nodes"] == gradient_boosting.parameters["max_leaf_nodes"]
    assert builder.parameters == {**gradient_boosting.parameters, "max_iter": 7, "learning_rate": 0.5}


@_each
def test_positive_rows_weigh_what_they_are_said_to_weigh(family):
    matrix, labels = _rows()
    share = labels.mean()
    for weight in (1.0, 5.0):
        fitted = family()(FEATURES, N_LEVELS, 0, positive_weight=weight).fit(matrix, labels)
        expected = weight * share / (weight * share + 1 - share)
        assert fitted.predict_proba(matrix)[:, 1].mean() == pytest.approx(expected, abs=0.05)


@_each
def test_rows_that_weigh_alike_are_fitted_as_if_no_weight_were_given(family):
    matrix, labels = _rows(500)
    plain = family()(FEATURES, N_LEVELS, 0).fit(matrix, labels)
    same = family()(FEATURES, N_LEVELS, 0, positive_weight=1).fit(matrix, labels)
    np.testing.assert_array_equal(plain.predict_proba(matrix), same.predict_proba(matrix))


def test_a_thousand_levels_cost_the_memory_of_what_is_seen_of_them():
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.normal(size=20_000), rng.integers(0, 1_001, 20_000)]).astype(np.float32)
    labels = rng.random(20_000) < 0.2
    estimator = logistic_regression()(FEATURES, {"level": 1_000}, 0)
    tracemalloc.start()
    try:
        estimator.fit(matrix, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 1_000  # a quarter of one dense copy in float32


@_each
def test_search_space_of_a_family_holds_its_defaults(family):
    space = getattr(models, f"{family.name.upper()}_SEARCH")
    assert space
    for name, allowed in space.items():
        assert allowed.low <= family.parameters[name] <= allowed.high, name


def test_lightgbm_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    builder = lightgbm()
    with pytest.raises(UseCaseError, match=r"not installed .* pip install 'shadow-platform\[lightgbm\]'"):
        builder(FEATURES, N_LEVELS, 0)
