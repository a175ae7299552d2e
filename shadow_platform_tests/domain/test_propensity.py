"""Inverse-propensity means are plain means without censoring, unbiased with it, and no number where nothing can be."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from shadow_platform.contracts.use_case import DecisionCosts
from shadow_platform.domain.estimation import (
    effective_sample_size,
    hajek,
    horvitz_thompson,
    performance_by_day,
    realise,
)

VALUES = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
PROPENSITIES = st.sampled_from([0.05, 0.25, 0.5, 1.0])


@given(st.lists(VALUES, min_size=2, max_size=40))
def test_with_every_outcome_seen_both_estimates_are_the_mean_and_its_interval(values: list[float]) -> None:
    sample, seen, ones = np.array(values), np.ones(len(values), dtype=bool), np.ones(len(values))

    for found in (horvitz_thompson(sample, seen, ones), hajek(sample, seen, ones)):
        assert found.value == pytest.approx(sample.mean(), abs=1e-9)
        assert found.low is not None
        assert found.value is not None
        normal = stats.norm.ppf(0.975) * stats.sem(sample)
        assert found.value - found.low >= normal - 1e-9
        assert found.effective_n == pytest.approx(len(values))


@given(st.lists(VALUES, min_size=1, max_size=40), st.data())
def test_equal_propensities_give_the_mean_of_what_is_seen(values: list[float], data: st.DataObject) -> None:
    n = len(values)
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    sample, quarter = np.array(values), np.full(n, 0.25)

    if seen.any():
        assert hajek(sample, seen, quarter).value == pytest.approx(sample[seen].mean(), abs=1e-9)
        total = sample[seen].sum() / 0.25 / n
        assert horvitz_thompson(sample, seen, quarter).value == pytest.approx(total, abs=1e-9)
    else:
        assert hajek(sample, seen, quarter).value is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(VALUES, PROPENSITIES), min_size=1, max_size=6))
def test_the_horvitz_thompson_mean_over_every_outcome_of_chance_is_the_true_mean(
    rows: list[tuple[float, float]],
) -> None:
    values, propensity = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    expectation = 0.0
    for outcome in product([False, True], repeat=len(rows)):
        seen = np.array(outcome)
        chance = float(np.prod(np.where(seen, propensity, 1 - propensity)))
        expectation += chance * (horvitz_thompson(values, seen, propensity).value or 0.0)

    assert expectation == pytest.approx(values.mean(), abs=1e-9)


@given(st.lists(st.tuples(VALUES, PROPENSITIES, st.booleans()), min_size=3, max_size=30), st.floats(0.01, 50))
def test_estimates_and_intervals_scale_with_the_unit(rows: list[tuple[float, float, bool]], scale: float) -> None:
    values, propensity = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    seen = np.array([row[2] for row in rows])

    for estimator in (horvitz_thompson, hajek):
        one, many = estimator(values, seen, propensity), estimator(scale * values, seen, propensity)
        if one.value is not None:
            scaled = [None if part is None else scale * part for part in (one.value, one.low, one.high)]
            assert [many.value, many.low, many.high] == pytest.approx(scaled, rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(VALUES, PROPENSITIES), min_size=1, max_size=30), VALUES)
def test_the_value_of_a_hidden_outcome_is_never_read(rows: list[tuple[float, float]], poison: float) -> None:
    values, propensity = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    seen = propensity > 0.1
    poisoned = np.where(seen, values, poison)

    assert hajek(values, seen, propensity) == hajek(poisoned, seen, propensity)
    assert hajek(values, seen, propensity) == hajek(np.where(seen, values, np.nan), seen, propensity)


def test_one_request_that_can_never_be_seen_leaves_no_number_but_its_share() -> None:
    seen, propensity = np.array([True, True, True, False]), np.array([1.0, 1.0, 0.5, 0.0])

    for found in (hajek(np.ones(4), seen, propensity), horvitz_thompson(np.ones(4), seen, propensity)):
        assert (found.value, found.low, found.high) == (None, None, None)
        assert (found.n, found.n_seen, found.share_not_identifiable) == (4, 3, 0.25)


def test_the_self_normalised_interval_is_that_of_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    values, propensity = rng.normal(3, 1, 2_000), rng.choice([0.3, 1.0], 2_000)
    seen = rng.random(2_000) < propensity
    weight = np.where(seen, 1 / propensity, 0.0)
    mean = np.average(values, weights=weight)
    deviation = np.sqrt(np.sum((weight * (values - mean)) ** 2)) / weight.sum()

    found = hajek(values, seen, propensity)

    assert found.value == pytest.approx(mean)
    assert found.high == pytest.approx(mean + 1.96 * deviation, rel=1e-3)


def test_rows_that_repeat_within_a_day_do_not_narrow_the_interval_of_days() -> None:
    rng = np.random.default_rng(1)
    days = rng.normal(0, 1, 30)
    once, often = days, np.repeat(days, 50)
    everything = np.ones(len(often), dtype=bool)

    alone = hajek(once, everything[:30], np.ones(30))
    clustered = hajek(often, everything, np.ones(len(often)), np.repeat(np.arange(30), 50))

    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))


@given(st.integers(1, 200), st.integers(0, 200))
def test_rows_without_weight_add_nothing_to_the_effective_sample(n: int, empty: int) -> None:
    assert effective_sample_size(np.append(np.full(n, 7.0), np.zeros(empty))) == pytest.approx(n)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.02, 0.2, 0.5, 0.8]), st.booleans(), st.sampled_from([1.0, 4.0, 20.0])),
        min_size=2,
        max_size=60,
    )
)
def test_weighted_metrics_agree_with_scikit_learn(rows: list[tuple[float, bool, float]]) -> None:
    score, label = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    weight, prediction = np.array([row[2] for row in rows]), np.array([row[0] for row in rows]) >= 0.5
    found = realise(score, prediction, label, weight)

    assert found.brier == pytest.approx(metrics.brier_score_loss(label, score, sample_weight=weight))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(label, prediction, sample_weight=weight))
    if label.any() and not label.all():
        assert found.roc_auc == pytest.approx(metrics.roc_auc_score(label, score, sample_weight=weight))
    if prediction.any():
        assert found.precision == pytest.approx(metrics.precision_score(label, prediction, sample_weight=weight))
        assert found.f1 == pytest.approx(metrics.f1_score(label, prediction, sample_weight=weight))


def day(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "use_case": "tiny",
            "requested_at": pd.Timestamp("2013-03-01T01:00Z"),
            "model_version": "1",
            "probability": [0.2, 0.6, 0.7, 0.9],
            "prediction": [False, True, True, True],
            "label": pd.array([False, True, None, None], dtype="boolean"),
            "is_hidden": [False, False, True, True],
            "label_propensity": [1.0, 0.25, 0.25, 0.25],
        }
    )
    return frame.assign(**columns)


def judged(cohort: pd.DataFrame) -> dict[str, Any]:
    costs = DecisionCosts(false_positive=5.0, false_negative=45.0, currency="USD")
    rows = performance_by_day(cohort, "champion", datetime(2013, 3, 5, tzinfo=UTC), costs=costs)
    return {str(name): value for name, value in rows.iloc[0].items()}


def test_a_day_with_exploration_is_weighted_by_inverse_propensities() -> None:
    found = judged(day())

    assert (found["estimator"], found["n"], found["n_labelled"], found["n_censored"]) == ("inverse_propensity", 4, 2, 2)
    assert found["base_rate"] == pytest.approx(4 / 4)
    assert found["brier"] == pytest.approx((0.2**2 + 4 * 0.4**2) / 4)
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + 4 * np.log(0.6)) / 4)
    assert found["cost_per_request"] == 0.0


def test_few_explored_requests_give_means_that_can_be_averaged_but_no_ratio_or_interval() -> None:
    sparse = judged(day())
    rich = judged(pd.concat([day()] * 5, ignore_index=True))

    assert rich["log_loss"] == pytest.approx(sparse["log_loss"])
    for name in ("f1", "roc_auc", "log_loss_low", "log_loss_high"):
        assert pd.isna(sparse[name])
        assert not pd.isna(rich[name])
    assert rich["f1"] == 1.0


def test_the_mean_of_days_is_unbiased_though_most_of_them_explored_nothing() -> None:
    rng = np.random.default_rng(3)
    n, share, days = 40, 0.05, 800
    score = np.tile([0.1] * 36 + [0.7] * 4, (days, 1))
    label = rng.random((days, n)) < score
    positive = score >= 0.5
    is_hidden = positive & (rng.random((days, n)) >= share)
    cohort = pd.DataFrame(
        {
            "use_case": "tiny",
            "requested_at": pd.Timestamp("2013-03-01", tz="UTC") + pd.to_timedelta(np.repeat(np.arange(days), n), "D"),
            "model_version": "1",
            "probability": score.ravel(),
            "prediction": positive.ravel(),
            "label": pd.array(label.ravel(), dtype="boolean"),
            "is_hidden": is_hidden.ravel(),
            "label_propensity": np.where(positive, share, 1.0).ravel(),
        }
    )
    cohort["label"] = cohort["label"].mask(cohort["is_hidden"])

    rate = performance_by_day(cohort, "champion", datetime(2024, 1, 1, tzinfo=UTC))["base_rate"]

    assert (~is_hidden & positive).any(axis=1).mean() < 0.25
    assert rate.mean() == pytest.approx(0.16, abs=4 * rate.std() / np.sqrt(days))
    assert cohort["label"].mean() < 0.12


def test_a_day_with_a_request_that_could_not_be_seen_has_no_metrics() -> None:
    found = judged(day(label_propensity=[1.0, 0.25, 0.25, 0.0]))

    assert (found["estimator"], found["n_labelled"], found["n_censored"]) == ("not_identifiable", 2, 2)
    named = ("base_rate", "roc_auc", "log_loss", "log_loss_low", "log_loss_high", "brier", "f1", "cost_per_request")
    assert [name for name in named if not pd.isna(found[name])] == []
    assert found["estimated_f1"] is not None


def test_a_day_that_has_not_matured_names_no_estimator() -> None:
    found = judged(day(label=pd.array([None] * 4, dtype="boolean"), is_hidden=None, label_propensity=np.nan))

    assert (found["estimator"], found["n"], found["n_labelled"], found["n_censored"]) == (None, 4, 0, 0)
    assert pd.isna(found["log_loss"])


def test_without_hidden_labels_a_day_is_judged_on_all_labels_as_ever() -> None:
    label = pd.array([False, True, False, None], dtype="boolean")
    found = judged(day(label=label, is_hidden=False, label_propensity=1.0))
    plain = realise(np.array([0.2, 0.6, 0.7]), np.array([False, True, True]), np.array([False, True, False]))

    assert (found["estimator"], found["n_labelled"], found["n_censored"]) == ("all_labels", 3, 0)
    assert (found["log_loss"], found["roc_auc"]) == (plain.log_loss, plain.roc_auc)
    assert (found["brier"], found["f1"]) == (plain.brier, plain.f1)
    assert found["base_rate"] == pytest.approx(1 / 3)
    assert found["cost_per_request"] == pytest.approx(5 / 3)


def test_the_interval_of_the_log_loss_holds_the_log_loss() -> None:
    found = judged(pd.concat([day(), day(label=pd.array([True, False, False, True]), is_hidden=False)] * 2))
    low, loss, high = (found[name] for name in ("log_loss_low", "log_loss", "log_loss_high"))

    assert low < loss < high
