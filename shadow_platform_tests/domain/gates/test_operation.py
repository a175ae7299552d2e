"""What the shadow left out is held against what it compared; rates are judged as often as one likes."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion, Outcome
from shadow_platform.domain.gates.coverage import BIAS_FLOOR, judge_coverage
from shadow_platform.domain.gates.criterion import log_evidence, rate_outcome
from shadow_platform_tests.cohorts import paired_cohort
from shadow_platform_tests.streams import equal_models

POLICY = GatePolicy(segments=("segment", "region"))


def cohort(n: int = 6_000) -> pd.DataFrame:
    rows = paired_cohort(equal_models(np.random.default_rng(0), 1, n))
    return rows.assign(region=np.where(np.arange(n) % 2 == 0, "north", "south"))


def bias(rows: pd.DataFrame, policy: GatePolicy = POLICY) -> Criterion:
    return next(c for c in judge_coverage(rows, policy) if c.name == "coverage_bias_segments")


def test_sparing_one_segment_is_seen_though_coverage_is_high() -> None:
    rows = cohort()
    rows.loc[rows.index[rows["segment"].eq("a")][:50], "outcome"] = "dropped"

    found = bias(rows)

    assert next(c for c in judge_coverage(rows, POLICY) if c.name == "shadow_coverage").outcome is Outcome.PASS
    assert found.outcome is Outcome.FAIL
    assert found.n == 50
    assert "levels of 50 uncompared requests differ in segment (total variation 0.67" in found.reason


def test_dropping_at_random_is_no_bias() -> None:
    rng, rows = np.random.default_rng(1), cohort()
    flagged = 0
    for _ in range(40):
        dropped = rng.choice(len(rows), 60, replace=False)
        flagged += bias(rows.assign(outcome=np.where(np.isin(rows.index, dropped), "failed", "compared"))).outcome is (
            Outcome.FAIL
        )

    assert flagged == 0


def test_a_difference_that_is_sure_but_slight_does_not_matter() -> None:
    rows = cohort(40_000)
    is_a = rows["segment"].eq("a").to_numpy()
    left_out = np.concatenate([np.flatnonzero(is_a)[:1_550], np.flatnonzero(~is_a)[:2_450]])
    rows.loc[left_out, "outcome"] = "dropped"

    found = bias(rows)

    assert found.outcome is Outcome.PASS
    assert found.value is not None
    assert 0.04 < found.value < BIAS_FLOOR
    assert float(found.reason.rpartition("p ")[2]) < 1e-6


def test_missing_levels_are_a_level() -> None:
    rows = cohort()
    rows.loc[rows.index[:200], "region"] = None
    rows.loc[rows.index[:40], "outcome"] = "failed"

    assert "region" in bias(rows).reason
    assert bias(rows).outcome is Outcome.FAIL


def test_few_left_out_requests_say_nothing_of_levels_that_are_rare() -> None:
    rows = cohort()
    rows["region"] = [f"r{i % 60}" for i in range(len(rows))]
    rows.loc[rows.index[:3], "outcome"] = "failed"

    assert bias(rows).outcome is Outcome.PASS


@pytest.mark.parametrize(("outcome", "expected"), [("compared", Outcome.PASS), ("missing", Outcome.INSUFFICIENT)])
def test_all_or_nothing_compared_has_no_bias_to_measure(outcome: str, expected: Outcome) -> None:
    assert {c.outcome for c in judge_coverage(cohort().assign(outcome=outcome), POLICY)[1:]} == {expected}


def test_an_empty_cohort_is_insufficient() -> None:
    assert {c.outcome for c in judge_coverage(cohort().head(0), POLICY)} == {Outcome.INSUFFICIENT}


def test_without_segments_there_is_no_criterion_on_them() -> None:
    assert [c.name for c in judge_coverage(cohort(), GatePolicy())] == ["shadow_coverage", "coverage_bias"]


@pytest.mark.parametrize(("bad", "n", "limit"), [(0, 300, 0.01), (5, 200, 0.01), (40, 400, 0.05), (3, 10, 0.2)])
def test_evidence_on_a_rate_is_the_integral_over_all_rates_above_the_limit(bad: int, n: int, limit: float) -> None:
    def likelihood(p: float) -> float:
        return float(np.exp(stats.binom.logpmf(bad, n, p) - stats.binom.logpmf(bad, n, limit)))

    mean = integrate.quad(likelihood, limit, 1, points=[max(limit, bad / n)], limit=400)[0] / (1 - limit)

    assert log_evidence(bad, n, limit) == pytest.approx(np.log(mean), rel=1e-4, abs=1e-6)


def test_a_rate_at_its_limit_is_rarely_rejected_however_often_one_looks() -> None:
    rng, looks = np.random.default_rng(3), np.arange(200, 6_001, 100)
    policy, rejected, naive = GatePolicy(), 0, 0
    for _ in range(200):
        bad = np.cumsum(rng.random(6_000) < 0.01)[looks - 1]
        rejected += any(
            rate_outcome(int(b), int(n), 0.01, policy) is Outcome.FAIL for b, n in zip(bad, looks, strict=True)
        )
        naive += bool((stats.binom.sf(bad - 1, looks, 0.01) < 0.05).any())

    assert rejected <= 10
    assert naive > 20


def test_a_rate_far_above_its_limit_is_rejected() -> None:
    assert rate_outcome(20, 400, 0.01, GatePolicy()) is Outcome.FAIL
