"""One result of one check, and the one way a share is held against a limit.

Upstream: counts, ``chance``. Downstream: rows of data_quality, asset checks.
"""

from dataclasses import dataclass

from shadow_platform.contracts.policies.monitoring import QualityCheck
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.quality.chance import share_at_least, share_at_most


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found on a day.

    Attributes:
        checked: feature, view or kind of events; empty where all requests are.
        value: what was measured, in the unit of the limit; ``None`` if insufficient.
        n: rows looked at.
    """

    check: QualityCheck
    checked: str
    outcome: Outcome
    value: float | None
    limit: float
    n: int
    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """``k`` rows of ``n``."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """The share; not defined without rows."""
        return self.k / self.n


def insufficient(check: QualityCheck, checked: str, limit: float, n: int, reason: str) -> Finding:
    """Nothing can be said, and why."""
    return Finding(check, checked, Outcome.INSUFFICIENT, None, limit, n, reason)


def judged(check: QualityCheck, checked: str, limit: float, found: Share, told: str) -> Finding:
    """A share against its limit: it fails when not even chance brings it back within.

    Args:
        told: what the rows are, as in "3 of 200 <told>".
    """
    if not found.n:
        return insufficient(check, checked, limit, 0, "no request to look at")
    least = share_at_least(found.k, found.n)
    outcome = Outcome.FAIL if least > limit else Outcome.PASS
    reason = f"{found.k} of {found.n} {told} ({found.value:.2%}, at least {least:.2%} beyond chance; limit {limit:.2%})"
    return Finding(check, checked, outcome, found.value, limit, found.n, reason)


def judged_rise(check: QualityCheck, checked: str, limit: float, found: Share, usual: Share, told: str) -> Finding:
    """The rise of a share over the reference against its limit; both are uncertain, to the benefit of the day."""
    if not found.n:
        return insufficient(check, checked, limit, 0, "no request to look at")
    if not usual.n:
        return insufficient(check, checked, limit, found.n, "the champion's reference has no row to compare with")
    rise = share_at_least(found.k, found.n) - share_at_most(usual.k, usual.n)
    reason = (
        f"{found.k} of {found.n} {told} ({found.value:.1%}; {usual.value:.1%} in the champion's reference; "
        f"a rise of {limit:.1%} is allowed)"
    )
    outcome = Outcome.FAIL if rise > limit else Outcome.PASS
    return Finding(check, checked, outcome, found.value - usual.value, limit, found.n, reason)
