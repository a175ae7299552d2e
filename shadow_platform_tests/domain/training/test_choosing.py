"""Guarantees of choosing hyperparameters: on later fit rows only, and what was chosen makes the same model again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from shadow_platform.adapters.bundle import OnnxModel, encode_frame
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.errors import NotEnoughData, UseCaseError
from shadow_platform.contracts.use_case import DecisionCosts, ModelSpec
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain import training
from shadow_platform.domain.training.early_stop import best_iterations, staged_scores
from shadow_platform.domain.training.forward import Block, encoded_blocks
from shadow_platform.domain.training.windows import forward_blocks
from shadow_platform.use_case_kit.models import gradient_boosting, random_forest
from shadow_platform_tests.domain.training.choosing import (
    BOOSTED,
    FAMILIES,
    FEATURES,
    POLICY,
    hard_frame,
    objective,
    train,
)
from shadow_platform_tests.trained import AS_OF, HORIZON

COSTS = DecisionCosts(false_positive=5.0, false_negative=20.0, currency="EUR")
STOPPED = replace(POLICY, early_stop_share=0.25, positive_weight="balanced")
LINE, BOOSTING, FOREST, _ = FAMILIES
_by_name = pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.name)
_boosted = pytest.mark.parametrize("spec", BOOSTED, ids=lambda spec: spec.name)


@_by_name
def test_every_family_passes_parity_on_skewed_huge_missing_and_coded_values(spec):
    frame = hard_frame(20_000)
    trained = train(spec, frame=frame)
    onnx_bytes = export_onnx(trained.estimator, len(FEATURES))
    answered = OnnxModel(onnx_bytes, trained.calibration).predict(trained.matrix)
    report = training.parity(trained.probabilities, answered, 0.2)
    assert report.outcome is Outcome.PASS, report
    assert report.n > 3_000
    assert len(onnx_bytes) < 1_000_000
    seen, _ = encode_frame(trained.inputs, frame[trained.part == training.FIT])
    raw = training.raw_scores(trained.estimator, seen)  # the values at which trees split
    fitted = training.calibrated(raw, trained.calibration)
    assert np.abs(OnnxModel(onnx_bytes, trained.calibration).predict(seen) - fitted).max() < 1e-5


@_by_name
def test_training_with_the_recorded_parameters_gives_the_same_bytes_without_choosing_again(spec):
    first = train(spec, STOPPED)
    again = train(spec, POLICY, parameters=first.parameters)
    assert export_onnx(first.estimator, len(FEATURES)) == export_onnx(again.estimator, len(FEATURES))
    assert (first.calibration, first.metrics, first.parameters) == (
        again.calibration,
        again.metrics,
        again.parameters,
    )
    np.testing.assert_array_equal(first.scores, again.scores)


def test_recorded_parameters_are_all_that_the_family_has_those_given_in_place_of_its_own():
    trained = train(BOOSTING, parameters={"max_iter": 5})
    assert trained.parameters == {**BOOSTING.hyperparameters, "max_iter": 5}
    assert _settings(trained)["max_iter"] == 5
    assert trained.parameters.keys() == gradient_boosting().parameters.keys()


def test_balanced_rows_weigh_by_the_labels_of_the_fit_part():
    frame = hard_frame()
    trained = train(LINE, replace(POLICY, positive_weight="balanced"), frame)
    labels = frame["label"][trained.part == training.FIT]
    assert trained.parameters["positive_weight"] == (~labels).sum() / labels.sum()


def test_weights_by_costs_are_their_ratio_and_calibration_makes_up_for_them():
    weighted = train(LINE, replace(POLICY, positive_weight="costs"), costs=COSTS)
    assert weighted.parameters["positive_weight"] == 4.0
    raw = training.raw_scores(weighted.estimator, weighted.matrix)
    assert raw.mean() > weighted.labels.mean() + 0.1
    assert weighted.probabilities.mean() == pytest.approx(weighted.labels.mean(), abs=0.03)
    assert weighted.metrics["log_loss"] == pytest.approx(train(LINE).metrics["log_loss"], abs=0.01)


def test_weights_by_costs_without_costs_are_refused():
    with pytest.raises(UseCaseError, match=r"positive_weight 'costs'.* declares no costs; .* declare them"):
        train(LINE, replace(POLICY, positive_weight="costs"))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    gap=st.integers(0, 72).map(lambda hours: timedelta(hours=hours)),
    shares=st.lists(st.floats(0.2, 1.0), min_size=2, max_size=4, unique=True).map(sorted),
)
@example(seed=0, gap=timedelta(0), shares=[0.9, 0.99999, 1.0])
@example(seed=0, gap=timedelta(0), shares=[0.99999, 1.0])
def test_a_block_is_judged_by_what_was_known_before_it_and_nothing_else(seed, gap, shares):
    frame = hard_frame(3_000, seed)
    is_fit = training.split(frame, training.windows(POLICY, HORIZON, AS_OF), 500) == training.FIT
    try:
        pairs = forward_blocks(frame, is_fit, gap, shares)
    except NotEnoughData:
        widest = is_fit.sum() * np.diff(shares).max()
        assert widest < 200 or gap > timedelta(days=3) - HORIZON
        return
    for earlier, judged in pairs:
        begins_at = frame["requested_at"][judged].min()
        assert frame["requested_at"][earlier].max() < begins_at - gap
        assert frame["known_at"][earlier].max() <= begins_at
        assert is_fit[earlier].all()
        assert is_fit[judged].all()


def test_fit_window_that_a_gap_uses_up_is_refused():
    frame = hard_frame(3_000)
    is_fit = training.split(frame, training.windows(POLICY, HORIZON, AS_OF), 500) == training.FIT
    with pytest.raises(NotEnoughData, match=r"no block of 100 rows .* with a gap of 30 days.* lengthen"):
        forward_blocks(frame, is_fit, timedelta(days=30), (0.5, 1.0))


def test_nothing_behind_the_fit_part_changes_a_loss_of_the_search():
    frame, changed = hard_frame(), hard_frame()
    later = changed["requested_at"] >= training.windows(POLICY, HORIZON, AS_OF).calibration.start
    changed.loc[later, ["amount", "rate"]] = 1e6
    changed.loc[later, "channel"] = "future"
    changed.loc[later, "label"] = ~changed.loc[later, "label"]
    assert list(objective(BOOSTING, frame)({})) == list(objective(BOOSTING, changed)({}))


def test_later_blocks_of_a_search_change_no_earlier_loss():
    frame, changed = hard_frame(), hard_frame()
    fit = training.windows(POLICY, HORIZON, AS_OF).fit
    last = changed["requested_at"] >= fit.start + 0.9 * (fit.end - fit.start)
    changed.loc[last, "amount"] = -1.0
    before, after = list(objective(BOOSTING, frame)({})), list(objective(BOOSTING, changed)({}))
    assert len(before) == 3
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_search_prefers_hyperparameters_that_are_better_on_later_rows():
    losses = objective(LINE)
    assert np.mean(list(losses({"penalty_c": 1.0}))) < np.mean(list(losses({"penalty_c": 1e-6}))) - 0.01


def _settings(trained: training.Trained) -> dict[str, Any]:
    estimator: Any = trained.estimator
    settings: dict[str, Any] = estimator.get_params()
    return settings


def _block(labels, p):
    empty = np.zeros((0, 1), dtype=np.float32)
    return Block((), {}, empty, labels[:0], p.reshape(-1, 1).astype(np.float32), labels)


@given(hnp.arrays(np.float64, 40, elements=st.floats(0.02, 0.98)), st.floats(0.1, 50.0))
def test_loss_judges_the_model_and_not_the_weight_of_its_rows(p, weight):
    labels = np.arange(40) % 3 == 0
    raw = expit(logit(p) + np.log(weight))
    expected = log_loss(labels, p)
    assert _block(labels, p).log_loss(raw, {"positive_weight": weight}) == pytest.approx(expected, abs=1e-6)


@_boosted
def test_score_after_some_steps_is_that_of_a_model_with_so_many(spec):
    trained = train(spec)
    staged = list(staged_scores(trained.estimator, trained.matrix) or ())
    assert len(staged) == 40
    short = train(spec, parameters={spec.iterations: 7})
    np.testing.assert_allclose(staged[6], training.raw_scores(short.estimator, trained.matrix), atol=1e-9)


@_boosted
def test_early_stop_takes_the_number_of_steps_with_the_least_loss_on_the_latest_rows(spec):
    eager = replace(spec, parameters={"learning_rate": 0.5})
    frame = hard_frame()
    trained = train(eager, replace(POLICY, early_stop_share=0.25), frame)
    chosen = trained.parameters[spec.iterations]
    assert isinstance(chosen, int)
    is_fit = trained.part == training.FIT
    (block,) = encoded_blocks(frame, is_fit, FEATURES, trained.windows.gap, (0.75, 1.0), encode_frame)
    losses = {}
    for steps in {1, chosen - 1, chosen, chosen + 1, 40} - {0, 41}:
        parameters = {**eager.hyperparameters, spec.iterations: steps}
        fitted = block.fit(eager, 3, parameters)
        losses[steps] = block.log_loss(training.raw_scores(fitted, block.judged), parameters)
    assert min(losses, key=losses.__getitem__) == chosen < 40
    assert _settings(trained)[spec.iterations] == chosen


def test_early_stop_ends_soon_where_there_is_nothing_to_learn():
    block_of_noise = hard_frame(strength=0.0)
    eager = replace(BOOSTING, parameters={"learning_rate": 0.5})
    trained = train(eager, replace(POLICY, early_stop_share=0.25), block_of_noise)
    assert trained.parameters["max_iter"] in (1, 2, 3)


def test_family_without_steps_is_fitted_whole():
    assert train(FOREST, STOPPED).parameters["n_estimators"] == 20


def test_steps_that_cannot_be_looked_at_are_refused():
    wrong = ModelSpec("forest", random_forest(n_estimators=5), iterations="n_estimators")
    with pytest.raises(UseCaseError, match=r"model 'forest' declares iterations='n_estimators', but RandomForest"):
        train(wrong, STOPPED)


class _Lost:
    """Six steps, of which the last three answer no number."""

    def fit(self, matrix, labels):
        return self

    def predict_proba(self, matrix):
        return np.full((len(matrix), 2), 0.5)

    def staged_predict_proba(self, matrix):
        yield from (self.predict_proba(matrix) * (1.0 if step < 3 else np.nan) for step in range(6))


def _lost(features, n_levels, seed, /, **parameters):
    return _Lost()


def test_steps_whose_loss_is_no_number_are_refused():
    wrong = ModelSpec("lost", _lost, iterations="max_iter")
    with pytest.raises(UseCaseError, match=r"log loss of model 'lost' is nan after step 4; expected a finite number"):
        train(wrong, replace(POLICY, early_stop_share=0.25))


def test_of_equally_good_numbers_of_steps_the_fewest_is_taken():
    frame = hard_frame()
    is_fit = training.split(frame, training.windows(POLICY, HORIZON, AS_OF), 500) == training.FIT
    (block,) = encoded_blocks(frame, is_fit, FEATURES, HORIZON, (0.75, 1.0), encode_frame)
    still = {**BOOSTING.hyperparameters, "min_samples_leaf": 100_000}
    assert best_iterations(block, BOOSTING, 0, still) == 1
