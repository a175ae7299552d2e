"""The objectives' verdict: certain of a breach, quick about a bad one, unmoved by noise and by one stall."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.slo import ALPHA, Objectives, halting_reason, judge

OBJECTIVES = Objectives(p95_ms=200.0, error_rate=0.01, min_requests=200)
FAST, SLOW = 10.0, 500.0


def shuffled(n: int, n_slow: int = 0, n_failed: int = 0, seed: int = 0) -> list[float | None]:
    found = [SLOW] * n_slow + [None] * n_failed + [FAST] * (n - n_slow - n_failed)
    order = np.random.default_rng(seed).permutation(n)
    return [found[i] for i in order]


@pytest.mark.parametrize(
    ("n", "n_slow", "n_failed", "outcome", "reason"),
    [
        (0, 0, 0, "insufficient", "0 of the 200 requests"),
        (199, 199, 0, "insufficient", "199 of the 200 requests"),
        (200, 0, 0, "pass", "p95 10 ms, 0 of 200 requests failed: within the limits"),
        (200, 9, 2, "pass", "p95 10 ms, 2 of 200 requests failed: within the limits"),
        (200, 12, 0, "insufficient", "12 of 200 answers slower), which may be chance or one stall"),
        (200, 60, 0, "fail", "p95 500 ms (limit 200 ms, 60 of 200 answers slower)"),
        (200, 0, 4, "insufficient", "4 of 200 requests failed (2.00 %, limit 1.00 %), which may be chance"),
        (200, 0, 20, "fail", "20 of 200 requests failed (10.00 %, limit 1.00 %)"),
        (200, 0, 200, "fail", "200 of 200 requests failed (100.00 %, limit 1.00 %)"),
        (400, 120, 40, "fail", "answers slower) and 40 of 400 requests failed"),
    ],
)
def test_the_verdict_names_its_figures(n: int, n_slow: int, n_failed: int, outcome: str, reason: str) -> None:
    verdict = judge(shuffled(n, n_slow, n_failed), OBJECTIVES)
    assert verdict.outcome == outcome, verdict.reason
    assert reason in verdict.reason
    assert (verdict.n, verdict.n_slow, verdict.n_failed) == (n, n_slow, n_failed)


@given(n=st.integers(1, 3000), share=st.floats(0.0, 1.0), seed=st.integers(0, 9))
def test_a_breach_by_errors_is_certain_by_the_exact_binomial_test(n: int, share: float, seed: int) -> None:
    n_failed = round(n * share)
    verdict = judge(shuffled(n, n_failed=n_failed, seed=seed), Objectives(200.0, 0.01, 1))
    p_value = binomtest(n_failed, n, 0.01, alternative="greater").pvalue if n_failed else 1.0
    assert (verdict.outcome is Outcome.FAIL) == (p_value < ALPHA)


@given(latencies=st.lists(st.floats(0.0, 1e4), min_size=200, max_size=400))
def test_a_p95_within_the_limit_is_never_a_breach(latencies: list[float]) -> None:
    verdict = judge(latencies, OBJECTIVES)
    assert verdict.p95_ms == sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]
    assert (verdict.outcome is Outcome.PASS) == (verdict.p95_ms <= 200.0)


def test_one_error_is_a_breach_where_none_is_tolerated() -> None:
    strict = Objectives(p95_ms=200.0, error_rate=0.0, min_requests=10)
    assert judge(shuffled(10), strict).outcome is Outcome.PASS
    assert judge(shuffled(1000, n_failed=1), strict).outcome is Outcome.FAIL


def test_one_stall_is_no_breach_but_as_many_slow_answers_all_along_are() -> None:
    stall = [FAST] * 450 + [SLOW] * 100 + [FAST] * 450
    for start in range(0, 900, 50):
        assert judge(stall[start:] + stall[:start], OBJECTIVES).outcome is Outcome.INSUFFICIENT
    assert judge(shuffled(1000, n_slow=100), OBJECTIVES).outcome is Outcome.FAIL


def test_a_service_at_its_limit_is_almost_never_taken_for_a_breach() -> None:
    """An hour of looks each second at 20 requests/s, both limits hit exactly; expected about 1 % of hours."""
    fired = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        slow, failed = rng.random(72_000) < 0.05, rng.random(72_000) < 0.01
        stream = [None if f else SLOW if s else FAST for s, f in zip(slow, failed, strict=True)]
        looks = (judge(stream[max(0, end - 1200) : end], OBJECTIVES) for end in range(400, 72_000, 100))
        fired.append(any(verdict.outcome is Outcome.FAIL for verdict in looks))
    assert fired == [False] * 3


@pytest.mark.parametrize(
    ("slow_share", "error_share", "n_needed"), [(0.3, 0.0, 240), (0.0, 0.1, 240), (0.1, 0.0, 1200)]
)
def test_a_bad_model_is_found_with_few_requests(slow_share: float, error_share: float, n_needed: int) -> None:
    for seed in range(20):
        draws = np.random.default_rng(seed).random(n_needed)
        stream = [None if d < error_share else SLOW if d < error_share + slow_share else FAST for d in draws]
        assert judge(stream, OBJECTIVES).outcome is Outcome.FAIL


def test_a_model_that_failed_everything_within_a_generous_limit_passes() -> None:
    verdict = judge([None] * 10, Objectives(p95_ms=200.0, error_rate=1.0, min_requests=1))
    assert verdict.reason == "p95 unknown, 10 of 10 requests failed: within the limits"


def test_a_halted_canary_is_told_with_how_the_champion_did() -> None:
    bad, good, none = (judge(shuffled(n, n_failed=f), OBJECTIVES) for n, f in ((200, 40), (400, 0), (0, 0)))
    assert halting_reason(bad, good).endswith("; the champion did not (p95 10 ms of 400 requests)")
    assert halting_reason(bad, bad).endswith("look at the machine first")
    assert halting_reason(bad, none).endswith("the champion did not (p95 unknown of 0 requests)")
