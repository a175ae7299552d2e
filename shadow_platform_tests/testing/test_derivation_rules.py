"""Each rule of derivations fails on a use case that breaks it; on the sound one all pass."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from shadow_platform.contracts.use_case import FeatureValue, UseCase
from shadow_platform_tests.deriving import DERIVATION, DERIVED, USE_CASE
from shadow_platform_tests.testing.test_rules import hold
from shadow_platform_tests.tiny import USE_CASE as TINY

PER_VISIT, HABIT = DERIVED
_counter = iter(range(1_000_000))


def derivation(**changes: Any) -> UseCase:
    return replace(USE_CASE, derivations=(replace(DERIVATION, **changes),))


def computing(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> UseCase:
    """Like the sound one, but what it returned is changed, given what it was given."""

    def compute(**values: Any) -> Mapping[str, FeatureValue]:
        made = dict(DERIVATION.compute(**values))
        change(made, values)
        return made

    return derivation(compute=compute)


def _divides(made: dict[str, Any], values: dict[str, Any]) -> None:
    made["cart_per_visit"] = (values["cart_value"] or 0.0) / (values["visits_7d"] if values["visits_7d"] else 1.0)


def _is_nothing(made: dict[str, Any], _values: object) -> None:
    made["cart_per_visit"] = None


GIVEN, ANY_VALUES, SAME = "read_features_that_are_given", "for_any_values", "derive_the_same_values"
BROKEN: list[tuple[str, UseCase]] = [
    (GIVEN, derivation(inputs=("cart_value", "channel", "visits_7d", "habit"))),
    (GIVEN, derivation(inputs=("cart_value", "channel", "visits_7d", "unknown"))),
    (GIVEN, derivation(inputs=())),
    (GIVEN, derivation(name="visitor_history")),
    (GIVEN, derivation(description=" ")),
    (GIVEN, replace(USE_CASE, features=TINY.features)),
    (GIVEN, replace(USE_CASE, features=(*TINY.features, PER_VISIT, replace(HABIT, derivation="other")))),
    (GIVEN, replace(USE_CASE, features=(*TINY.features, PER_VISIT, replace(HABIT, view="visitor_history")))),
    (ANY_VALUES, computing(lambda made, _: made.pop("habit"))),
    (ANY_VALUES, computing(lambda made, _: made.update(more=1.0))),
    (ANY_VALUES, computing(lambda made, _: made.update(cart_per_visit="dear"))),
    (ANY_VALUES, computing(lambda made, _: made.update(habit=1.0))),
    (ANY_VALUES, computing(lambda made, _: made.update(cart_per_visit=float("nan")))),
    (ANY_VALUES, computing(lambda made, values: made.update(habit=values["channel"][0]))),
    (ANY_VALUES, computing(_divides)),
    (ANY_VALUES, computing(lambda made, _: made.update(cart_per_visit=float(next(_counter))))),
    (SAME, computing(_is_nothing)),
    (SAME, computing(lambda made, _: made.update(cart_per_visit=float(next(_counter) % 1000)))),
    (SAME, replace(USE_CASE, features=(*TINY.features, replace(PER_VISIT, high=1), HABIT))),
]


@pytest.mark.parametrize(("rule", "broken"), BROKEN)
def test_a_rule_of_derivations_finds_the_use_case_that_breaks_it(rule: str, broken: UseCase) -> None:
    with pytest.raises(AssertionError):
        hold(broken, rule)


@pytest.mark.parametrize("rule", [GIVEN, ANY_VALUES, SAME, "examples_are_a_valid_request", "numbers_have_a_unit"])
def test_a_sound_derivation_passes(rule: str) -> None:
    hold(USE_CASE, rule)


def test_a_feature_of_a_derivation_that_nobody_declares_is_found() -> None:
    with pytest.raises(AssertionError):
        hold(replace(USE_CASE, derivations=()), GIVEN)
