"""Guarantees of the quality gate: a limit fails on evidence only, and who is refused is told why and what to do."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.model_card import MetricEstimate, SegmentMetrics
from shadow_platform.contracts.use_case import QualityPolicy, TrainingPolicy
from shadow_platform.contracts.verdicts import Outcome, ParityReport
from shadow_platform.domain import training
from shadow_platform_tests.domain.training.judged import days_that_differ

POLICY = QualityPolicy(min_roc_auc=0.55, min_log_loss_gain=0.0, max_calibration_error=0.1)
ANSWERS_ALIKE = training.parity(np.full(500, 0.3), np.full(500, 0.3), 0.5)


def _overall(labels, p, day):
    return training.segment_metrics(labels, p, 0.5, pd.DataFrame(index=range(len(p))), [], day, TrainingPolicy(), 0)[0]


def _outcomes(criteria):
    return {criterion.name: criterion.outcome for criterion in criteria}


def _outcome(metric, value, low, high):
    """Outcome of one metric of a thousand rows."""
    estimate = MetricEstimate(value=value, low=low, high=high)
    overall = SegmentMetrics(feature=None, level=None, n=1_000, n_positive=200, metrics={metric: estimate})
    return _outcomes(training.quality(overall, POLICY))[metric]


def test_model_that_guesses_is_archived():
    labels, _, day = days_that_differ(np.random.default_rng(0), 14, 300)
    guesses = np.random.default_rng(1).uniform(0.5, 0.9, len(labels))
    criteria = training.quality(_overall(labels, guesses, day), POLICY)
    assert set(_outcomes(criteria).values()) == {Outcome.FAIL}
    reason = training.archived_reason(criteria, ANSWERS_ALIKE)
    assert reason is not None
    assert reason.startswith("ROC-AUC is 0.4965 (interval 0.4767 to 0.5164)")
    assert f"on {len(labels):,} evaluation rows, at least 0.55 is wanted" in reason
    assert reason.endswith("or loosen the use case's quality policy with a reason")


def test_model_with_the_right_probabilities_becomes_a_version():
    criteria = training.quality(_overall(*days_that_differ(np.random.default_rng(0), 14, 300)), POLICY)
    assert set(_outcomes(criteria).values()) == {Outcome.PASS}
    assert training.archived_reason(criteria, ANSWERS_ALIKE) is None


def test_model_that_ranks_well_and_lies_about_chances_fails_on_calibration_alone():
    labels, p, day = days_that_differ(np.random.default_rng(0), 14, 300)
    criteria = training.quality(_overall(labels, p**0.5, day), POLICY)
    assert _outcomes(criteria)["roc_auc"] is Outcome.PASS
    assert _outcomes(criteria)["calibration_error"] is Outcome.FAIL
    assert "expected calibration error is" in (training.archived_reason(criteria, ANSWERS_ALIKE) or "")


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.60, 0.58, 0.62, Outcome.PASS),
        (0.56, 0.50, 0.62, Outcome.PASS),
        (0.55, None, None, Outcome.PASS),
        (0.54, 0.50, 0.55, Outcome.INSUFFICIENT),
        (0.54, 0.50, 0.549, Outcome.FAIL),
        (0.54, None, None, Outcome.FAIL),
    ],
)
def test_minimum_fails_only_when_the_whole_interval_is_below_it(value, low, high, outcome):
    assert _outcome("roc_auc", value, low, high) is outcome


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.05, 0.02, 0.20, Outcome.PASS),
        (0.10, None, None, Outcome.PASS),
        (0.12, 0.10, 0.20, Outcome.INSUFFICIENT),
        (0.12, 0.101, 0.20, Outcome.FAIL),
        (0.12, None, None, Outcome.FAIL),
    ],
)
def test_maximum_fails_only_when_the_whole_interval_is_above_it(value, low, high, outcome):
    assert _outcome("calibration_error", value, low, high) is outcome


def test_metric_that_is_not_identified_is_insufficient_and_archives_nothing():
    overall = SegmentMetrics(feature=None, level=None, n=12, n_positive=0, metrics={})
    criteria = training.quality(overall, POLICY)
    assert set(_outcomes(criteria).values()) == {Outcome.INSUFFICIENT}
    assert criteria[0].reason == "ROC-AUC is not identified by 12 evaluation rows, at least 0.55 is wanted"
    assert training.archived_reason(criteria, ANSWERS_ALIKE) is None


def test_limit_that_is_none_is_no_criterion():
    overall = _overall(*days_that_differ(np.random.default_rng(0), 7, 100))
    policy = QualityPolicy(min_roc_auc=None, min_log_loss_gain=None, max_calibration_error=0.1)
    assert [criterion.name for criterion in training.quality(overall, policy)] == ["calibration_error"]


@given(p=st.floats(0, 1), seed=st.integers(0, 5))
def test_constant_answer_never_beats_the_base_rate(p, seed):
    labels, _, day = days_that_differ(np.random.default_rng(seed), 7, 30)
    overall = _overall(labels, np.full(len(labels), p), day)
    assert overall.metrics["log_loss_gain"].value <= 1e-12


def test_export_that_answers_otherwise_is_archived_with_its_numbers():
    expected = np.full(10_000, 0.3)
    answered = expected + np.where(np.arange(10_000) < 50, 0.25, 0.0)
    reason = training.archived_reason((), training.parity(expected, answered, 0.5))
    assert reason == (
        "the ONNX model answers up to 0.25 off the fitted one (at most 0.001), within 1e-5 on 99.5000% of 10,000 "
        "evaluation rows (at least 99.99%), and flips 50 decisions (none allowed); look at the parity check of the run "
        "and use a model family whose export answers as it does"
    )


def test_export_that_was_never_compared_is_archived():
    nothing = ParityReport(
        n=0, max_abs_diff=0.0, share_within_1e5=0.0, flipped_decisions=0, outcome=Outcome.INSUFFICIENT
    )
    assert "no evaluation row shows whether" in (training.archived_reason((), nothing) or "")
