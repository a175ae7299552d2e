"""Guarantees of declared directions: a family that keeps them passes, one that does not is found with its share."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from shadow_platform.adapters.bundle import OnnxModel
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.use_case import Feature
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain import training
from shadow_platform_tests.domain.training.choosing import FAMILIES, FEATURES, train

UP, DOWN = Feature("x", "X", unit="1", monotone="increasing"), Feature("x", "X", unit="1", monotone="decreasing")
# The label rises with the amount: what is declared here is the opposite of what the data say.
AGAINST = (replace(FEATURES[0], monotone="decreasing"), *FEATURES[1:])


def _matrix(seed, n=500):
    return np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000), slope=st.floats(0.1, 3.0), bend=st.floats(-1.0, 1.0))
def test_model_that_only_rises_passes_up_and_fails_down(seed, slope, bend):
    def score(rows):
        # Bounded, for where a probability is all but 1 nothing rises any more.
        return expit(slope * rows[:, 0].astype(float) + bend * np.cos(rows[:, 1].astype(float)))

    matrix, other = _matrix(seed), Feature("y", "Y", unit="1")
    (up,) = training.monotonicity((UP, other), matrix, score)
    (down,) = training.monotonicity((DOWN, other), matrix, score)
    assert (up.name, up.outcome, up.value, up.limit, up.n) == ("monotone_x", Outcome.PASS, 0.0, 0.0, 500)
    assert (down.outcome, down.value) == (Outcome.FAIL, 1.0)


def test_share_is_that_of_the_rows_that_move_the_wrong_way():
    def score(rows):
        return expit(np.where(rows[:, 1] > 0, -1.0, 1.0) * rows[:, 0].astype(float))

    matrix = _matrix(0, 1_000)
    (found,) = training.monotonicity((UP, Feature("y", "Y", unit="1")), matrix, score)
    assert found.value == np.mean(matrix[:, 1] > 0)
    assert "declared increasing in x" in found.reason
    assert f"{found.value:.1%} of 1000 rows" in found.reason


def test_feature_that_never_varies_tells_nothing():
    (found,) = training.monotonicity((UP,), np.ones((50, 1), dtype=np.float32), lambda rows: rows[:, 0].astype(float))
    assert (found.outcome, found.value) == (Outcome.INSUFFICIENT, None)
    assert "x is 1 in every row" in found.reason


@pytest.mark.parametrize("other", [0.0, 2.0])
def test_one_row_of_another_value_is_enough_to_find_a_wrong_direction(other):
    matrix = np.ones((500, 1), dtype=np.float32)
    matrix[7] = other
    (found,) = training.monotonicity((DOWN,), matrix, lambda rows: expit(rows[:, 0].astype(float)))
    assert (found.outcome, found.value) == (Outcome.FAIL, 1.0)


def test_nothing_is_measured_without_a_declared_direction():
    assert (
        training.monotonicity(FEATURES, np.ones((9, 4), dtype=np.float32), lambda rows: rows[:, 0].astype(float)) == ()
    )


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.name)
def test_trees_keep_a_direction_that_the_data_contradict_and_a_line_is_found_out(spec):
    trained = train(spec, features=AGAINST)
    model = OnnxModel(export_onnx(trained.estimator, len(FEATURES)), trained.calibration)
    (found,) = training.monotonicity(AGAINST, trained.matrix, model.predict)
    assert found.outcome is (Outcome.FAIL if spec.name == "logistic_regression" else Outcome.PASS), found
    (free,) = training.monotonicity(AGAINST, trained.matrix, _predict(train(spec)))
    assert free.outcome is Outcome.FAIL
    assert free.value is not None
    assert free.value > 0.9


def _predict(trained):
    return lambda rows: training.raw_scores(trained.estimator, rows)
