"""The performance verdict sees a change of P(y|x), counts days, and says when it cannot tell."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from shadow_platform.contracts.policies import PerformancePolicy
from shadow_platform.contracts.use_case import Threshold
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.estimation import (
    DayLosses,
    PerformanceInputs,
    judge_performance,
    performance_by_day,
    rise,
)
from shadow_platform.domain.estimation.verdict import carry_over
from shadow_platform_tests.domain.estimation.worlds import FIRST, Sample, world

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
POLICY = PerformancePolicy()


def inputs(reference: Sample, current: Sample, policy: PerformancePolicy = POLICY) -> PerformanceInputs:
    """A verdict on the current days, which follow those of the reference."""
    calibrator, shift = reference.calibrator(), int(reference.days.max()) + 1
    start = (FIRST + timedelta(days=shift)).to_pydatetime()
    return PerformanceInputs(
        use_case="tiny",
        model_version="1",
        policy=policy,
        reference=performance_by_day(reference.cohort(), "champion", AS_OF, calibrator),
        current=performance_by_day(current.cohort(shift), "champion", AS_OF, calibrator),
        window_start=start,
        window_end=start + timedelta(days=int(current.days.max()) + 1),
        labels_as_of=AS_OF,
    )


def failures(n_draws: int, concept: float, between: float, carried: float = 0.0) -> float:
    """Share of draws whose verdict fails; the shock of a day may carry over to the next."""
    rng, n_failed = np.random.default_rng(11), 0
    for _ in range(n_draws):
        reference = _losses(rng, 7, between, carried)
        current = _losses(rng, 28, between, carried, concept)
        increase = rise(reference, current, 0.01)
        n_failed += POLICY.log_loss.is_beyond(increase.value, increase.p_value)
    return n_failed / n_draws


def _losses(rng: np.random.Generator, n_days: int, between: float, carried: float, concept: float = 0.0) -> DayLosses:
    shock = rng.normal(0, 1, n_days)
    for day in range(1, n_days):
        shock[day] = carried * shock[day - 1] + np.sqrt(1 - carried**2) * shock[day]
    logit = rng.normal(-1, 1.2, (n_days, 300))
    label = rng.random(logit.shape) < expit(logit + between * shock[:, None] + concept)
    score = expit(0.6 * logit - 0.3)
    return DayLosses(-np.log(np.where(label, score, 1 - score)).sum(axis=1), np.full(n_days, 300.0), n_days * 300)


def of_means(losses: list[float]) -> DayLosses:
    """Days of fifty requests each."""
    return DayLosses(np.array(losses) * 50, np.full(len(losses), 50.0), 50 * len(losses))


def test_a_change_of_the_answer_to_unchanged_requests_fails() -> None:
    rng = np.random.default_rng(0)
    verdict = judge_performance(inputs(world(rng, 7, 300), world(rng, 28, 300, concept=1.2)))

    assert verdict.outcome is Outcome.FAIL
    assert verdict.increase_low is not None
    assert verdict.increase_low > 0.03
    assert "a change of P(y|x) or chance, which no rule on features sees" in verdict.explanation


def test_an_unchanged_world_passes() -> None:
    rng = np.random.default_rng(1)
    verdict = judge_performance(inputs(world(rng, 7, 300), world(rng, 28, 300)))

    assert verdict.outcome is Outcome.PASS
    assert (verdict.n_reference, verdict.n_current) == (2_100, 8_400)


def test_an_improvement_passes_however_large() -> None:
    rng = np.random.default_rng(2)
    verdict = judge_performance(inputs(world(rng, 7, 300), world(rng, 28, 300, mean=-4.0)))

    assert verdict.outcome is Outcome.PASS
    assert verdict.increase is not None
    assert verdict.increase < -0.05


@pytest.mark.parametrize("carried", [0.0, 0.5])
def test_false_alarms_are_rare_although_rows_of_a_day_and_days_of_a_week_are_alike(carried: float) -> None:
    assert failures(400, concept=0.0, between=0.5, carried=carried) <= 0.02


def test_a_change_of_the_answer_is_found_nearly_always() -> None:
    assert failures(150, concept=0.8, between=0.2) >= 0.95


def test_a_rise_too_small_to_matter_passes_although_it_is_certain() -> None:
    rng = np.random.default_rng(3)
    verdict = judge_performance(inputs(world(rng, 14, 3_000), world(rng, 28, 3_000, concept=0.15)))

    assert verdict.outcome is Outcome.PASS
    assert verdict.p_value is not None
    assert verdict.p_value < 0.01


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(10, 200), min_size=3, max_size=12, unique=True),
    st.lists(st.integers(10, 200), min_size=3, max_size=12, unique=True),
)
def test_of_days_that_carry_nothing_over_the_test_is_students(before: list[int], after: list[int]) -> None:
    reference, current = (of_means([loss / 100 for loss in losses]) for losses in (before, after))
    assume(carry_over([reference, current]) == 0)
    increase = rise(reference, current, 0.01)
    students = stats.ttest_ind(np.array(after) / 100, np.array(before) / 100, alternative="greater")

    assert increase.p_value == pytest.approx(students.pvalue, rel=1e-6, abs=1e-12)
    assert increase.low == pytest.approx(students.confidence_interval(0.99).low, rel=1e-6, abs=1e-9)


def test_what_a_day_carries_over_is_found() -> None:
    rng = np.random.default_rng(12)
    found = [carry_over([_losses(rng, 200, 0.5, carried)]) for carried in (0.0, 0.5)]

    assert found == pytest.approx([0.0, 0.4], abs=0.12)


@pytest.mark.parametrize(
    ("days", "per_day", "said"),
    [(4, 300, "on 4 days in its window, at least 500 on 5 wanted"), (10, 30, "300 labelled requests of version 1")],
)
def test_too_few_days_or_labels_are_no_verdict(days: int, per_day: int, said: str) -> None:
    rng = np.random.default_rng(4)
    verdict = judge_performance(inputs(world(rng, 7, 300), world(rng, days, per_day, concept=3.0)))

    assert verdict.outcome is Outcome.INSUFFICIENT
    assert said in verdict.explanation
    assert (verdict.increase, verdict.p_value) == (None, None)


def test_a_short_evaluation_is_no_reference() -> None:
    rng = np.random.default_rng(5)
    verdict = judge_performance(inputs(world(rng, 4, 300), world(rng, 28, 300, concept=3.0)))

    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "on 4 days in its evaluation" in verdict.explanation


def test_an_evaluation_that_is_gone_is_no_verdict() -> None:
    rng = np.random.default_rng(6)
    known = inputs(world(rng, 7, 300), world(rng, 28, 300))
    verdict = judge_performance(replace(known, reference=None))

    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "are gone" in verdict.explanation
    assert verdict.n_current == 8_400


def test_hidden_labels_without_exploration_are_no_verdict() -> None:
    rng = np.random.default_rng(7)
    known = inputs(world(rng, 7, 300), world(rng, 28, 300, concept=3.0))
    hidden = known.current.assign(estimator="not_identifiable", log_loss=np.nan)

    verdict = judge_performance(replace(known, current=hidden))

    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "had a chance to show its own" in verdict.explanation


def test_no_matured_day_is_no_verdict() -> None:
    rng = np.random.default_rng(8)
    known = inputs(world(rng, 7, 300), world(rng, 28, 300))

    verdict = judge_performance(replace(known, current=known.current.head(0)))

    assert (verdict.outcome, verdict.n_current) == (Outcome.INSUFFICIENT, 0)


def test_the_same_days_have_one_id_and_a_changed_label_another() -> None:
    rng = np.random.default_rng(9)
    known = inputs(world(rng, 7, 300), world(rng, 28, 300))
    shuffled = replace(known, current=known.current.sample(frac=1, random_state=0), labels_as_of=AS_OF + timedelta(1))
    corrected = known.current.assign(log_loss=known.current["log_loss"] + (known.current.index == 3) * 1e-6)

    assert shuffled.fingerprint == known.fingerprint
    assert replace(known, current=corrected).fingerprint != known.fingerprint
    assert replace(known, policy=PerformancePolicy(log_loss=Threshold(0.1))).fingerprint != known.fingerprint


def test_without_an_alpha_size_alone_decides() -> None:
    rng = np.random.default_rng(10)
    policy = PerformancePolicy(log_loss=Threshold(0.0001))
    verdict = judge_performance(inputs(world(rng, 14, 300), world(rng, 28, 300, concept=0.3), policy))

    assert verdict.outcome is Outcome.FAIL
    assert "with p below" not in verdict.explanation


def test_losses_that_never_vary_are_compared_as_they_are() -> None:
    low, high = of_means([0.5] * 5), of_means([0.75] * 5)

    assert rise(low, high, 0.01).p_value == 0.0
    assert rise(high, low, 0.01).p_value == 1.0
