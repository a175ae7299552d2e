"""Finding a use case by name or address."""

import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.domain.gates.clusters import DAY_AND_SUBJECT
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests import tiny


def test_every_name_loads_the_use_case_of_that_name() -> None:
    assert use_case_names() == tuple(sorted(use_case_names()))
    for name in use_case_names():
        assert load_use_case(name).name == name


def test_an_address_loads_a_use_case_that_lives_elsewhere() -> None:
    assert load_use_case("shadow_platform_tests.tiny:USE_CASE") is tiny.USE_CASE


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UseCaseError, match=f"'nosuch' is unknown; expected one of .*{use_case_names()[0]}"):
        load_use_case("nosuch")


@pytest.mark.parametrize("address", ["no.such.module:USE_CASE", "shadow_platform_tests.tiny:NOTHING"])
def test_an_address_without_a_value_says_what_is_missing(address: str) -> None:
    with pytest.raises(UseCaseError, match="cannot be loaded"):
        load_use_case(address)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(UseCaseError, match="is a int; expected a UseCase value"):
        load_use_case("shadow_platform_tests.tiny:SEED")


@pytest.mark.parametrize("name", use_case_names())
def test_a_subject_that_comes_back_counts_as_one_in_the_gate_of_every_product(name: str) -> None:
    assert load_use_case(name).gate.cluster == DAY_AND_SUBJECT
