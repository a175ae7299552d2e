"""Criteria on how the challenger ran in the shadow: errors, latency, coverage, parity, A/A.

Upstream: the matured cohort and facts of the bundles. Downstream: gates.decision.
"""

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import AAFacts, Criterion, Outcome, TrainingKnowledge
from shadow_platform.domain.gates.coverage import judge_coverage
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT, PASS, rate_outcome


def judge_operation(cohort: pd.DataFrame, policy: GatePolicy) -> list[Criterion]:
    """Criteria on errors, latency and coverage of the shadow."""
    return [
        _error_rate(cohort, policy),
        _latency(cohort, policy),
        *judge_coverage(cohort, policy),
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


def judge_parity(parity: Outcome, n: int) -> Criterion:
    """Whether the challenger's ONNX model answers as the trained pipeline did; hard."""
    reason = f"ONNX parity of the bundle: {parity} on {n} rows"
    return Criterion(name="onnx_parity", outcome=parity, value=None, limit=None, n=n, is_hard=True, reason=reason)


def judge_a_a(facts: AAFacts | None, policy: GatePolicy) -> list[Criterion]:
    """Whether the champion, shadowing itself through the real path, gives its own answers.

    A difference is nondeterminism or a stale feature, and makes every comparison suspect until it is explained.
    """
    limit = policy.max_a_a_difference
    if limit is None:
        return []
    if facts is None:
        outcome, reason = INSUFFICIENT, "the champion has not shadowed itself yet"
    elif shortfall := facts.shortfall(limit, policy.min_a_a):
        outcome, reason = INSUFFICIENT, shortfall
    elif facts.outcome is FAIL:
        outcome = FAIL
        reason = f"{facts.n_differing} of {facts.n} answers of the champion's own shadow differ or fail: {facts.run_id}"
    else:
        explained = "; a person explained them" if facts.is_explained else ""
        outcome = PASS
        reason = f"{facts.n_differing} of {facts.n} answers of the champion's own shadow differ{explained}"
    value, n = (facts.max_difference, facts.n) if facts else (None, 0)
    return [Criterion(name="a_a_difference", outcome=outcome, value=value, limit=limit, n=n, reason=reason)]


def judge_knowledge(knowledge: TrainingKnowledge | None) -> Criterion:
    """Whether the challenger was trained on nothing that became known later; hard."""
    value, n = (knowledge.n_leaked, knowledge.n_rows) if knowledge else (None, 0)
    outcome, reason = INSUFFICIENT, "what the challenger was trained on was not held against the labels"
    if knowledge is not None:
        outcome, reason = FAIL if knowledge.n_leaked else PASS, knowledge.detail
    return Criterion(name="training_knowledge", outcome=outcome, value=value, limit=0, n=n, is_hard=True, reason=reason)
