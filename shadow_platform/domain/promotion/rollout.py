"""Which step of a rollout comes next: a table of cases over what is deployed, what was seen and what time it is.

Belongs here: the state machine. Does not belong here: carrying a step out (assets.promotion), where the state is kept
(adapters.deployment.rollouts). Upstream: rollout, manifest, policy. Downstream: the ``promotion`` asset, its sensor,
``shadow rollout show``.

The deployment manifest is the truth and the rollout's state only says what was meant: a step that was carried out by a
process that died before it could note it is found in the manifest and noted, and one that is repeated changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.policies.rollout import Approval, RolloutPolicy
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.verdicts import Decision, GateDecision, Outcome

GATE = "gate"
"""Who carries out what the gate decided, in the audit trail."""
MAX_FAILURES = 5
BACKOFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1))
"""Wait after the first, second, third and fourth failure in a row; the fifth halts."""


class Move(StrEnum):
    """What a step does. ``END`` and ``TAKE_BACK`` lead to the state that the step names."""

    WAIT = "wait"
    BUILD = "build"
    SHARE = "share"
    PROMOTE = "promote"
    SETTLE = "settle"
    TAKE_BACK = "take_back"
    ARCHIVE = "archive"
    END = "end"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a rollout since its step began.

    Attributes:
        n_requests: answered by the canary.
        slo: verdict of the service's objectives on them.
        slo_reason: that verdict in words.
        decision: newest of the gate on this version against this champion; ``None``: the one that began it.
        promoted_by: who made the version champion, if it is; ``None``: it is not, or nobody says so yet.
    """

    n_requests: int = 0
    slo: Outcome = Outcome.INSUFFICIENT
    slo_reason: str = ""
    decision: GateDecision | None = None
    promoted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The step to take now.

    Attributes:
        state: of the rollout once the step is taken.
        canary_step, share: of the canary, of a step ``SHARE``.
        is_stuck: it waits, and has done so for longer than the policy tolerates.
    """

    move: Move
    state: RolloutState
    reason: str
    canary_step: int | None = None
    share: float | None = None
    is_stuck: bool = False


def next_step(
    rollout: Rollout, manifest: DeploymentManifest | None, policy: RolloutPolicy, seen: Seen, now: datetime
) -> Step:
    """The step that is due now; ``WAIT`` says what it waits for.

    Args:
        manifest: in force.
        seen: of the step in force.
    """
    if rollout.state.is_end:
        return Step(Move.WAIT, rollout.state, rollout.detail)
    if manifest is None:
        return Step(Move.END, RolloutState.OUTDATED, "no deployment is in force any more")
    found = (
        _settling(rollout, manifest, seen, now)
        or _ended_by_deployment(rollout, manifest)
        or _ended_by_evidence(rollout, manifest, seen, now)
        or _held(rollout, policy, seen, now)
        or _onward(rollout, manifest, policy, seen, now)
    )
    patience = policy.patience(rollout.canary_step)
    if found.move is Move.WAIT and now - rollout.step_started_at > patience:
        days = patience / timedelta(days=1)
        return Step(Move.WAIT, found.state, f"stuck for more than {days:.4g} days: {found.reason}", is_stuck=True)
    return found


def held_by(decision: GateDecision | None) -> str | None:
    """Why the gate's newest decision lets a rollout go no further; ``None``: it does not.

    What lacks evidence holds nothing up: the rollout began on what had been shown, and looking again takes nothing of
    that back. A criterion that fails says that something speaks against the version, or against the comparison.
    """
    if decision is None or decision.decision is not Decision.WAIT:
        return None
    failed = [f"{c.name} {c.outcome}: {c.reason}" for c in decision.criteria if c.outcome is Outcome.FAIL]
    return f"held by decision {decision.decision_id[:12]}: {'; '.join(failed)}" if failed else None


def approval_of(policy: RolloutPolicy, environments: Iterable[str]) -> Approval:
    """Who lets a rollout begin that concerns several environments: a person, if any of them needs one."""
    found = {policy.approval_in(environment) for environment in environments}
    return "automatic" if found == {"automatic"} else "person"


@dataclass(frozen=True, slots=True)
class History:
    """Rows of ``rollout_steps`` so far, oldest first."""

    rows: tuple[Mapping[str, Any], ...]

    def has_used(self, decision_id: str) -> bool:
        """Whether a rollout began on the decision."""
        return any(row["decision_id"] == decision_id for row in self.rows)

    def barred(self, version: str) -> str | None:
        """Why no decision may begin another rollout of a version: refused, or halted for what it did."""
        last = self._last(version)
        ends = (RolloutState.REFUSED.value, RolloutState.HALTED.value)
        if last is None or last["state"] not in ends or last["is_failure"]:
            return None
        return f"rollout {last['rollout_id']} of version {version} was {last['state']} ({last['detail']})"

    def excuses(self, canary: Canary) -> bool:
        """Whether a canary was taken back because steps of its rollout failed, not for what it did."""
        last, reason = self._last(canary.model.version), canary.halted_reason
        return last is not None and reason is not None and bool(last["is_failure"]) and reason in last["detail"]

    def _last(self, version: str) -> Mapping[str, Any] | None:
        return next((row for row in reversed(self.rows) if row["version"] == version), None)


def obstacle_to_begin(
    decision: GateDecision, current: Rollout | None, history: History, manifest: DeploymentManifest
) -> str | None:
    """Why a decision to promote begins no rollout; ``None``: it does."""
    version, canary = decision.challenger_version, manifest.canary
    if current is not None and not current.state.is_end:
        return f"rollout {current.rollout_id} of version {current.version} is {current.state}: {current.detail}"
    if history.has_used(decision.decision_id):
        return f"decision {decision.decision_id[:12]} began a rollout already; evaluate the gate again"
    barred = history.barred(version)
    is_halted = canary is not None and canary.model.version == version and canary.halted_reason is not None
    if barred is None and canary is not None and is_halted and not history.excuses(canary):
        barred = f"version {version} was halted as canary ({canary.halted_reason})"
    return f"{barred}; only a person promotes it: `shadow promote {version} --reason ...`" if barred else None


def watch_ends_at(manifest: DeploymentManifest, span: timedelta) -> datetime | None:
    """When the champion before this one leaves the shadow; ``None``: it is not watched.

    Args:
        span: of the use case, ``UseCase.watch_span``.
    """
    previous = manifest.previous
    if previous is None or not span:
        return None
    watched = [model for model in manifest.challengers if model.version == previous.version]
    return watched[0].since + span if watched else None


def _settling(rollout: Rollout, manifest: DeploymentManifest, seen: Seen, now: datetime) -> Step | None:
    """What follows once the version is champion; what cannot be done in the end is left, and so is a person's act."""
    version = rollout.version
    if manifest.champion.version != version:
        return None
    if seen.promoted_by not in (None, GATE):
        return Step(Move.END, RolloutState.OUTDATED, f"version {version} was promoted by hand by {seen.promoted_by}")
    if rollout.n_failures >= MAX_FAILURES:
        return Step(Move.END, RolloutState.PROMOTED, f"version {version} is champion; left undone: {rollout.detail}")
    settle = Step(Move.SETTLE, RolloutState.PROMOTED, f"version {version} is champion: the workers must follow")
    return _between_attempts(rollout, now) or settle


def _ended_by_deployment(rollout: Rollout, manifest: DeploymentManifest) -> Step | None:
    """What the manifest says besides the rollout: outdated, or taken away."""
    version, serving = rollout.version, manifest.champion.version
    if serving != rollout.expected_champion:
        reason = f"version {serving} serves now, but {version} was judged against {rollout.expected_champion}"
        return Step(Move.END, RolloutState.OUTDATED, reason)
    if version in {model.version for model in manifest.challengers}:
        return None
    is_previous = manifest.previous is not None and manifest.previous.version == version
    if is_previous and manifest.champion.since > rollout.begun_at:
        return Step(Move.END, RolloutState.HALTED, f"version {version} was champion and was rolled back to {serving}")
    return Step(Move.END, RolloutState.OUTDATED, f"version {version} was taken out of the shadow")


def _ended_by_evidence(rollout: Rollout, manifest: DeploymentManifest, seen: Seen, now: datetime) -> Step | None:
    """What speaks against the version: the gate, the guard, its answers as canary."""
    decision, canary = seen.decision, manifest.canary
    is_own = canary is not None and canary.model.version == rollout.version and canary.salt != rollout.past_canary
    if decision is not None and decision.decision is Decision.REJECT:
        reason = f"rejected by decision {decision.decision_id[:12]}: {decision.reason}"
        archive = Step(Move.ARCHIVE, RolloutState.HALTED, reason)
        return archive if is_own and canary and canary.share > 0 else _between_attempts(rollout, now) or archive
    if canary is not None and is_own and canary.halted_reason is not None:
        return Step(Move.END, RolloutState.HALTED, f"the canary was halted: {canary.halted_reason}")
    if rollout.state is RolloutState.CANARY and rollout.canary_step is not None and not is_own:
        return Step(Move.END, RolloutState.HALTED, "the canary was taken away by hand")
    if rollout.state is RolloutState.CANARY and seen.slo is Outcome.FAIL:
        return Step(Move.TAKE_BACK, RolloutState.HALTED, f"the canary breaches the objectives: {seen.slo_reason}")
    return None


def _held(rollout: Rollout, policy: RolloutPolicy, seen: Seen, now: datetime) -> Step | None:
    """What the rollout waits for before anything is tried: a person, the next attempt, or another decision."""
    held = held_by(seen.decision)
    if rollout.state is RolloutState.AWAITING_APPROVAL:
        days = policy.approval_timeout / timedelta(days=1)
        if now - rollout.step_started_at > policy.approval_timeout:
            reason = f"nobody approved it within {days:g} days; the gate may ask again"
            return Step(Move.END, RolloutState.OUTDATED, reason)
        reason = held or f"a person must approve it: `shadow promote --approve {rollout.rollout_id}`"
        return Step(Move.WAIT, rollout.state, f"{reason}; given up after {days:g} days")
    if rollout.n_failures >= MAX_FAILURES:
        reason = f"{rollout.n_failures} attempts in a row failed, the last: {rollout.detail}"
        return Step(Move.TAKE_BACK, RolloutState.HALTED, reason)
    return _between_attempts(rollout, now) or (Step(Move.WAIT, rollout.state, held) if held else None)


def _between_attempts(rollout: Rollout, now: datetime) -> Step | None:
    if not rollout.n_failures:
        return None
    again_at = rollout.stepped_at + BACKOFF[min(rollout.n_failures, len(BACKOFF)) - 1]
    if now >= again_at:
        return None
    return Step(Move.WAIT, rollout.state, f"tried again after {again_at:%Y-%m-%d %H:%M:%S} UTC: {rollout.detail}")


def _onward(rollout: Rollout, manifest: DeploymentManifest, policy: RolloutPolicy, seen: Seen, now: datetime) -> Step:
    if rollout.bento is None:
        return Step(Move.BUILD, rollout.state, "the Bento of the deployment to come")
    at = -1
    if rollout.state is RolloutState.CANARY and rollout.canary_step is not None:
        at = rollout.canary_step
    elif manifest.canary is not None and _answers_for_another(manifest.canary, rollout.version):
        other = manifest.canary.model.version
        return Step(Move.WAIT, rollout.state, f"version {other} answers as canary; `shadow canary stop` makes room")
    waits = _canary_waits(rollout, policy, seen, now, at)
    if waits:
        return Step(Move.WAIT, rollout.state, waits)
    if at + 1 < len(policy.canary_steps):
        share = policy.canary_steps[at + 1].share
        return Step(Move.SHARE, RolloutState.CANARY, f"answers {share:.1%} of subjects", at + 1, share)
    if not _is_of(rollout.bento, manifest.generation + 1):
        return Step(Move.BUILD, rollout.state, f"the deployment has changed since {rollout.bento} was built")
    return Step(Move.PROMOTE, RolloutState.PROMOTED, "every step of the rollout is taken")


def _canary_waits(rollout: Rollout, policy: RolloutPolicy, seen: Seen, now: datetime, at: int) -> str | None:
    """What the canary's step waits for; a step that the policy has no longer is over."""
    if not 0 <= at < len(policy.canary_steps):
        return None
    step, lasted = policy.canary_steps[at], now - rollout.step_started_at
    waits = []
    if lasted < step.min_duration:
        until = rollout.step_started_at + step.min_duration
        waits.append(f"not before {until:%Y-%m-%d %H:%M:%S} UTC")
    if seen.n_requests < step.min_requests:
        traffic = "no traffic" if seen.n_requests == 0 else f"{seen.n_requests} requests"
        waits.append(f"{traffic} so far of the {step.min_requests} that the canary must answer")
    return f"canary at {step.share:.1%}: {' and '.join(waits)}" if waits else None


def _answers_for_another(canary: Canary, version: str) -> bool:
    return canary.share > 0 and canary.model.version != version


def _is_of(bento: str, generation: int) -> bool:
    """Whether a tag ``name:g<generation>-<content>`` is of the generation.

    >>> _is_of("tiny:g7-0a1b2c", 7), _is_of("tiny:g17-0a1b2c", 7)
    (True, False)
    """
    return bento.partition(":")[2].partition("-")[0] == f"g{generation}"
