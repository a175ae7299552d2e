"""Guarantees of segment metrics: every row in one group of a feature, each group measured as if alone."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import TrainingPolicy
from shadow_platform.domain import training
from shadow_platform.domain.training.segments import group_rows
from shadow_platform_tests.domain.training.judged import days_that_differ

POLICY = TrainingPolicy(n_resamples=40)


def _segments(columns, labels, p, day, names=None):
    frame = pd.DataFrame(columns)
    return training.segment_metrics(labels, p, 0.5, frame, names or list(frame.columns), day, POLICY, seed=0)


@pytest.fixture(name="judged")
def judged_rows():
    return days_that_differ(np.random.default_rng(0), 7, 100)


def test_first_are_all_rows_then_each_group_as_if_it_were_alone(judged):
    labels, p, day = judged
    plan = np.where(np.arange(len(p)) % 3 == 0, "basic", "premium")
    whole, basic, premium = _segments({"plan": plan}, labels, p, day)
    assert (whole.feature, whole.level, whole.n, whole.n_positive) == (None, None, len(p), labels.sum())
    assert [(group.feature, group.level) for group in (basic, premium)] == [("plan", "basic"), ("plan", "premium")]
    own = plan == "basic"
    assert basic.metrics == training.estimates(labels[own], p[own], 0.5, day[own], 40, 0.95, 0)


def test_rare_levels_are_pooled_and_nulls_stand_alone(judged):
    labels, p, day = judged
    values = np.full(len(p), "common", dtype=object)
    values[:99], values[99:120], values[120:180], values[180:190] = "rare", "rarer", None, np.nan
    groups = {group.level: group.n for group in _segments({"region": values}, labels, p, day)[1:]}
    assert groups == {"common": len(p) - 190, "other": 120, "missing": 70}


def test_level_of_a_hundred_rows_stands_alone():
    assert set(group_rows(pd.Series(["a"] * 100 + ["b"] * 99))) == {"a", "other"}


@settings(deadline=None)
@given(
    names=st.lists(st.sampled_from(["other", "missing", "(other)", "(missing)", "", "x", "nan", "None"]), min_size=1),
    counts=st.lists(st.integers(1, 150), min_size=8, max_size=8),
    n_nulls=st.integers(0, 3),
)
def test_no_group_is_taken_for_a_level_it_is_not(names, counts, n_nulls):
    values = [name for name, count in zip(dict.fromkeys(names), counts, strict=False) for _ in range(count)]
    groups = group_rows(pd.Series([*values, *[None] * n_nulls], dtype=object)).tolist()
    of_values, of_nulls = groups[: len(values)], groups[len(values) :]
    for level in set(values):
        (group,) = {group for group, value in zip(of_values, values, strict=True) if value == level}
        assert group == level if values.count(level) >= 100 else group not in values
    assert len(set(of_nulls)) == min(n_nulls, 1)
    assert not set(of_nulls) & set(of_values)


def test_feature_of_nulls_only_is_one_group(judged):
    labels, p, day = judged
    whole, nulls = _segments({"region": pd.Series([None] * len(p), dtype=object)}, labels, p, day)
    assert (nulls.feature, nulls.level, nulls.metrics) == ("region", "missing", whole.metrics)


def test_metric_that_a_group_does_not_identify_is_left_out(judged):
    labels, p, day = judged
    kind = np.where(labels, "bad", "good")
    whole, bad, good = _segments({"kind": kind}, labels, p, day)
    assert set(whole.metrics) - set(bad.metrics) == {"roc_auc"}
    assert {"roc_auc", "average_precision"} <= set(whole.metrics) - set(good.metrics)


def test_group_seen_on_four_days_has_values_and_no_interval(judged):
    labels, p, day = judged
    _, early, late = _segments({"when": np.where(day < 4, "early", "late")}, labels, p, day)
    assert (early.metrics["log_loss"].low, late.metrics["log_loss"].low) == (None, None)


def test_feature_named_twice_is_measured_once(judged):
    labels, p, day = judged
    plan = np.full(len(p), "basic")
    assert len(_segments({"plan": plan}, labels, p, day, ["plan", "plan"])) == 2


def test_group_columns_may_be_categorical_or_arrow_strings(judged):
    labels, p, day = judged
    plan = pd.Series(np.where(np.arange(len(p)) % 2 == 0, "basic", "premium")).mask(np.arange(len(p)) < 120, None)
    plain = _segments({"plan": plan}, labels, p, day)
    assert _segments({"plan": plan.astype("category")}, labels, p, day) == plain
    assert _segments({"plan": plan.astype("string")}, labels, p, day) == plain
