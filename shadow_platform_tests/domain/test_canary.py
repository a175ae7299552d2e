"""Who a canary answers: sticky, in the share it was given, and never again by itself once it was halted."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.domain.canary import propensity_of, routing, variant_of

AT = datetime(2024, 1, 1, tzinfo=UTC)
SHARES = st.floats(0.0, 1.0)


def model(version: str, since: datetime = AT) -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=version, model_name="m", since=since)


def canary(share: float, salt: str = "s", version: str = "2", halted_reason: str | None = None) -> Canary:
    return Canary(model=model(version), share=share, salt=salt, started_at=AT, halted_reason=halted_reason)


def manifest(*challengers: str, by_hand: Canary | None = None, use_case: str = "shop") -> DeploymentManifest:
    return DeploymentManifest(
        use_case=use_case,
        generation=1,
        champion=model("1"),
        challengers=tuple(model(version) for version in challengers),
        canary=by_hand,
        written_at=AT,
    )


def chosen(found: Canary, n: int = 20_000) -> set[int]:
    return {i for i in range(n) if variant_of(found, f"subject-{i}") == "canary"}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("salt", ["a", "b", "0190-7f"])
def test_the_share_of_subjects_is_the_one_asked_for(share: float, salt: str) -> None:
    n = 20_000
    assert stats.binomtest(len(chosen(canary(share, salt), n)), n, share).pvalue > 1e-4


def test_the_draw_of_one_rollout_says_nothing_about_the_next() -> None:
    n, first, second = 20_000, chosen(canary(0.3, "first")), chosen(canary(0.3, "second"))
    both = len(first & second)
    table = [[both, len(first) - both], [len(second) - both, n - len(first | second)]]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@given(st.text(max_size=40), st.text(max_size=20), SHARES, SHARES)
def test_raising_the_share_keeps_everyone_who_was_in(subject: str, salt: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if variant_of(canary(low, salt), subject) == "canary":
        assert variant_of(canary(high, salt), subject) == "canary"


@given(st.text(max_size=40), st.text(max_size=20))
def test_nobody_is_in_at_zero_and_everybody_at_one(subject: str, salt: str) -> None:
    assert variant_of(canary(0.0, salt), subject) == "champion"
    assert variant_of(canary(1.0, salt), subject) == "canary"


@given(SHARES)
def test_the_propensities_of_both_variants_make_one(share: float) -> None:
    found = canary(share)
    assert propensity_of(found, "canary") == share
    assert propensity_of(found, "champion") == pytest.approx(1.0 - share)


def test_without_a_canary_or_a_split_there_is_none() -> None:
    assert routing(manifest("2"), 0.0) is None
    assert routing(manifest(), 0.5) is None


def test_a_split_makes_the_newest_challenger_the_canary_with_the_same_draw_everywhere() -> None:
    found = routing(manifest("3", "2"), 0.25)
    assert found is not None
    assert (found.model.version, found.share, found.started_at) == ("3", 0.25, AT)
    assert found == routing(manifest("3", "2"), 0.25)
    others = [routing(manifest("4"), 0.25), routing(manifest("3", use_case="other"), 0.25)]
    assert found.salt not in {other.salt for other in others if other}


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_canary_started_by_hand_counts_more_than_the_split(share: float) -> None:
    by_hand = canary(share, version="2")
    assert routing(manifest("3", "2", by_hand=by_hand), 0.5) == by_hand


@pytest.mark.parametrize("split", [0.0, 0.5])
@pytest.mark.parametrize("written_share", [0.0, 0.2])
def test_a_halted_version_is_not_started_again_by_the_split(split: float, written_share: float) -> None:
    halted = canary(written_share, version="2", halted_reason="p95")
    found = routing(manifest("2", by_hand=halted), split)
    assert found is not None
    assert (found.share, found.halted_reason, found.model.version) == (0.0, "p95", "2")


def test_a_newer_challenger_may_answer_after_another_was_halted() -> None:
    found = routing(manifest("3", "2", by_hand=canary(0.0, version="2", halted_reason="p95")), 0.5)
    assert found is not None
    assert (found.model.version, found.share, found.halted_reason) == ("3", 0.5, None)
