"""Guarantees of permutation importance: scikit-learn's numbers, useless features near nothing, the same each time."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss

from shadow_platform.domain import training

NAMES = ("useful", "weak", "useless")
WEIGHTS = np.array([1.5, 0.4, 0.0])


def _score(matrix):
    return expit(matrix @ WEIGHTS)


def _judged(n=4_000, n_days=10, seed=0, noise_by_day=0.5):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, 3)).astype(np.float32)
    day = np.arange(n) % n_days
    labels = rng.random(n) < expit(matrix @ WEIGHTS + rng.normal(0, noise_by_day, n_days)[day])
    return matrix, labels, day


class _Fixed:
    """The score as a classifier of scikit-learn."""

    classes_ = np.array([False, True])

    def fit(self, matrix, labels):
        return self

    def predict_proba(self, matrix):
        p = np.clip(_score(matrix), 0.01, 0.99)
        return np.stack([1 - p, p], axis=1)


def _neg_log_loss(model, matrix, labels):
    return -log_loss(labels, model.predict_proba(matrix))


def test_importance_is_that_of_scikit_learn():
    matrix, labels, day = _judged()
    found = {one.feature: one.log_loss_increase for one in training.importances(_score, matrix, labels, NAMES, day, 0)}
    other = permutation_importance(_Fixed(), matrix, labels, scoring=_neg_log_loss, n_repeats=10, random_state=1)
    for name, mean, spread in zip(NAMES, other.importances_mean, other.importances_std, strict=True):
        assert found[name].value == pytest.approx(mean, abs=4 * spread + 1e-12)


def test_largest_comes_first_and_a_feature_the_model_ignores_is_worth_nothing():
    matrix, labels, day = _judged()
    found = training.importances(_score, matrix, labels, NAMES, day, seed=0)
    assert [one.feature for one in found] == ["useful", "weak", "useless"]
    assert found[2].log_loss_increase.model_dump() == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (found[1].log_loss_increase.low or 0) > 0


def test_rows_given_are_left_as_they_were_and_the_seed_decides():
    matrix, labels, day = _judged()
    before = matrix.copy()
    first = training.importances(_score, matrix, labels, NAMES, day, seed=0)
    np.testing.assert_array_equal(matrix, before)
    assert training.importances(_score, matrix, labels, NAMES, day, seed=0) == first
    assert training.importances(_score, matrix, labels, NAMES, day, seed=1) != first


def test_no_more_rows_than_allowed_are_scored_at_once():
    matrix, labels, day = _judged()
    sizes = set()

    def score(rows):
        sizes.add(len(rows))
        return _score(rows)

    found = training.importances(score, matrix, labels, NAMES, day, seed=0, max_rows=1_000)
    assert sizes == {1_000}
    assert found[0].feature == "useful"


def test_fewer_than_five_days_have_no_interval():
    matrix, labels, day = _judged(n_days=4)
    found = training.importances(_score, matrix, labels, NAMES, day, seed=0)
    assert all(one.log_loss_increase.low is None for one in found)


def test_intervals_cover_the_importance_on_days_without_end():
    matrix, labels, day = _judged(n=200_000, n_days=2_000)
    many = training.importances(_score, matrix, labels, NAMES, day, seed=0, max_rows=200_000)
    truth = next(one.log_loss_increase.value for one in many if one.feature == "useful")
    covered = 0
    for seed in range(100):
        matrix, labels, day = _judged(n=700, n_days=7, seed=seed + 1)
        found = training.importances(_score, matrix, labels, NAMES, day, seed)
        interval = next(one.log_loss_increase.model_dump() for one in found if one.feature == "useful")
        covered += interval["low"] <= truth <= interval["high"]
    assert covered >= 88
