"""The verdict on one window of calls: whether they breach the objectives beyond what chance explains.

Belongs here: the verdict and its words. Does not belong here: which calls are in the window (``bento.slo_window``),
what follows from a breach (``adapters.deployment``). Pure. Upstream: latencies and failures. Downstream: the guard,
``shadow canary status``, rollouts.

The guard looks again every second, so a plain "p95 above the limit" would fire on noise sooner or later. A breach must
be certain: the exact lower bound (Clopper and Pearson 1934) of the share of slow, or failed, requests lies above the
limit, which is the exact binomial test at ``ALPHA`` a look. Simulated with a look a second at 4 to 200 requests/s: a
service exactly at its limit is taken for a breach in about 1 % of hours, one at half its limit never; at 20 to 200
requests/s, twice the tolerated share of slow answers is found within 3 to 20 s, twice that of errors (1 %) within 12 s
to 2 min, ten times either as soon as there are enough requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from shadow_platform.contracts.verdicts import Frozen, Outcome

ALPHA = 1e-5
SLOW_SHARE = 0.05
"""The p95 is above a limit exactly when more than this share of the answers is slower than it."""
QUARTERS, BREACHED_QUARTERS = 4, 3
"""One stall of the machine makes neighbouring answers slow; a slow model is slow all along the window."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a service promises.

    Attributes:
        p95_ms: 95 % of the answers are faster, milliseconds.
        error_rate: tolerated share of requests that the model fails.
        min_requests: below this many there is no verdict.
    """

    p95_ms: float
    error_rate: float
    min_requests: int


class SloVerdict(Frozen):
    """One model's figures in one window. ``insufficient``: too few requests, or above a limit by chance, maybe."""

    outcome: Outcome
    n: int
    n_slow: int
    n_failed: int
    p95_ms: float | None
    error_rate: float | None
    p95_limit_ms: float
    error_rate_limit: float
    reason: str


def judge(latencies_ms: Sequence[float | None], objectives: Objectives) -> SloVerdict:
    """The verdict on one model's requests, oldest first; ``None`` stands for a request that it failed.

    >>> judge([10.0] * 100 + [None] * 100, Objectives(200.0, 0.01, 200)).reason
    '100 of 200 requests failed (50.00 %, limit 1.00 %)'
    """
    answered = np.array([latency for latency in latencies_ms if latency is not None], dtype=float)
    slow = answered > objectives.p95_ms
    n, n_slow, n_failed = len(latencies_ms), int(slow.sum()), len(latencies_ms) - len(answered)
    p95_ms = float(np.quantile(answered, 1 - SLOW_SHARE, method="inverted_cdf")) if len(answered) else None
    error_rate = n_failed / n if n else None
    outcome, reason = _outcome(slow, n, n_failed, p95_ms, objectives)
    return SloVerdict(
        outcome=outcome,
        n=n,
        n_slow=n_slow,
        n_failed=n_failed,
        p95_ms=p95_ms,
        error_rate=error_rate,
        p95_limit_ms=objectives.p95_ms,
        error_rate_limit=objectives.error_rate,
        reason=reason,
    )


def halting_reason(canary: SloVerdict, champion: SloVerdict) -> str:
    """Why a canary is halted, with how the champion did meanwhile.

    It is halted also when the champion breaches as well: a slow canary takes the machine away from the champion, so a
    champion in trouble is no excuse, and halting costs nobody anything. The text says where to look first.
    """
    if champion.outcome is Outcome.FAIL:
        return f"{canary.reason}; the champion breached as well ({champion.reason}): look at the machine first"
    return f"{canary.reason}; the champion did not (p95 {_ms(champion.p95_ms)} of {champion.n} requests)"


def _outcome(
    slow: np.ndarray, n: int, n_failed: int, p95_ms: float | None, objectives: Objectives
) -> tuple[Outcome, str]:
    if n < objectives.min_requests:
        return Outcome.INSUFFICIENT, f"{n} of the {objectives.min_requests} requests that a verdict takes"
    n_slow = int(slow.sum())
    above, certain = [], False
    if p95_ms is not None and p95_ms > objectives.p95_ms:
        above.append(f"p95 {p95_ms:.0f} ms (limit {objectives.p95_ms:g} ms, {n_slow} of {len(slow)} answers slower)")
        certain = _is_certain(n_slow, len(slow), SLOW_SHARE) and _is_lasting(slow)
    if n_failed / n > objectives.error_rate:
        share, limit = 100 * n_failed / n, 100 * objectives.error_rate
        above.append(f"{n_failed} of {n} requests failed ({share:.2f} %, limit {limit:.2f} %)")
        certain = certain or _is_certain(n_failed, n, objectives.error_rate)
    if not above:
        return Outcome.PASS, f"p95 {_ms(p95_ms)}, {n_failed} of {n} requests failed: within the limits"
    text = " and ".join(above)
    return (Outcome.FAIL, text) if certain else (Outcome.INSUFFICIENT, f"{text}, which may be chance or one stall")


def _is_certain(k: int, n: int, limit: float) -> bool:
    """Whether so many of ``n``, or more, come by chance with less than ``ALPHA`` at a share of ``limit``."""
    return k > 0 and float(betainc(k, n - k + 1, limit)) < ALPHA


def _is_lasting(slow: np.ndarray) -> bool:
    shares = [float(quarter.mean()) for quarter in np.array_split(slow, QUARTERS)]
    return sum(share > SLOW_SHARE for share in shares) >= BREACHED_QUARTERS


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"
