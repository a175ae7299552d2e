"""A comparison that is asked for again continues; a family of comparisons never spends more than its error."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import GateSequence, Purpose
from shadow_platform.domain.gates import alpha_of, open_sequence
from shadow_platform.domain.gates.families import declared_text

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def opened(
    known: tuple[GateSequence, ...] = (),
    challenger: str = "b",
    champion: str = "a",
    policy: GatePolicy | None = None,
    purpose: Purpose = Purpose.CHALLENGE,
    use_case: str = "tiny",
    now: datetime = NOW,
    since: datetime | None = None,
) -> GateSequence:
    return open_sequence(
        use_case=use_case,
        purpose=purpose,
        champion=("1", champion),
        challenger=("2", challenger),
        policy=policy or GatePolicy(),
        evidence_from=since or NOW - timedelta(days=30),
        is_anew=since is not None,
        known=known,
        now=now,
    )


def test_asking_again_continues_the_same_sequence() -> None:
    first = opened()

    assert opened((first,), now=NOW + timedelta(days=3)) is first


def test_a_further_kind_of_criterion_left_at_its_default_opens_no_sequence() -> None:
    """A declared policy is what differs from the defaults, whichever fields there are; the whole of it is kept."""
    assert declared_text(GatePolicy()) == "{}"
    assert declared_text(GatePolicy(margin=0.01, segments=("a",))) == '{"margin":0.01,"segments":["a"]}'
    assert {field.name for field in fields(GatePolicy)} == set(json.loads(opened().policy))


def test_two_gates_at_once_open_the_same_sequence() -> None:
    one, other = opened(), opened(now=NOW + timedelta(seconds=1))

    assert (one.sequence_id, one.ordinal, one.alpha) == (other.sequence_id, other.ordinal, other.alpha)


def test_another_challenger_or_policy_spends_the_next_ordinal_and_keeps_the_old_sequence() -> None:
    first = opened()
    second = opened((first,), challenger="c")
    third = opened((first, second), policy=GatePolicy(margin=0.01))

    assert [s.ordinal for s in (first, second, third)] == [1, 2, 3]
    assert first.alpha > second.alpha > third.alpha
    assert opened((first, second, third)) is first


def test_a_challenge_that_begins_anew_is_a_sequence_of_its_own_by_its_start() -> None:
    first = opened()
    anew = opened((first,), since=NOW)
    once_more = opened((first, anew), since=NOW + timedelta(days=1))

    assert opened((first, anew), since=NOW, now=NOW + timedelta(days=3)) is anew
    assert [s.ordinal for s in (first, anew, once_more)] == [1, 2, 3]
    assert opened((first, anew, once_more)) is first


@pytest.mark.parametrize("other", [{"champion": "x"}, {"purpose": Purpose.WATCH}, {"use_case": "other"}])
def test_another_champion_purpose_or_use_case_is_a_family_of_its_own(other: dict[str, str]) -> None:
    known = (opened(), opened(challenger="c"))
    found = opened(known, **other)  # type: ignore[arg-type]

    assert found.ordinal == 1
    assert found.sequence_id not in {s.sequence_id for s in known}


def test_a_sequence_lasts_as_json() -> None:
    sequence = opened()

    assert GateSequence.model_validate_json(sequence.model_dump_json()) == sequence


@given(alpha=st.floats(1e-6, 0.5), n=st.integers(1, 3_000))
def test_a_family_never_spends_more_than_its_error(alpha: float, n: int) -> None:
    assert sum(alpha_of(alpha, ordinal) for ordinal in range(1, n + 1)) <= alpha


def test_ordinals_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="ordinal 0 of a sequence: they are counted from 1"):
        alpha_of(0.05, 0)
