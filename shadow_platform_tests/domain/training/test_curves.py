"""Guarantees of the curves: scikit-learn's points, few enough to draw, honest about few rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from shadow_platform.domain import training

CURVES = {"roc": training.roc, "precision_recall": training.precision_recall, "gain": training.gain}


@st.composite
def both_classes(draw):
    n = draw(st.integers(2, 80))
    labels = draw(hnp.arrays(bool, n))
    labels[:2] = True, False
    return labels, draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])))


@given(rows=both_classes())
def test_roc_is_that_of_scikit_learn(rows):
    curve = training.roc(*rows)
    false_positive_rate, true_positive_rate, _ = roc_curve(*rows, drop_intermediate=False)
    np.testing.assert_allclose(curve["false_positive_rate"], false_positive_rate)
    np.testing.assert_allclose(curve["true_positive_rate"], true_positive_rate)


@given(rows=both_classes())
def test_precision_and_recall_are_those_of_scikit_learn(rows):
    curve = training.precision_recall(*rows)
    precision, recall, _ = precision_recall_curve(*rows)
    np.testing.assert_allclose(curve["precision"], precision[:-1][::-1])
    np.testing.assert_allclose(curve["recall"], recall[:-1][::-1])


@given(rows=both_classes())
def test_gain_counts_the_positives_among_the_rows_with_the_highest_scores(rows):
    labels, p = rows
    for share_of_rows, share_of_positives in training.gain(labels, p).iloc[1:].to_numpy():
        n = round(share_of_rows * len(p))
        reached = p >= np.sort(p)[-n]
        assert reached.sum() == n
        assert labels[reached].sum() / labels.sum() == pytest.approx(share_of_positives)


@pytest.mark.parametrize("name", CURVES)
def test_curve_of_many_rows_is_thinned_without_changing_its_shape(name):
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 100_000)
    labels = rng.random(len(p)) < p
    curve = CURVES[name](labels, p)
    across, up = curve.columns
    assert len(curve) <= 500
    assert curve[across].iloc[-1] == curve["recall" if name == "precision_recall" else up].iloc[-1] == 1.0
    area = auc(curve[across], curve[up])
    roc_auc, rate = roc_auc_score(labels, p), labels.mean()
    expected = {
        "roc": roc_auc,
        "precision_recall": average_precision_score(labels, p),
        "gain": roc_auc * (1 - rate) + rate / 2,
    }
    assert area == pytest.approx(expected[name], abs=0.002)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("labels", [[True], [False], [True, True], [False, False, False]])
def test_curve_of_one_class_is_empty(name, labels):
    assert CURVES[name](np.array(labels), np.linspace(0, 1, len(labels))).empty


def test_curve_of_a_constant_score_is_a_straight_line():
    labels = np.arange(100) % 4 == 0
    assert training.roc(labels, np.full(100, 0.3)).to_numpy().tolist() == [[0, 0], [1, 1]]
    assert training.precision_recall(labels, np.full(100, 0.3)).to_numpy().tolist() == [[1, 0.25]]


@given(rows=both_classes())
def test_reliability_counts_every_row_once_and_its_intervals_are_wilsons(rows):
    labels, p = rows
    table = training.reliability(labels, p)
    assert table["n"].sum() == len(p)
    for row in table.to_dict("records"):
        inside = (p >= row["bin_low"]) & ((p < row["bin_high"]) | (row["bin_high"] == 1))
        k, n = int(labels[inside].sum()), int(inside.sum())
        interval = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
        assert row["n"] == n
        assert [row["observed"], row["probability"]] == pytest.approx([k / n, p[inside].mean()])
        assert (row["observed_low"], row["observed_high"]) == (interval.low, interval.high)


def test_reliability_of_one_row_is_one_bin_that_says_little():
    table = training.reliability(np.array([True]), np.array([1.0]))
    assert len(table) == 1
    assert table["observed_low"].iloc[0] < 0.25
    assert table["observed_high"].iloc[0] == 1.0
