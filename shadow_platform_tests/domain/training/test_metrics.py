"""Guarantees of metrics and their intervals: as scikit-learn computes them, and as often right as they claim."""

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
)

from shadow_platform.domain import training
from shadow_platform_tests.domain.training.judged import days_that_differ

METRICS = importlib.import_module("shadow_platform.domain.training.metrics")
NAMES = set(METRICS.metrics(np.array([True]), np.array([0.5]), 0.5))


@st.composite
def judged_rows(draw):
    """Labels and probabilities, tied and at the ends, of one row or more, of one class or both."""
    n = draw(st.integers(1, 60))
    scores = st.sampled_from([0.0, 0.005, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0])
    return draw(hnp.arrays(bool, n)), draw(hnp.arrays(np.float64, n, elements=scores))


@settings(deadline=None)
@given(rows=judged_rows(), threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_metrics_of_tied_scores_agree_with_scikit_learn(rows, threshold):
    labels, p = rows
    found = training.metrics(labels, p, threshold)
    clipped = np.clip(p, 0.01, 0.99)
    constant = np.full(len(p), np.clip(labels.mean(), 0.01, 0.99))
    assert found["log_loss"] == pytest.approx(log_loss(labels, clipped, labels=[False, True]))
    gain = log_loss(labels, constant, labels=[False, True]) - found["log_loss"]
    assert found["log_loss_gain"] == pytest.approx(gain, abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(labels, p, labels=[False, True]))
    assert found["base_rate"] == pytest.approx(labels.mean())
    if labels.any():
        assert found["average_precision"] == pytest.approx(average_precision_score(labels, p))
    if labels.any() and not labels.all():
        assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, p))
    if labels.any() or (p >= threshold).any():
        assert found["f1"] == pytest.approx(f1_score(labels, p >= threshold, zero_division=0))


@pytest.mark.parametrize("label", [False, True])
def test_metrics_that_one_class_does_not_identify_are_nan(label):
    found = training.metrics(np.full(20, label), np.linspace(0.1, 0.4, 20), 0.5)
    unidentified = {"roc_auc"} if label else {"roc_auc", "average_precision", "f1"}
    assert {name for name, value in found.items() if np.isnan(value)} == unidentified


def test_constant_answer_of_the_base_rate_gains_nothing():
    labels = np.arange(1_000) % 5 == 0
    found = training.metrics(labels, np.full(1_000, 0.2), 0.5)
    assert found["log_loss_gain"] == pytest.approx(0, abs=1e-12)
    assert found["roc_auc"] == 0.5
    assert found["average_precision"] == pytest.approx(0.2)
    assert found["calibration_error"] == pytest.approx(0, abs=1e-12)


def test_a_worse_answer_than_the_base_rate_is_a_negative_gain():
    labels = np.arange(1_000) % 5 == 0
    assert training.metrics(labels, np.full(1_000, 0.9), 0.5)["log_loss_gain"] < -1


def _estimates(labels, p, day, seed=0, n_resamples=200):
    return training.estimates(labels, p, 0.5, day, n_resamples, 0.95, seed)


def test_draws_of_days_are_metrics_of_their_rows_laid_together():
    labels, p, day = days_that_differ(np.random.default_rng(3), 7, 40)
    counts = np.random.default_rng(0).multinomial(7, np.full(7, 1 / 7), size=5)
    totals = METRICS._totals(labels, p, 0.5, day, METRICS._levels(labels, p))
    drawn = METRICS._formulas(totals.weighted(counts.astype(float)))
    for draw, count in enumerate(counts):
        rows = np.repeat(np.arange(len(day)), count[day])
        expected = training.metrics(labels[rows], p[rows], 0.5)
        assert {name: values[draw] for name, values in drawn.items()} == pytest.approx(expected)


def test_interval_is_that_of_scikit_learn_on_drawn_rows_though_scores_are_merged():
    labels, p, day = days_that_differ(np.random.default_rng(4), 10, 1_000)
    assert len(np.unique(p)) > 2 * METRICS.MAX_LEVELS_OF_A_CLASS
    found = _estimates(labels, p, day, n_resamples=50)
    counts = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), size=50)
    weights = counts[:, day].astype(float)
    for name, score in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        spread = np.std([score(labels, p, sample_weight=weight) for weight in weights], ddof=1)
        width = spread * np.sqrt(10 / 9) * stats.t.ppf(0.975, 9)
        assert found[name].value == pytest.approx(score(labels, p))
        assert found[name].high - found[name].value == pytest.approx(width, rel=0.02)


def test_rare_positives_are_told_apart_when_scores_are_merged():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 200, 200_000)
    labels = rng.random(len(p)) < p
    kept = METRICS._levels(labels, p)
    assert len(kept) <= 2 * METRICS.MAX_LEVELS_OF_A_CLASS + 1
    merged = kept[np.searchsorted(kept, p, side="right") - 1]
    assert average_precision_score(labels, merged) == pytest.approx(average_precision_score(labels, p), rel=0.05)


def test_estimates_are_decided_by_their_seed():
    labels, p, day = days_that_differ(np.random.default_rng(1), 8, 100)
    assert _estimates(labels, p, day) == _estimates(labels, p, day)
    assert _estimates(labels, p, day) != _estimates(labels, p, day, seed=1)


def test_days_may_be_given_as_dates_in_any_order():
    labels, p, day = days_that_differ(np.random.default_rng(1), 8, 100)
    dates = np.datetime64("2024-01-01", "ns") + day * np.timedelta64(1, "D")
    assert _estimates(labels, p, dates) == _estimates(labels, p, day)


def test_fewer_than_five_days_have_values_and_no_interval():
    labels, p, day = days_that_differ(np.random.default_rng(1), 4, 100)
    found = _estimates(labels, p, day)
    assert {name: one.value for name, one in found.items()} == training.metrics(labels, p, 0.5)
    assert all(one.low is None and one.high is None for one in found.values())


def test_metric_without_a_single_hit_on_any_day_claims_no_certainty():
    labels, p, day = days_that_differ(np.random.default_rng(1), 10, 100)
    never_called = np.minimum(p, 0.4)
    found = _estimates(labels, never_called, day)
    assert (found["f1"].value, found["f1"].low, found["f1"].high) == (0.0, None, None)


def test_metric_that_many_draws_do_not_identify_has_no_interval():
    labels, p, day = days_that_differ(np.random.default_rng(1), 10, 50)
    on_one_day = labels & (day == 3)
    found = _estimates(on_one_day, p, day)
    assert found["roc_auc"].low is None
    assert found["log_loss"].low is not None


@settings(deadline=None, max_examples=60)
@given(rows=judged_rows(), n_days=st.integers(1, 9))
def test_interval_holds_its_value_and_stays_where_the_metric_can_be(rows, n_days):
    labels, p = rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _estimates(labels, p, np.arange(len(p)) % n_days, n_resamples=30)
    values = training.metrics(labels, p, 0.5)
    assert set(found) == {name for name, value in values.items() if np.isfinite(value)}
    for name, one in found.items():
        if one.low is not None:
            assert one.low <= one.value <= one.high
            lowest, highest = METRICS.RANGES.get(name, (0.0, 1.0))
            assert lowest <= one.low <= one.high <= highest


def test_nothing_is_estimated_of_no_rows():
    assert _estimates(np.array([], dtype=bool), np.array([]), np.array([])) == {}


@pytest.mark.parametrize("n_days", [5, 10])
def test_intervals_cover_what_days_without_end_would_show(n_days):
    rng = np.random.default_rng(11)
    truth = training.metrics(*days_that_differ(rng, 3_000, 50)[:2], 0.5)
    covered = dict.fromkeys(NAMES, 0)
    for seed in range(120):
        found = _estimates(*days_that_differ(rng, n_days, 50), seed=seed)
        for name in NAMES:
            covered[name] += found[name].low <= truth[name] <= found[name].high
    # A perfect model errs by nothing: the bottom of the metric's range, which bias hides from most intervals.
    assert covered.pop("calibration_error") >= 0.75 * 120
    assert min(covered.values()) >= 0.87 * 120


def test_intervals_of_rows_drawn_one_by_one_would_not_cover():
    rng = np.random.default_rng(11)
    truth = training.metrics(*days_that_differ(rng, 3_000, 100)[:2], 0.5)["log_loss"]
    covered = 0
    for seed in range(40):
        labels, p, day = days_that_differ(rng, 7, 150)
        found = _estimates(labels, p, np.arange(len(day)), seed=seed, n_resamples=50)["log_loss"]
        covered += found.low <= truth <= found.high
    assert covered < 0.75 * 40
