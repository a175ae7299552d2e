"""How one value is held against one limit: pass, fail or insufficient.

Upstream: gates.quality, gates.operation. Downstream: the criteria of a GateDecision.
"""

import numpy as np
from scipy import stats
from scipy.special import betaln, xlog1py, xlogy

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion, Outcome

PASS, FAIL, INSUFFICIENT = Outcome.PASS, Outcome.FAIL, Outcome.INSUFFICIENT


def held(
    name: str, value: float | None, limit: float, n: int, needed: int, meaning: str, at_least: bool = False
) -> Criterion:
    """Criterion that holds a value against a limit, insufficient below ``needed`` observations."""
    if n < needed:
        outcome, reason = INSUFFICIENT, f"{n} observations, at least {needed} needed"
    elif value is None or not np.isfinite(value):
        outcome, reason = INSUFFICIENT, f"{meaning} is not defined on these rows"
    else:
        is_met = value >= limit if at_least else value <= limit
        outcome = PASS if is_met else FAIL
        reason = f"{meaning} {value:.4g}, {'at least' if at_least else 'at most'} {limit:.4g} wanted"
    return Criterion(name=name, outcome=outcome, value=value, limit=limit, n=n, reason=reason)


def rate_outcome(bad: int, n: int, limit: float, policy: GatePolicy) -> Outcome:
    """Fail only when a rate above the limit is shown, pass when the rate is within it; may be asked every day."""
    if n < policy.min_samples:
        return INSUFFICIENT
    if bad <= limit * n:
        return PASS
    return FAIL if log_evidence(bad, n, limit) >= -np.log(policy.alpha) else INSUFFICIENT


def log_evidence(bad: int, n: int, limit: float) -> float:
    """Logarithm of the likelihood of all rates above the limit, equally weighted, over that of the limit.

    At a rate of ``limit`` or less it ever exceeds ``-log(alpha)`` with chance ``alpha`` at most (Robbins 1970), however
    often one looks; an exact test repeated every day has no such bound.
    """
    above = betaln(1 + bad, 1 + n - bad) + stats.beta.logsf(limit, 1 + bad, 1 + n - bad) - np.log1p(-limit)
    return float(above - xlogy(bad, limit) - xlog1py(n - bad, -limit))
