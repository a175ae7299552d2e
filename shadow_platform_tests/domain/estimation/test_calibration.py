"""The map from score to probability is isotonic regression's, and says how far it may be off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from shadow_platform.domain.estimation import fit_calibrator
from shadow_platform.domain.estimation.calibration import MIN_REFERENCE_ROWS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([2, 4, 16]))
def test_probabilities_are_those_of_scikit_learns_isotonic_regression(
    seed: int, is_weighted: bool, digits: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(MIN_REFERENCE_ROWS).round(digits)
    label = rng.random(MIN_REFERENCE_ROWS) < score**2
    weight = rng.uniform(1, 20, MIN_REFERENCE_ROWS) if is_weighted else None
    other = np.append(rng.uniform(-0.5, 1.5, 300), score)
    reference = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, label.astype(float), weight)

    assert fit_calibrator(score, label, weight)(other) == pytest.approx(reference.predict(other), abs=1e-12)


def test_a_reference_of_one_score_is_one_probability() -> None:
    score, label = np.full(1_000, 0.3), np.arange(1_000) % 4 == 0
    calibrator = fit_calibrator(score, label)

    assert calibrator(np.array([0.0, 0.3, 1.0])) == pytest.approx([0.25, 0.25, 0.25])
    assert sum(calibrator.error(np.array([0.3]), np.array([1.0]))) == pytest.approx(0.25 * 0.75 / 1_000)


def test_a_level_without_any_success_is_not_taken_for_certain() -> None:
    score, label = np.repeat([0.1, 0.9], 500), np.repeat([False, True], 500)
    calibrator = fit_calibrator(score, label)

    assert 0 < sum(calibrator.error(np.array([0.1]), np.array([1.0]))) < 1 / 500**2


def test_rows_that_stand_for_many_make_the_map_less_certain() -> None:
    rng = np.random.default_rng(0)
    score, gradient = rng.random(2_000), np.full(2_000, 1 / 2_000)
    label, weight = rng.random(2_000) < score, np.where(rng.random(2_000) < 0.1, 20.0, 1.0)

    plain, weighted = (sum(fit_calibrator(score, label, w).error(score, gradient)) for w in (None, weight))

    assert weighted > 3 * plain
