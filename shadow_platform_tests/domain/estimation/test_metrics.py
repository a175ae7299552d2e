"""Estimates without labels follow covariate shift; realised metrics agree with scikit-learn."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from shadow_platform.contracts.tables import PERFORMANCE_DAILY
from shadow_platform.domain.estimation import (
    Array,
    estimate,
    fit_calibrator,
    performance_by_day,
    realise,
)


def scored(rng: np.random.Generator, n: int, mean: float, spread: float) -> tuple[Array, np.ndarray]:
    """Miscalibrated scores of a population, and labels that depend on the score alone."""
    logit = rng.normal(mean, spread, n)
    label = rng.random(n) < 1 / (1 + np.exp(-logit))
    return np.asarray(1 / (1 + np.exp(-0.6 * logit + 0.3)), dtype=np.float64), label


def test_estimates_follow_covariate_shift_where_no_change_would_be_wrong() -> None:
    rng = np.random.default_rng(0)
    reference, reference_label = scored(rng, 20_000, -1.0, 1.0)
    current, label = scored(rng, 20_000, 0.6, 1.6)
    calibrate = fit_calibrator(reference, reference_label)

    expected = estimate(current, current >= 0.5, calibrate(current))
    true = realise(current, current >= 0.5, label)
    before = realise(reference, reference >= 0.5, reference_label)

    assert expected.f1 == pytest.approx(true.f1, abs=0.015)
    assert expected.roc_auc == pytest.approx(true.roc_auc, abs=0.015)
    assert before.f1 is not None
    assert true.f1 is not None
    assert abs(before.f1 - true.f1) > 0.1


def test_estimates_are_blind_to_concept_drift() -> None:
    rng = np.random.default_rng(1)
    reference, reference_label = scored(rng, 20_000, -0.5, 1.5)
    current, label = scored(rng, 20_000, -0.5, 1.5)
    calibrate = fit_calibrator(reference, reference_label)

    expected = estimate(current, current >= 0.5, calibrate(current)).roc_auc
    true = realise(current, current >= 0.5, ~label).roc_auc

    assert expected is not None
    assert true is not None
    assert expected - true > 0.3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.02, 0.2, 0.5, 0.5001, 0.8, 0.97]), st.booleans()), min_size=2))
def test_realised_metrics_agree_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    score, label = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    prediction = score >= 0.5
    found = realise(score, prediction, label)

    assert found.brier == pytest.approx(metrics.brier_score_loss(label, score))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(label, prediction))
    assert found.log_loss == pytest.approx(metrics.log_loss(label, np.clip(score, 0.01, 0.99), labels=[False, True]))
    if label.any() and not label.all():
        assert found.roc_auc == pytest.approx(metrics.roc_auc_score(label, score))
    else:
        assert found.roc_auc is None
    if prediction.any() or label.any():
        assert found.f1 == pytest.approx(metrics.f1_score(label, prediction))
    else:
        assert found.f1 is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_estimates_stay_within_their_range(scores: list[float]) -> None:
    score = np.array(scores)
    found = estimate(score, score >= 0.5, score)

    for value in (found.roc_auc, found.f1, found.accuracy, found.precision, found.recall, found.brier):
        assert value is None or -1e-9 <= value <= 1 + 1e-9


@pytest.mark.parametrize("label", [np.zeros(600, dtype=bool), np.ones(600, dtype=bool)])
def test_a_reference_of_one_class_leaves_the_score_as_it_is(label: np.ndarray) -> None:
    score = np.linspace(0, 1, 600)

    assert fit_calibrator(score, label)(score).tolist() == score.tolist()


def test_no_rows_give_no_numbers() -> None:
    found = realise(np.array([]), np.array([], dtype=bool), np.array([], dtype=bool))

    assert (found.n, found.f1, found.roc_auc) == (0, None, None)


def test_a_day_reports_labelled_and_unlabelled_predictions() -> None:
    at = pd.to_datetime(["2013-03-01T01:00Z", "2013-03-01T23:59Z", "2013-03-02T00:00Z"], format="ISO8601")
    cohort = pd.DataFrame(
        {
            "use_case": "tiny",
            "requested_at": at,
            "model_version": "1",
            "probability": [0.2, 0.8, 0.6],
            "prediction": [False, True, True],
            "label": pd.array([False, True, None], dtype="boolean"),
            "is_hidden": False,
            "label_propensity": [1.0, 1.0, None],
        }
    )

    rows = performance_by_day(cohort, "champion", datetime(2013, 3, 5, tzinfo=UTC))

    assert rows.columns.tolist() == list(PERFORMANCE_DAILY.column_names)
    assert rows["n"].tolist() == [2, 1]
    assert rows["n_labelled"].tolist() == [2, 0]
    assert rows["f1"].tolist()[0] == 1.0
    assert rows.loc[1, ["roc_auc", "log_loss", "brier", "f1", "base_rate"]].isna().all()
    assert rows.loc[1, "estimated_f1"] == pytest.approx(2 * 0.6 / 1.6)


def test_a_day_without_predictions_has_no_row() -> None:
    empty = pd.DataFrame(
        {
            "use_case": pd.Series(dtype=str),
            "requested_at": pd.Series(dtype="datetime64[us, UTC]"),
            "model_version": pd.Series(dtype=str),
            "probability": pd.Series(dtype=float),
            "prediction": pd.Series(dtype=bool),
            "label": pd.Series(dtype="boolean"),
            "is_hidden": pd.Series(dtype=bool),
            "label_propensity": pd.Series(dtype=float),
        }
    )

    assert performance_by_day(empty, "champion", datetime(2013, 3, 5, tzinfo=UTC)).empty
