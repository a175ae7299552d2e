"""Guarantees of the export: thresholds split float32 values as the doubles did, and the estimator stays as it is."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from shadow_platform.adapters.onnx_export import _floored, export_onnx
from shadow_platform.contracts.use_case import Feature
from shadow_platform.use_case_kit.models import gradient_boosting, lightgbm, logistic_regression, random_forest

N_ROWS = 8_000
FEATURES = (Feature("coarse", "Few values, beyond what float32 tells apart", unit="1"), Feature("x", "X", unit="1"))
COARSE = {
    "dates": np.arange(20_240_101, 20_240_131, dtype=np.float32),
    "neighbours": np.float32(1.7e9) + np.arange(200, dtype=np.float32) * np.spacing(np.float32(1.7e9)),
}
FAMILIES = (logistic_regression, gradient_boosting, random_forest, lightgbm)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(value=FLOATS, other=FLOATS, share=st.floats(0, 1))
@example(value=float(np.finfo(np.float32).max), other=0.0, share=0.0)
@example(value=-float(np.finfo(np.float32).max), other=0.0, share=1e-17)
def test_threshold_that_onnx_can_hold_splits_every_float32_value_as_the_double_did(value, other, share):
    threshold = value + share * (other - value)
    (held,) = _floored(np.array([threshold]))
    assert float(np.float32(held)) == held
    nearest = np.float32(threshold)
    with np.errstate(over="ignore"):  # above the largest float32 lies infinity, which goes the other way
        above = np.nextafter(nearest, np.float32(np.inf))
    for seen in (value, other, nearest, above, np.float32(held)):
        assert (float(seen) <= threshold) == (float(seen) <= held)


def _rows(coarse):
    """Rows whose label turns between neighbouring values of the first column."""
    rng = np.random.default_rng(0)
    values = np.unique(COARSE[coarse])
    place = rng.integers(0, len(values), N_ROWS)
    matrix = np.column_stack([values[place], rng.normal(size=N_ROWS)]).astype(np.float32)
    return matrix, rng.random(N_ROWS) < np.where(place % 2, 0.85, 0.15)


def _answered(estimator: Any, matrix) -> Any:
    session = onnxruntime.InferenceSession(export_onnx(estimator, len(FEATURES)))
    return session.run(None, {"input": matrix})[1][:, 1]


@pytest.mark.parametrize("coarse", COARSE)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_values_that_neighbour_in_float32_go_down_the_branch_they_were_fitted_on(family, coarse):
    matrix, labels = _rows(coarse)
    fitted = family()(FEATURES, {}, 0).fit(matrix, labels)
    expected = fitted.predict_proba(matrix)[:, 1]
    assert np.ptp(expected) > (0.0 if family is logistic_regression else 0.3)
    np.testing.assert_allclose(_answered(fitted, matrix), expected, atol=1e-5)


def test_a_thousand_levels_are_exported_as_they_were_fitted_and_give_the_same_bytes_again():
    features = (FEATURES[1], Feature("level", "Level", kind="categorical"))
    rng = np.random.default_rng(0)
    matrix = np.column_stack([rng.normal(size=N_ROWS), rng.integers(0, 1_001, N_ROWS)]).astype(np.float32)
    labels = rng.random(N_ROWS) < np.where(matrix[:, 1] % 2, 0.85, 0.15)
    fitted, again = (logistic_regression()(features, {"level": 1_000}, 0).fit(matrix, labels) for _ in range(2))
    np.testing.assert_allclose(_answered(fitted, matrix), fitted.predict_proba(matrix)[:, 1], atol=1e-5)
    assert export_onnx(fitted, 2) == export_onnx(again, 2)


def test_boosting_at_the_end_of_a_pipeline_goes_down_the_same_branches():
    matrix, labels = _rows("dates")
    same = ColumnTransformer([("same", "passthrough", [0, 1])])
    fitted = Pipeline([("same", same), ("trees", gradient_boosting()(FEATURES, {}, 0))]).fit(matrix, labels)
    np.testing.assert_allclose(_answered(fitted, matrix), fitted.predict_proba(matrix)[:, 1], atol=1e-5)


def test_export_leaves_the_fitted_estimator_as_it_is():
    matrix, labels = _rows("neighbours")
    fitted: Any = gradient_boosting()(FEATURES, {}, 0).fit(matrix, labels)
    nodes = [tree.nodes.copy() for (tree,) in fitted._predictors]
    export_onnx(fitted, len(FEATURES))
    for before, (tree,) in zip(nodes, fitted._predictors, strict=True):
        np.testing.assert_array_equal(before, tree.nodes)
    assert export_onnx(fitted, len(FEATURES)) == export_onnx(fitted, len(FEATURES))
