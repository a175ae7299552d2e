"""How a challenger that the gate lets through takes over, and how long it is watched afterwards.

Upstream: nothing. Downstream: ``contracts.policies``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Approval = Literal["automatic", "person"]


@dataclass(frozen=True, slots=True)
class CanaryStep:
    """A share of subjects that the canary answers until enough time has passed and enough was seen.

    Attributes:
        share: of subjects, above 0, at most 1.
        min_duration: since the share was set.
        min_requests: answered by the canary since the share was set; without traffic the step does not end.
    """

    share: float
    min_duration: timedelta = timedelta(hours=1)
    min_requests: int = 200

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"a canary step's share is {self.share:g}; expected above 0 and at most 1")
        if self.min_duration < timedelta(0) or self.min_requests < 0:
            raise ValueError(f"a canary step lasts {self.min_duration} and {self.min_requests} requests; not below 0")


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """From a decision of the gate to the new champion.

    Attributes:
        canary_steps: shares in ascending order; empty: the challenger becomes champion at once.
        approval: who lets a rollout begin, by ``ENVIRONMENT``; what is not named needs a person.
        approval_timeout: a rollout that waits longer for a person is given up; the gate may ask again.
        stuck_after: a step that lasts longer than it must by so much is told as an alert; nothing else follows.
        watch: the champion before is kept in the shadow until the labels of so long are known (``UseCase.watch_span``),
            and brought back when it is shown to be better; zero: not at all.
    """

    canary_steps: tuple[CanaryStep, ...] = ()
    approval: Mapping[str, Approval] = field(
        default_factory=lambda: {"development": "automatic", "staging": "automatic", "production": "person"}
    )
    approval_timeout: timedelta = timedelta(days=7)
    stuck_after: timedelta = timedelta(days=2)
    watch: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        shares = [step.share for step in self.canary_steps]
        if shares != sorted(set(shares)):
            raise ValueError(f"the shares of the canary steps are {shares}; expected each above the one before")
        if min(self.approval_timeout, self.stuck_after, self.watch) < timedelta(0):
            raise ValueError("approval_timeout, stuck_after and watch of a rollout policy must not be below 0")

    def approval_in(self, environment: str) -> Approval:
        """Who lets a rollout begin in an environment.

        >>> RolloutPolicy().approval_in("staging"), RolloutPolicy().approval_in("elsewhere")
        ('automatic', 'person')
        """
        return self.approval.get(environment, "person")

    def patience(self, canary_step: int | None) -> timedelta:
        """How long a step of a rollout may last before it is stuck.

        >>> RolloutPolicy((CanaryStep(0.05, timedelta(days=7)),)).patience(0).days
        9
        """
        is_known = canary_step is not None and canary_step < len(self.canary_steps)
        least = self.canary_steps[canary_step].min_duration if canary_step is not None and is_known else timedelta(0)
        return least + self.stuck_after
