"""Guarantees of training: time order, no leakage, honest numbers, exports that answer as the model does."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shadow_platform.adapters.bundle import OnnxModel, encode_frame
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.errors import BundleError, NotEnoughData, UseCaseError
from shadow_platform.contracts.use_case import Feature, ModelSpec, TrainingPolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain import training
from shadow_platform.use_case_kit.models import gradient_boosting
from shadow_platform_tests.trained import AS_OF, FEATURES, HORIZON, POLICY, make_frame

DAYS = st.integers(0, 10).map(lambda days: timedelta(days=days))


def _line(features, n_levels, seed, /, **parameters):
    codes = [np.arange(n_levels["channel"] + 1, dtype=np.float32)]
    columns = ColumnTransformer(
        [("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(categories=codes, sparse_output=False), [2])]
    )
    return make_pipeline(columns, LogisticRegression(random_state=seed))


def _trees(features, n_levels, seed, /, **parameters):
    return HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, random_state=seed)


def _coded_trees(features, n_levels, seed, /, **parameters):
    return HistGradientBoostingClassifier(max_iter=10, categorical_features=[2], random_state=seed)


LINE, TREES = ModelSpec("line", _line), ModelSpec("trees", _trees)


def _train(frame=None, spec=LINE, seed=0):
    frame = make_frame() if frame is None else frame
    return training.train(frame, FEATURES, spec, POLICY, HORIZON, 0.5, AS_OF, seed, encode_frame)


@given(gap=DAYS, horizon=DAYS, calibration=DAYS, evaluation=DAYS)
def test_no_label_of_a_part_is_known_after_the_next_part_begins(gap, horizon, calibration, evaluation):
    policy = TrainingPolicy(window=timedelta(days=60), calibration=calibration, evaluation=evaluation, gap=gap)
    parts = training.windows(policy, horizon, AS_OF)
    assert parts.fit.start == AS_OF - policy.window
    assert parts.fit.end + horizon <= parts.calibration.start
    assert parts.calibration.end + horizon <= parts.evaluation.start
    assert parts.evaluation.end + horizon == AS_OF


def test_window_without_room_to_fit_is_refused():
    with pytest.raises(UseCaseError, match=r"leaves nothing to fit on .* lengthen the window"):
        training.windows(TrainingPolicy(window=timedelta(days=10)), HORIZON, AS_OF)


def test_fit_rows_come_before_calibration_rows_before_evaluation_rows():
    frame = make_frame()
    part = _train(frame).part
    fit, calibration, evaluation = (frame[part == name] for name in training.PARTS)
    assert fit["known_at"].max() <= calibration["requested_at"].min()
    assert calibration["known_at"].max() <= evaluation["requested_at"].min()
    assert evaluation["requested_at"].max() + HORIZON <= AS_OF
    assert (part == "").sum() > 0


def test_label_known_one_second_too_late_is_not_fitted_on():
    frame = make_frame()
    parts = training.windows(POLICY, HORIZON, AS_OF)
    row = int(np.flatnonzero(parts.fit.holds(frame["requested_at"]))[-1])
    frame.loc[row, "known_at"] = parts.calibration.start
    assert training.split(frame, parts, POLICY.min_rows)[row] == "fit"
    frame.loc[row, "known_at"] = parts.calibration.start + timedelta(seconds=1)
    assert training.split(frame, parts, POLICY.min_rows)[row] == ""


def test_nothing_behind_the_fit_part_changes_model_medians_or_levels():
    frame, changed = make_frame(), make_frame()
    later = changed["requested_at"] >= training.windows(POLICY, HORIZON, AS_OF).calibration.start
    changed.loc[later, ["amount", "age"]] = 1e6
    changed.loc[later, "channel"] = "future"
    changed.loc[later, "label"] = ~changed.loc[later, "label"]
    before, after = _train(frame), _train(changed)
    assert before.inputs == after.inputs
    matrix = before.matrix
    np.testing.assert_array_equal(
        training.raw_scores(before.estimator, matrix), training.raw_scores(after.estimator, matrix)
    )


@pytest.mark.parametrize("part", ["fit", "calibration", "evaluation"])
def test_part_without_both_labels_is_refused(part):
    frame = make_frame()
    window = getattr(training.windows(POLICY, HORIZON, AS_OF), part)
    frame.loc[window.holds(frame["requested_at"]), "label"] = True
    with pytest.raises(NotEnoughData, match=rf"{part} part .* both labels"):
        _train(frame)


def test_too_few_rows_are_refused_with_their_number():
    with pytest.raises(NotEnoughData, match=r"fit part .* has 270 labelled rows"):
        _train(make_frame(400))


def test_training_twice_gives_the_same_model():
    first, second = _train(spec=TREES), _train(spec=TREES)
    assert export_onnx(first.estimator, 3) == export_onnx(second.estimator, 3)
    assert first.metrics == second.metrics
    np.testing.assert_array_equal(first.scores, second.scores)


@pytest.mark.parametrize("spec", [LINE, TREES], ids=lambda spec: spec.name)
def test_exported_model_passes_parity(spec):
    trained = _train(spec=spec)
    onnx_bytes = export_onnx(trained.estimator, len(trained.inputs))
    answered = OnnxModel(onnx_bytes, trained.calibration).predict(trained.matrix)
    report = training.parity(trained.probabilities, answered, 0.5)
    assert report.outcome is Outcome.PASS, report
    assert report.n == len(trained.labels) > 400


def test_export_that_is_silently_wrong_fails_parity():
    trained = _train(spec=ModelSpec("coded", _coded_trees))
    onnx_bytes = export_onnx(trained.estimator, len(trained.inputs))
    answered = OnnxModel(onnx_bytes, trained.calibration).predict(trained.matrix)
    assert training.parity(trained.probabilities, answered, 0.5).outcome is Outcome.FAIL


def test_model_without_converter_is_named():
    class Mystery:
        pass

    with pytest.raises(BundleError, match="Mystery cannot be exported to ONNX"):
        export_onnx(Mystery(), 3)


@pytest.mark.parametrize(
    ("shift", "rows", "outcome"),
    [
        (0.0, 0, Outcome.PASS),
        (9e-6, 1_000, Outcome.PASS),
        (5e-4, 1, Outcome.PASS),
        (5e-4, 2, Outcome.FAIL),
        (2e-3, 1, Outcome.FAIL),
        (np.nan, 1, Outcome.FAIL),
    ],
)
def test_parity_limits(shift, rows, outcome):
    expected = np.full(10_000, 0.3)
    answered = expected.copy()
    answered[:rows] += shift
    assert training.parity(expected, answered, 0.5).outcome is outcome


def test_parity_fails_on_one_flipped_decision():
    report = training.parity(np.full(100_000, 0.5), np.r_[0.4999999, np.full(99_999, 0.5)], 0.5)
    assert (report.flipped_decisions, report.outcome) == (1, Outcome.FAIL)


def test_parity_of_nothing_is_insufficient():
    assert training.parity(np.array([]), np.array([]), 0.5).outcome is Outcome.INSUFFICIENT


def test_calibration_recovers_a_known_distortion():
    rng = np.random.default_rng(0)
    p = rng.beta(2, 3, 200_000)
    labels = rng.random(len(p)) < p
    found = training.calibrate(expit((logit(p) - 0.4) / 0.7), labels)
    assert found.slope == pytest.approx(0.7, abs=0.02)
    assert found.intercept == pytest.approx(0.4, abs=0.02)


def test_calibration_never_reverses_the_ranking():
    rng = np.random.default_rng(0)
    p = rng.random(2_000)
    assert training.calibrate(p, rng.random(2_000) > p).slope == 0.0


def test_calibration_of_perfectly_separated_scores_stays_finite():
    labels = np.arange(200) >= 100
    found = training.calibrate(np.where(labels, 0.9, 0.1), labels)
    assert 0 < training.calibrated(np.array([0.1]), found)[0] < 0.05
    assert np.isfinite([found.slope, found.intercept]).all()


def test_calibration_formula_is_the_one_the_bundle_answers_with():
    trained = _train()
    raw = training.raw_scores(trained.estimator, trained.matrix)
    model = OnnxModel(export_onnx(trained.estimator, 3), trained.calibration)
    np.testing.assert_allclose(model.predict(trained.matrix), training.calibrated(raw, trained.calibration), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.1, 0.9))
def test_metrics_agree_with_scikit_learn(seed, threshold):
    rng = np.random.default_rng(seed)
    p = rng.random(200)
    labels = rng.random(200) < p
    labels[:2] = True, False
    found = training.metrics(labels, p, threshold)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, p))
    assert found["log_loss"] == pytest.approx(log_loss(labels, np.clip(p, 0.01, 0.99)))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, p))
    assert found["f1"] == pytest.approx(f1_score(labels, p >= threshold))
    observed, predicted = calibration_curve(labels, p, n_bins=10)
    counts = np.histogram(p, bins=10, range=(0, 1))[0]
    expected = np.average(np.abs(observed - predicted), weights=counts[counts > 0])
    assert found["calibration_error"] == pytest.approx(expected, abs=1e-9)


def test_reference_scores_of_fit_rows_are_out_of_sample():
    frame = make_frame()
    frame["age"] = np.random.default_rng(0).normal(size=len(frame))
    memory = ModelSpec(
        "memory", gradient_boosting(max_iter=100, max_leaf_nodes=31, min_samples_leaf=20, l2_regularization=0)
    )
    trained = _train(frame, memory)
    is_fit, is_judged = trained.part == "fit", trained.part == "evaluation"
    labels = frame["label"].to_numpy(bool)
    assert np.isnan(trained.scores[trained.part == ""]).all()
    in_sample = roc_auc_score(labels[is_fit], training.raw_scores(trained.estimator, _matrix(trained, frame)[is_fit]))
    cross_fitted = roc_auc_score(labels[is_fit], trained.scores[is_fit])
    judged = roc_auc_score(labels[is_judged], trained.scores[is_judged])
    assert in_sample - judged > 0.1
    assert abs(cross_fitted - judged) < 0.08


def _matrix(trained, frame):
    return encode_frame(trained.inputs, frame)[0]


def test_rows_whose_label_is_hidden_teach_nothing_and_stand_in_the_reference():
    whole = make_frame().astype({"label": "boolean"})
    is_hidden = np.arange(len(whole)) % 3 == 0
    labelled = whole[~is_hidden].reset_index(drop=True)
    with_hidden = _train(whole.assign(label=whole["label"].mask(is_hidden), known_at=whole["known_at"].mask(is_hidden)))
    alone = _train(labelled.astype({"label": bool}))
    assert (with_hidden.metrics, with_hidden.calibration) == (alone.metrics, alone.calibration)
    in_a_window = is_hidden & (_train(whole.astype({"label": bool})).part != "")
    assert (with_hidden.part[is_hidden] == np.where(in_a_window[is_hidden], training.HIDDEN, "")).all()
    assert np.isfinite(with_hidden.scores[in_a_window]).all()


def test_reference_is_sampled_in_order_and_always_alike():
    part = np.array(["fit", "", "evaluation"] * 100)
    rows = training.reference_rows(part, 50, seed=3)
    assert rows.tolist() == sorted(set(rows.tolist())) == training.reference_rows(part, 50, seed=3).tolist()
    assert len(rows) == 50
    assert (part[rows] != "").all()
    assert len(training.reference_rows(part, 200, seed=3)) == 200


def test_median_and_levels_ignore_missing_and_infinite_values():
    frame = pd.DataFrame({"amount": [1.0, 3.0, np.nan, np.inf], "age": [np.nan] * 4, "channel": ["b", None, "a", "b"]})
    assert training.learn_inputs(FEATURES, frame) == (
        NumericInput(name="amount", imputed=2.0),
        NumericInput(name="age", imputed=0.0),
        CategoricalInput(name="channel", levels=("a", "b")),
    )


def test_level_that_is_no_string_is_refused():
    with pytest.raises(UseCaseError, match=r"categorical feature 'channel' holds 3 .* cast it to VARCHAR"):
        training.learn_inputs([FEATURES[2]], pd.DataFrame({"channel": [3, 3]}))


def _parts_of_a_frame():
    frame = make_frame(10)
    requests = frame[["subject_id", "requested_at", "amount", "channel"]].iloc[::-1].reset_index(drop=True)
    views = frame[["age"]].iloc[::-1].reset_index(drop=True)
    features = (FEATURES[0], Feature("age", "Age", view="people"), FEATURES[2])
    return frame, requests, views, features


def test_assembled_frame_is_in_time_order_whatever_the_order_of_its_parts():
    frame, requests, views, features = _parts_of_a_frame()
    labels = frame[["subject_id", "requested_at", "label", "known_at"]].sample(frac=1, random_state=0)
    found = training.assemble(requests, views, labels, features, AS_OF + HORIZON)
    columns = ["subject_id", "requested_at", "amount", "age", "channel", "label", "known_at"]
    pd.testing.assert_frame_equal(found, frame[columns])


def test_label_known_after_as_of_never_enters_the_frame():
    frame, requests, views, features = _parts_of_a_frame()
    labels = frame[["subject_id", "requested_at", "label", "known_at"]]
    as_of = labels["known_at"].iloc[4]
    found = training.assemble(requests, views, labels, features, as_of)
    assert found["known_at"].max() == as_of
    earlier = training.assemble(requests, views, labels, features, as_of - timedelta(microseconds=1))
    assert len(earlier) == len(found) - 1


def test_of_several_labels_the_latest_known_at_as_of_counts():
    frame, requests, views, features = _parts_of_a_frame()
    first = frame[["subject_id", "requested_at", "label", "known_at"]]
    second = first.assign(label=~first["label"], known_at=first["known_at"] + timedelta(days=2))
    labels = pd.concat([second, first])
    late = training.assemble(requests, views, labels, features, AS_OF + timedelta(days=10))
    assert (late["label"] == ~frame["label"]).all()
    between = training.assemble(requests, views, labels, features, frame["known_at"].iloc[0] + timedelta(days=1))
    assert between["label"].iloc[0] == frame["label"].iloc[0]


def test_request_that_occurs_twice_is_refused():
    frame, requests, views, features = _parts_of_a_frame()
    labels = frame[["subject_id", "requested_at", "label", "known_at"]]
    with pytest.raises(UseCaseError, match=r"subject 's00000\d' at .* more than once"):
        training.assemble(pd.concat([requests, requests[:1]]), views, labels, features, AS_OF)


def test_frame_fingerprint_survives_parquet_and_sees_every_change(tmp_path):
    frame = make_frame(50)
    fingerprint = training.frame_fingerprint(frame)
    frame.to_parquet(tmp_path / "frame.parquet", index=False)
    assert training.frame_fingerprint(pd.read_parquet(tmp_path / "frame.parquet")) == fingerprint
    for column, value in (("amount", 1.5), ("channel", "other"), ("label", ~frame["label"].iloc[7])):
        changed = frame.copy()
        changed.loc[7, column] = value
        assert training.frame_fingerprint(changed) != fingerprint
    assert training.frame_fingerprint(frame.rename(columns={"age": "years"})) != fingerprint
    assert training.frame_fingerprint(frame.iloc[::-1]) != fingerprint


@given(hnp.arrays(np.float64, 20), hnp.arrays(np.float64, 20))
@example(np.full(20, np.nan), np.full(20, -np.nan))
def test_frames_have_the_same_fingerprint_exactly_when_their_values_are_equal(a, b):
    same = bool(np.array_equal(a + 0.0, b + 0.0, equal_nan=True))
    found = training.frame_fingerprint(pd.DataFrame({"x": a})) == training.frame_fingerprint(pd.DataFrame({"x": b}))
    assert found is same
