"""Guarantees of given hyperparameters: of the family's names and types, or refused before anything is trained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.domain.training import accepted
from shadow_platform.use_case_kit.models import gradient_boosting, random_forest

TREES = ModelSpec("trees", gradient_boosting(), parameters={"max_iter": 20})


def _untold(features, n_levels, seed, /, **parameters):
    raise AssertionError("never built")


UNTOLD = ModelSpec("untold", _untold, parameters={"is_wide": True, "loss": "log"})


def test_values_of_the_family_s_types_are_taken_and_a_whole_number_stands_for_a_float():
    found = accepted(TREES, {"learning_rate": 1, "max_iter": 50, "positive_weight": 3})
    assert found == {"learning_rate": 1.0, "max_iter": 50, "positive_weight": 3.0}
    assert {name: type(value) for name, value in found.items()} == {
        "learning_rate": float,
        "max_iter": int,
        "positive_weight": float,
    }
    forest = accepted(ModelSpec("forest", random_forest()), {"max_features": 1})
    assert isinstance(forest["max_features"], float)  # to scikit-learn 1 is one feature, 1.0 all of them


@given(values=st.fixed_dictionaries({}, optional={"learning_rate": st.floats(0.01, 1), "max_iter": st.integers()}))
def test_what_was_accepted_is_accepted_again_unchanged(values):
    assert accepted(TREES, accepted(TREES, values)) == accepted(TREES, values) == values


def test_family_that_does_not_tell_its_hyperparameters_takes_any_name_but_keeps_known_types():
    assert accepted(UNTOLD, {"other": "x", "is_wide": False, "positive_weight": 2}) == {
        "other": "x",
        "is_wide": False,
        "positive_weight": 2.0,
    }


@pytest.mark.parametrize(
    ("spec", "name", "value", "expected"),
    [
        (TREES, "max_iter", "50", r"is '50' \(str\); expected a whole number; the family's own is 20"),
        (TREES, "max_iter", 50.0, r"is 50.0 \(float\); expected a whole number"),
        (TREES, "max_iter", True, r"is True \(bool\); expected a whole number"),
        (TREES, "learning_rate", float("nan"), r"is nan \(float\); expected a finite number"),
        (TREES, "learning_rate", None, r"is None \(NoneType\); expected a finite number"),
        (TREES, "positive_weight", "2", r"is '2' \(str\); expected a finite number"),
        (TREES, "positive_weight", 0, r"is 0.0 \(float\); expected a number above 0; give what a positive row"),
        (TREES, "positive_weight", -1, r"is -1.0 \(float\); expected a number above 0"),
        (UNTOLD, "positive_weight", -1, r"is -1.0 \(float\); expected a number above 0"),
        (UNTOLD, "is_wide", 1, r"is 1 \(int\); expected true or false"),
        (UNTOLD, "loss", 1, r"is 1 \(int\); expected a text"),
        (UNTOLD, "other", [1], r"is \[1\] \(list\); expected true or false or .* or a text; give such a value"),
        (UNTOLD, "other", float("inf"), r"is inf \(float\); expected true or false or "),
    ],
)
def test_value_that_cannot_be_trained_with_is_refused(spec, name, value, expected):
    with pytest.raises(UseCaseError, match=rf"hyperparameter '{name}' of model '{spec.name}' {expected}"):
        accepted(spec, {name: value})


def test_unknown_name_is_refused_with_those_that_exist():
    message = r"model 'trees' has no hyperparameter 'depth' \(given: 3\); it has: .*max_iter.*; correct the name"
    with pytest.raises(UseCaseError, match=message):
        accepted(TREES, {"depth": 3})
