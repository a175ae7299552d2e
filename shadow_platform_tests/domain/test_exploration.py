"""Which decisions are explored: a fair draw by request id alone, of its own, whose probability is on record."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bento.answering.idempotency import request_id_of
from shadow_platform.contracts.deployment import Canary, DeployedModel
from shadow_platform.contracts.use_case import Exploration
from shadow_platform.domain.canary import variant_of
from shadow_platform.domain.exploration import SEEN, ExplorationRule, Exposure
from shadow_platform.domain.shadow import ShadowPolicy
from shadow_platform_tests.tiny import USE_CASE

AT = datetime(2024, 1, 1, tzinfo=UTC)
IDS = [request_id_of("tiny", "key", index) for index in range(20_000)]
SHARES = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


def explored(share: float) -> set[str]:
    rule = ExplorationRule(share, is_censored=True)
    return {request_id for request_id in IDS if rule.exposure(request_id, is_positive=True).is_explored}


def in_canary(share: float, salt: str) -> set[str]:
    """Requests a canary would answer whose subject is the request's own id: the least independent case."""
    model = DeployedModel(version="2", bundle_hash="", model_name="m", since=AT)
    canary = Canary(model=model, share=share, salt=salt, started_at=AT)
    return {request_id for request_id in IDS if variant_of(canary, request_id) == "canary"}


def sampled(share: float) -> set[str]:
    policy = ShadowPolicy(sample_rate=share)
    return {request_id for request_id in IDS if policy.drop_reason(request_id, 0.0) is None}


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
def test_the_share_of_positive_decisions_is_the_one_asked_for(share: float) -> None:
    assert stats.binomtest(len(explored(share)), len(IDS), share).pvalue > 1e-4


@pytest.mark.parametrize(
    "other",
    [lambda: sampled(0.3), lambda: in_canary(0.3, "a"), lambda: in_canary(0.3, "exploration")],
    ids=["shadow sampling", "canary", "canary with a salt of the same name"],
)
def test_the_draw_says_nothing_about_who_samples_or_answers(other: Callable[[], set[str]]) -> None:
    first, second = explored(0.3), other()
    both = len(first & second)
    table = [[both, len(first) - both], [len(second) - both, len(IDS) - len(first | second)]]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@given(st.text(max_size=40), SHARES, SHARES)
def test_raising_the_share_keeps_every_request_that_was_in(request_id: str, one: float, other: float) -> None:
    low, high = (ExplorationRule(share, is_censored=True) for share in sorted((one, other)))
    if low.exposure(request_id, is_positive=True).is_explored:
        assert high.exposure(request_id, is_positive=True).is_explored


@given(st.text(max_size=40), SHARES, st.booleans(), st.booleans())
def test_a_request_is_drawn_once_and_for_all(
    request_id: str, share: float, is_censored: bool, is_positive: bool
) -> None:
    first, again = (ExplorationRule(share, is_censored).exposure(request_id, is_positive) for _ in range(2))
    assert first == again


@given(st.text(max_size=40), st.just(0.0) | SHARES, st.booleans())
def test_a_negative_decision_is_carried_out_and_seen(request_id: str, share: float, is_censored: bool) -> None:
    assert ExplorationRule(share, is_censored).exposure(request_id, is_positive=False) == SEEN


@given(st.text(max_size=40), SHARES)
def test_the_outcome_of_a_positive_decision_is_seen_as_often_as_it_is_explored(request_id: str, share: float) -> None:
    assert ExplorationRule(share, is_censored=True).exposure(request_id, is_positive=True).label_propensity == share
    assert ExplorationRule(share, is_censored=False).exposure(request_id, is_positive=True).label_propensity == 1.0


@given(st.text(max_size=40))
def test_without_exploration_a_hidden_outcome_is_never_seen_and_another_always(request_id: str) -> None:
    assert ExplorationRule(0.0, is_censored=True).exposure(request_id, is_positive=True) == Exposure(False, 0.0)
    assert ExplorationRule(0.0, is_censored=False).exposure(request_id, is_positive=True) == SEEN


def test_weighted_by_its_probability_what_is_seen_makes_up_for_what_is_hidden() -> None:
    """Horvitz and Thompson: the weights of the explored add up to the number of all, within the error of the draw."""
    share = 0.05
    n_estimated = len(explored(share)) / share
    standard_error = (len(IDS) * (1 - share) / share) ** 0.5
    assert abs(n_estimated - len(IDS)) < 4 * standard_error


def test_the_rule_is_the_one_the_use_case_declares() -> None:
    assert ExplorationRule.of(USE_CASE) == ExplorationRule(0.0, is_censored=False)
    censored = replace(USE_CASE, label=replace(USE_CASE.label, hidden_by="platform"), exploration=Exploration(0.05))
    assert ExplorationRule.of(censored) == ExplorationRule(0.05, is_censored=True)
