"""A watch brings the champion before back on labels and coverage alone."""

from dataclasses import replace

import numpy as np
import pytest

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import (
    Decision,
    Outcome,
    Purpose,
)
from shadow_platform.domain.gates import decide
from shadow_platform_tests.cohorts import paired_cohort
from shadow_platform_tests.domain.gates.deciding import better, criterion, inputs, worse
from shadow_platform_tests.streams import equal_models

WATCHED = [
    "matured_labels",
    "label_coverage",
    "log_loss_gain",
    "shadow_coverage",
    "coverage_bias",
    "coverage_bias_segments",
]


def test_a_watch_brings_the_champion_before_back_though_it_was_slow_in_the_shadow() -> None:
    cohort = better()
    cohort.loc[cohort.index[::10], "challenger_latency_ms"] = 900.0
    watch = replace(inputs(cohort, purpose=Purpose.WATCH), a_a=None, knowledge=None, parity=Outcome.FAIL)

    decision = decide(watch)

    assert decision.decision is Decision.PROMOTE
    assert [c.name for c in decision.criteria] == WATCHED[:-1]
    assert decide(inputs(cohort)).decision is Decision.REJECT


@pytest.mark.parametrize("outcome", ["failed", "dropped", "missing"])
def test_a_watch_does_not_judge_by_the_requests_that_the_champion_before_answered_alone(outcome: str) -> None:
    few, hard = better(8_000), better(8_000)
    few.loc[few.index[::20], "outcome"] = outcome
    hard.loc[hard["probability"].nlargest(70).index, "outcome"] = outcome

    of_few, of_hard = (
        decide(inputs(cohort, GatePolicy(segments=("segment",)), Purpose.WATCH)) for cohort in (few, hard)
    )

    assert (of_few.decision, of_hard.decision) == (Decision.WAIT, Decision.WAIT)
    assert [c.name for c in of_few.criteria] == WATCHED
    assert criterion(of_few, "log_loss_gain").outcome is Outcome.PASS
    assert criterion(of_few, "shadow_coverage").outcome is Outcome.FAIL
    assert criterion(of_hard, "coverage_bias").outcome is Outcome.FAIL


def test_a_watch_of_an_equal_or_worse_champion_before_changes_nothing() -> None:
    equal = paired_cohort(equal_models(np.random.default_rng(0), 1, 4_000))

    assert decide(inputs(equal, purpose=Purpose.WATCH)).decision is Decision.WAIT
    assert decide(inputs(worse(), purpose=Purpose.WATCH)).decision is Decision.WAIT
