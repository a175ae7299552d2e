"""Criteria on how the challenger ran in the shadow: errors, latency, coverage, parity, A/A.

Upstream: the matured cohort and facts of the bundles. Downstream: gates.decision.
"""

import numpy as np
import pandas as pd
from scipy import stats

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion, Outcome
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS, held, rate_outcome

BIAS_P_VALUE = 0.001
BIAS_FLOOR = 0.1


def judge_operation(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Criteria on errors, latency and coverage of the shadow."""
    return [
        _error_rate(cohort, policy),
        _latency(cohort, policy),
        _coverage(cohort, policy),
        _coverage_bias(cohort),
    ]


def _error_rate(cohort: pd.DataFrame, policy: GatePolicy) -> Criterion:
    failed = int(cohort["outcome"].eq("failed").sum())
    n = failed + int(cohort["outcome"].eq("compared").sum())
    limit = policy.max_challenger_error_rate
    return Criterion(
        name="challenger_error_rate",
        outcome=rate_outcome(failed, n, limit, policy),
        value=failed / n if n else None,
        limit=limit,
        n=n,
        is_hard=True,
        reason=f"{failed} of {n} requests failed, a rate of at most {limit:.4g} wanted",
    )


def _latency(cohort: pd.DataFrame, policy: GatePolicy) -> Criterion:
    ms = cohort.loc[cohort["outcome"].eq("compared"), "challenger_latency_ms"].dropna().to_numpy(np.float64)
    limit = policy.max_challenger_p95_ms
    slow = int((ms > limit).sum())
    return Criterion(
        name="challenger_latency_p95_ms",
        outcome=rate_outcome(slow, len(ms), 0.05, policy),
        value=float(np.quantile(ms, 0.95)) if len(ms) else None,
        limit=limit,
        n=len(ms),
        is_hard=True,
        reason=f"{slow} of {len(ms)} answers took more than {limit:.4g} ms, at most 5 % wanted",
    )


def _coverage(cohort: pd.DataFrame, policy: GatePolicy) -> Criterion:
    share = float(cohort["outcome"].eq("compared").mean()) if len(cohort) else None
    meaning = "share of the champion's requests that were compared"
    return held("shadow_coverage", share, policy.min_coverage, len(cohort), policy.min_samples, meaning, at_least=True)


def _coverage_bias(cohort: pd.DataFrame) -> Criterion:
    """Whether uncompared requests had other scores than compared ones (KS D, with p below ``BIAS_P_VALUE``)."""
    is_compared = cohort["outcome"].eq("compared")
    compared, other = cohort.loc[is_compared, "probability"], cohort.loc[~is_compared, "probability"]
    n = len(other)
    if n == 0 or compared.empty:
        outcome = PASS if len(cohort) else INSUFFICIENT
        reason = "every request was compared" if len(compared) else "no request was compared"
        return Criterion(name="coverage_bias", outcome=outcome, value=0.0, limit=BIAS_FLOOR, n=n, reason=reason)
    test = stats.ks_2samp(compared, other, method="asymp")
    is_biased = test.pvalue < BIAS_P_VALUE and test.statistic > BIAS_FLOOR
    reason = f"scores of {n} uncompared requests differ by KS D {test.statistic:.4f}, p {test.pvalue:.3g}"
    outcome, value = FAIL if is_biased else PASS, float(test.statistic)
    return Criterion(name="coverage_bias", outcome=outcome, value=value, limit=BIAS_FLOOR, n=n, reason=reason)


def judge_parity(parity: Outcome, n: int) -> Criterion:
    """Whether the challenger's ONNX model answers as the trained pipeline did; hard."""
    reason = f"ONNX parity of the bundle: {parity} on {n} rows"
    return Criterion(name="onnx_parity", outcome=parity, value=None, limit=None, n=n, is_hard=True, reason=reason)


def judge_a_a(difference: float | None, n: int, policy: GatePolicy) -> list[Criterion]:
    """Whether the champion, asked again with the logged features, gives the logged answer.

    A difference is nondeterminism or a wrongly logged feature, and makes every comparison suspect.
    """
    if policy.max_a_a_difference is None:
        return []
    meaning = "largest difference between a logged answer and the champion scoring it again"
    return [held("a_a_difference", difference, policy.max_a_a_difference, n, 1, meaning)]
