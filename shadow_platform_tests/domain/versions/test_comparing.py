"""Guarantees of a comparison: it is fair to both sides, and says when a difference proves nothing."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.domain.versions import compare
from shadow_platform.domain.versions.comparing import HIGHER_IS_BETTER, LOWER_IS_BETTER, compare_metrics
from shadow_platform_tests.trained import AS_OF, INPUTS
from shadow_platform_tests.versions import make_card, make_details, make_estimate

NAMES = sorted(HIGHER_IS_BETTER | LOWER_IS_BETTER | {"base_rate"})
MIRROR = {"a": "b", "b": "a", None: None}
estimates = st.builds(make_estimate, st.floats(0, 1), st.none() | st.floats(0, 0.3))
metric_sets = st.dictionaries(st.sampled_from(NAMES), estimates)


@given(metric_sets, metric_sets)
def test_the_order_in_which_versions_are_named_changes_no_judgement(a, b):
    there = {metric.name: metric for metric in compare_metrics(a, b)}
    back = {metric.name: metric for metric in compare_metrics(b, a)}
    assert there.keys() == back.keys() == {*a, *b}
    for name, metric in there.items():
        assert back[name].better == MIRROR[metric.better]
        assert back[name].has_overlap == metric.has_overlap
        assert metric.difference is None or back[name].difference == -metric.difference


@given(estimates, estimates)
def test_intervals_overlap_exactly_when_a_value_lies_in_both(a, b):
    (found,) = compare_metrics({"f1": a}, {"f1": b})
    if a.low is None or b.low is None or a.high is None or b.high is None:
        assert found.has_overlap is None
    else:
        assert found.has_overlap == (max(a.low, b.low) <= min(a.high, b.high))


@pytest.mark.parametrize("name", NAMES)
def test_better_is_higher_or_lower_as_the_metric_means_it(name):
    (found,) = compare_metrics({name: make_estimate(0.4)}, {name: make_estimate(0.6)})
    expected = "b" if name in HIGHER_IS_BETTER else "a" if name in LOWER_IS_BETTER else None
    assert found.better == expected
    assert found.difference == pytest.approx(0.2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_without_a_value_judges_nothing(value):
    (found,) = compare_metrics({"f1": MetricEstimate(value=value, low=None, high=None)}, {"f1": make_estimate(0.6)})
    assert (found.better, found.difference, found.has_overlap) == (None, None, None)


def test_a_version_does_not_differ_from_itself():
    found = compare(make_details("2"), make_details("2"))
    assert found.notes == ("both are version 2",)
    assert {metric.better for metric in found.metrics} == {None}
    assert {feature.status for feature in found.features} == {"same"}
    assert all(pair.is_same for pair in (*found.settings, *found.parameters, *found.data, *found.fingerprints))


def test_metrics_of_other_rows_are_said_to_prove_little():
    one = make_details("1")
    same, other = compare(one, make_details("2", seed=1)), compare(one, make_details("2", fingerprints={"data": "e"}))
    assert "evaluated on the same rows" in same.notes[0]
    assert "evaluated on different rows" in other.notes[0]
    later = compare(one, make_details("2", evaluation_end=AS_OF))
    assert "evaluated on different rows" in later.notes[0]


def test_without_both_fingerprints_of_the_frames_nothing_is_said_of_the_rows():
    one, untold = make_details("1"), make_details("2", fingerprints={"code": "c"})
    for pair in ((one, untold), (untold, one), (untold, make_details("3", fingerprints={}))):
        assert "whether both were evaluated on the same rows is not known" in compare(*pair).notes[0]
    later = make_details("2", fingerprints={}, evaluation_end=AS_OF)
    assert "evaluated on different rows" in compare(one, later).notes[0]


def test_what_is_not_recorded_of_a_version_is_neither_the_same_nor_different():
    one, other = make_details("1", fingerprints={"code": "c"}), make_details("2", has_card=False)
    found = compare(one, other.model_copy(update={"frame": None}))
    assert {pair.name: pair.is_same for pair in found.fingerprints} == {"code": None, "data": None}
    data = {pair.name: pair.is_same for pair in found.data}
    assert data["trained as of"] is True
    assert {data[name] for name in ("frame", "frame rows", "partitions", "fit window")} == {None}
    neither = compare(*(make_details(version, fingerprints={}) for version in ("1", "2")))
    assert next(pair for pair in neither.data if pair.name == "frame").is_same is None


@pytest.mark.parametrize("later", [timedelta(seconds=40), timedelta(microseconds=1)])
def test_times_that_differ_by_less_than_a_minute_are_not_the_same(later):
    one, other = make_details("1"), make_details("2", trained_as_of=AS_OF + later)
    pair = next(pair for pair in compare(one, other).data if pair.name == "trained as of")
    assert pair.is_same is False
    assert pair.a != pair.b


def test_one_moment_in_two_time_zones_is_the_same():
    abroad = AS_OF.astimezone(timezone(timedelta(hours=5)))
    data = compare(make_details("1"), make_details("2", trained_as_of=abroad)).data
    assert next(pair for pair in data if pair.name == "trained as of").is_same is True


def test_a_bundle_without_card_is_compared_by_its_manifest_and_that_is_said():
    found = compare(make_details("1", has_card=False), make_details("2", metrics={"roc_auc": 0.8, "log_loss": 0.4}))
    assert any("no model card in the bundle of version 1," in note for note in found.notes)
    auc = next(metric for metric in found.metrics if metric.name == "roc_auc")
    assert (auc.better, auc.has_overlap) == ("b", None)
    assert auc.difference == pytest.approx(0.1)
    assert {feature.status for feature in found.features} == {"same"}
    assert [(segment.n_a, segment.n_b) for segment in found.segments] == [(None, 500), (None, 500)]
    assert {(importance.rank_a, importance.rank_b) for importance in found.importances} == {
        (None, n) for n in (1, 2, 3)
    }


def test_a_frame_without_record_is_said():
    one, other = (make_details(version).model_copy(update={"frame": None}) for version in ("1", "2"))
    assert any("in the training frame of version 1 and 2" in note for note in compare(one, other).notes)


def test_features_are_added_removed_changed_refitted_or_the_same():
    amount, age, channel = INPUTS
    one = make_details("1", inputs=(amount, age, channel))
    refitted = NumericInput(name="age", imputed=41.0)
    levels = CategoricalInput(name="channel", levels=("mail", "shop"))
    other = make_details("2", inputs=(refitted, levels, NumericInput(name="visits", imputed=1.0)))
    found = {feature.name: feature for feature in compare(one, other).features}
    assert {name: feature.status for name, feature in found.items()} == {
        "amount": "removed",
        "age": "refitted",
        "channel": "refitted",
        "visits": "added",
    }
    assert [(c.name, c.a, c.b) for c in found["channel"].changes] == [("levels", "mail, search, shop", "mail, shop")]
    swapped = make_details("2", inputs=(amount, CategoricalInput(name="age", levels=("old",)), channel))
    assert next(f for f in compare(one, swapped).features if f.name == "age").status == "changed"


def test_a_declaration_that_changed_is_no_refit():
    one, other = make_details("1"), make_details("2")
    assert other.card is not None
    features = tuple(feature.model_copy(update={"unit": "USD"}) for feature in other.card.features)
    card = make_card(other.manifest, features=features)
    (amount, *_) = compare(one, other.model_copy(update={"card": card})).features
    assert (amount.status, [(c.name, c.a, c.b) for c in amount.changes]) == ("changed", [("unit", "EUR", "USD")])


def test_parameters_that_differ_come_first():
    one = make_details("1", parameters={"C": 1.0, "penalty": "l2", "max_iter": 100})
    other = make_details("2", parameters={"C": 1.0, "max_iter": 60, "solver": "saga"})
    found = [(pair.name, pair.a, pair.b, pair.is_same) for pair in compare(one, other).parameters]
    assert found == [
        ("max_iter", 100, 60, False),
        ("penalty", "l2", None, False),
        ("solver", None, "saga", False),
        ("C", 1.0, 1.0, True),
    ]


def test_what_matters_most_to_either_version_comes_first():
    one, other = make_details("1"), make_details("2")
    assert other.card is not None
    turned = tuple(
        importance.model_copy(update={"log_loss_increase": make_estimate(0.1 * place, 0.01)})
        for place, importance in enumerate(other.card.importances, start=1)
    )
    card = make_card(other.manifest, importances=turned)
    found = compare(one, other.model_copy(update={"card": card})).importances
    assert [(i.feature, i.rank_a, i.rank_b) for i in found] == [("amount", 1, 3), ("channel", 3, 1), ("age", 2, 2)]
