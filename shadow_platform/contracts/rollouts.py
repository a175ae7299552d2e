"""The rollout of one version: from the gate's decision to the new champion, step by step, whoever dies in between.

Belongs here: what is noted of a rollout. Does not belong here: what comes next (``domain.promotion``), where it is kept
(``adapters.deployment.rollouts``). Upstream: nothing. Downstream: promotion, ``rollout_steps``, pages, alerts.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from shadow_platform.contracts.records import Variant
from shadow_platform.contracts.verdicts import Frozen

KeptCall = tuple[float, int, float | None]
"""When a call was logged (seconds since the epoch), its draw, and its latency; ``None``: the canary failed it."""


class RolloutState(StrEnum):
    """Where a rollout stands; the last four are ends."""

    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    CANARY = "canary"
    PROMOTED = "promoted"
    REFUSED = "refused"
    HALTED = "halted"
    OUTDATED = "outdated"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self in {RolloutState.PROMOTED, RolloutState.REFUSED, RolloutState.HALTED, RolloutState.OUTDATED}


class Rollout(Frozen):
    """One rollout as it stands.

    Attributes:
        rollout_id: first 12 digits of the decision's id: what a person types after ``shadow promote --approve``.
        decision_id: decision of the gate that began it.
        expected_champion: champion the decision was made against; when another serves the rollout is outdated.
        canary_step: index of the step in force while in ``canary``; ``None`` before, and while the first begins.
        canary_share: share of subjects set by that step; ``None`` before.
        step_started_at: when the state, or the canary's share, was last changed.
        step_id: UUIDv7 of the step that led here, taken or failed: a row of ``rollout_steps``.
        stepped_at: when that step was taken, or failed.
        actor: who took it: a person, ``gate`` or ``policy``.
        past_canary: salt of the version's canary that an earlier rollout took back; it says nothing about this one.
        bento: tag of the verified Bento of the deployment to come; ``None`` until it is built.
        n_failures: attempts at the next step that failed in a row; the old state stays in force.
        detail: why it stands where it stands, for people: what it waits for, or what failed.
    """

    rollout_id: str
    use_case: str
    version: str
    expected_champion: str
    decision_id: str
    state: RolloutState
    begun_at: datetime
    step_started_at: datetime
    step_id: str
    stepped_at: datetime
    actor: str
    canary_step: int | None = None
    canary_share: float | None = None
    approved_by: str | None = None
    past_canary: str | None = None
    bento: str | None = None
    n_failures: int = 0
    detail: str


class CanaryEvidence(Frozen):
    """What the prediction log says of a canary since its step began, as far as it was read.

    A shortcut: without it the log is read again from the step's beginning.

    Attributes:
        since: when the step began.
        most: calls that are kept.
        after: byte up to which each segment of the log was read.
        batches: of each segment, what the rows of one batch have in common, of the last one: the next may be of it.
        n_requests: answered by the canary.
        n_halvings: how often the calls became too many; of ``n_halvings`` times every second request they are kept.
    """

    use_case: str
    version: str
    since: datetime
    most: int
    after: dict[str, int] = Field(default_factory=dict)
    batches: dict[str, tuple[Variant, str, float]] = Field(default_factory=dict)
    n_requests: int = 0
    n_halvings: int = 0
    calls: tuple[KeptCall, ...] = ()

    def is_of(self, other: "CanaryEvidence") -> bool:
        """Whether both are about the same step and keep as much."""
        return (self.version, self.since, self.most) == (other.version, other.since, other.most)
