"""Intervals of estimates hold what the labels say as often as they promise; gradients are those of the metrics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.estimation import METRICS, Array, auc_interval, estimate, expected_performance, realise
from shadow_platform.domain.estimation.calibration import identity
from shadow_platform.domain.estimation.intervals import MIN_EXPECTED, gradients_of
from shadow_platform_tests.domain.estimation.worlds import Sample, world


def coverage(n_draws: int, between: float, *, by_day: bool = True, days: int = 10) -> dict[str, float]:
    """Share of draws in which the labels of a day lie in the interval of each metric."""
    rng, held = np.random.default_rng(3), np.zeros(len(METRICS))
    for _ in range(n_draws):
        calibrator = world(rng, days, 300, between=between).calibrator(by_day=by_day)
        today = world(rng, 1, 600, between=between)
        true = realise(today.score, today.prediction, today.label)
        _, intervals = expected_performance(today.score, today.prediction, calibrator)
        for place, name in enumerate(METRICS):
            low, high, value = intervals[name].low, intervals[name].high, getattr(true, name)
            assert low is not None
            assert high is not None
            held[place] += low <= value <= high
    return dict(zip(METRICS, held / n_draws, strict=True))


def test_intervals_hold_the_realised_metric_in_about_95_of_100_days() -> None:
    found = coverage(300, between=0.0)

    assert all(0.92 <= share <= 0.985 for share in found.values()), found


def test_intervals_know_that_rows_of_a_day_are_alike() -> None:
    aware, naive = coverage(200, between=0.4), coverage(200, between=0.4, by_day=False)

    assert min(aware.values()) > 0.88, aware
    assert naive["log_loss"] < 0.85, naive
    assert aware["log_loss"] > naive["log_loss"] + 0.08


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.55, 0.8]), st.floats(0.05, 0.95)), min_size=20, max_size=40),
    st.integers(0, 19),
)
def test_a_gradient_is_what_a_metric_moves_by(rows: list[tuple[float, float]], place: int) -> None:
    score, probability = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    decision, step = score >= 0.5, 1e-6
    up, down = probability.copy(), probability.copy()
    up[place], down[place] = up[place] + step, down[place] - step
    gradients = gradients_of(score, decision.astype(float), probability, estimate(score, decision, probability))

    for name, gradient in gradients.items():
        moved = getattr(estimate(score, decision, up), name) - getattr(estimate(score, decision, down), name)
        assert gradient[place] == pytest.approx(moved / (2 * step), abs=1e-6), name


def test_an_interval_knows_the_error_of_its_calibration() -> None:
    """Over many references, the estimate scatters as its error says."""
    rng = np.random.default_rng(5)
    today = world(rng, 1, 2_000, mean=-0.5)
    gradient = np.full(len(today.score), 1 / len(today.score))
    fits = [world(rng, 5, 200).calibrator() for _ in range(150)]
    expected = np.mean([sum(fit.error(today.score, gradient)) for fit in fits])

    assert np.var([fit(today.score).mean() for fit in fits]) == pytest.approx(expected, rel=0.35)


def test_likeness_of_days_is_found_and_not_invented() -> None:
    rng = np.random.default_rng(6)

    assert world(rng, 60, 300, between=0.5).calibrator().likeness == pytest.approx(0.04, abs=0.02)
    assert world(rng, 60, 300).calibrator().likeness < 0.002


def test_few_expected_positives_give_ratios_no_interval() -> None:
    score = np.full(40, 0.9 * MIN_EXPECTED / 40)
    _, found = expected_performance(score, score >= 0.5, identity())

    assert (found["roc_auc"].low, found["recall"].low, found["precision"].low) == (None, None, None)
    assert found["log_loss"].low is not None


def test_no_requests_give_no_interval() -> None:
    nothing: Array = np.zeros(0)
    expected, found = expected_performance(nothing, np.zeros(0, dtype=bool), identity())

    assert expected.n == 0
    assert {interval.low for interval in found.values()} == {None}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=80))
def test_an_interval_holds_its_estimate_and_stays_in_range(scores: list[float]) -> None:
    score = np.array(scores)
    expected, found = expected_performance(score, score >= 0.5, identity())

    for name, interval in found.items():
        if interval.low is not None and interval.high is not None:
            assert 0 <= interval.low <= getattr(expected, name) + 1e-9
            assert interval.high >= getattr(expected, name) - 1e-9
            assert name == "log_loss" or interval.high <= 1


def test_the_interval_of_a_realised_area_is_delongs() -> None:
    sample = world(np.random.default_rng(7), 1, 300)
    positive, negative = sample.score[sample.label], sample.score[~sample.label]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    spread = wins.mean(axis=1).var() / len(positive) + wins.mean(axis=0).var() / len(negative)

    found = auc_interval(sample.score, sample.label)

    assert found.low == pytest.approx(wins.mean() - 1.959964 * np.sqrt(spread))
    assert found.high == pytest.approx(wins.mean() + 1.959964 * np.sqrt(spread))


def test_one_label_of_a_class_gives_the_area_no_interval() -> None:
    found = auc_interval(np.array([0.1, 0.2, 0.3]), np.array([True, False, False]))

    assert (found.low, found.high) == (None, None)


def test_f1_follows_covariate_shift_by_which_no_change_would_err() -> None:
    """The error of the estimate and that of assuming no change, over shifts of the requests alone."""
    rng, errors, unchanged = np.random.default_rng(8), [], []
    for shift in (-1.5, -0.5, 0.5, 1.5):
        reference, current = world(rng, 10, 2_000), world(rng, 1, 20_000, mean=-1.0 + shift)
        expected, _ = expected_performance(current.score, current.prediction, reference.calibrator())
        errors.append(abs(_f1(current) - (expected.f1 or 0)))
        unchanged.append(abs(_f1(current) - _f1(reference)))

    assert np.mean(errors) < 0.02
    assert np.mean(unchanged) > 0.1


def _f1(sample: Sample) -> float:
    found = realise(sample.score, sample.prediction, sample.label).f1
    assert found is not None
    return found
