"""Begins a rollout and carries it on, step by step, until one waits.

Belongs here: looking at what a step needs to know, taking it, noting it or why it failed. Does not belong here: which
step comes next (domain.promotion). Upstream: decisions, deployment, the canary's answers. Downstream: deployment, the
log of rollouts.

A step that fails leaves everything as it was and is tried again later; what a dead process did but could not note is
found in the deployment and noted.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from logging import Logger
from typing import Any

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import ShadowPlatformError, TransitionConflict
from shadow_platform.contracts.retraining import ENVIRONMENT_TAG, PROMOTE_TAG
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision, Purpose
from shadow_platform.domain.promotion import GATE, History, Move, Seen, Step, approval_of, next_step, obstacle_to_begin
from shadow_platform.resources import PlatformResource

POLICY = "policy"
MAX_LOOKS = 20
"""In one run; a deployment that changes under every look is left to the next one."""


def begin(platform: PlatformResource, use_case: UseCase, decision: GateDecision, manifest: DeploymentManifest) -> str:
    """Begin a rollout on a decision to promote, if nothing is in its way; what came of it, in words."""
    current, version = platform.rollout(use_case), decision.challenger_version
    history = History(tuple(platform.rollout_steps(use_case)))
    obstacle = obstacle_to_begin(decision, current, history, manifest)
    if obstacle is not None:
        return obstacle
    tags, own = platform.registry().get(use_case.name, version).tags, platform.settings.environment
    if tags.get(PROMOTE_TAG) == "false":
        return f"whoever had version {version} trained asked not to promote it; `shadow promote {version}` does"
    is_automatic = approval_of(use_case.rollout, {own, tags.get(ENVIRONMENT_TAG, own)}) == "automatic"
    now, canary = platform.now(), manifest.canary
    is_past = canary is not None and canary.model.version == version and canary.halted_reason is not None
    begun = Rollout(
        rollout_id=decision.decision_id[:12],
        use_case=use_case.name,
        version=version,
        expected_champion=decision.champion_version,
        decision_id=decision.decision_id,
        state=RolloutState.APPROVED if is_automatic else RolloutState.AWAITING_APPROVAL,
        begun_at=now,
        step_started_at=now,
        step_id=platform.new_step_id(),
        stepped_at=now,
        actor=GATE,
        approved_by=POLICY if is_automatic else None,
        past_canary=canary.salt if canary is not None and is_past else None,
        detail=decision.reason,
    )
    try:
        platform.record_step(use_case, begun, current.step_id if current else None)
    except TransitionConflict as conflict:
        return str(conflict)
    return f"rollout {begun.rollout_id} of version {version} began: {begun.state}"


def carry_on(platform: PlatformResource, use_case: UseCase, log: Logger) -> Step | None:
    """Take steps until one waits, which is returned; ``None`` when none is under way any more, or a step failed."""
    platform.settle_rollout(use_case)
    for _ in range(MAX_LOOKS):
        rollout, manifest = platform.rollout(use_case), platform.manifest(use_case)
        if rollout is None or rollout.state.is_end:
            return None
        seen = seen_of(platform, use_case, rollout)
        step = next_step(rollout, manifest, use_case.rollout, seen, platform.now())
        log.info("rollout %s of version %s: %s, %s", rollout.rollout_id, rollout.version, step.move, step.reason)
        if step.move is Move.WAIT:
            if not rollout.n_failures:
                platform.note_rollout(rollout, step.reason)
            return step
        try:
            _Taking(platform, use_case, rollout, manifest, seen).take(step)
        except TransitionConflict as conflict:
            log.info("the deployment changed meanwhile: %s", conflict)
        except (ShadowPlatformError, OSError) as error:
            log.warning("%s failed: %s", step.move, error)
            _note_failure(platform, use_case, rollout, f"{step.move}: {error}")
            return None
    return None


def seen_of(platform: PlatformResource, use_case: UseCase, rollout: Rollout, limit: int | None = None) -> Seen:
    """What is known of a rollout besides the deployment; a canary's answers are judged once its time is over.

    Args:
        limit: lines of the prediction log that are read at most; the next look reads on. ``None``: all.
    """
    known = Seen(
        decision=newest_decision(platform, use_case, rollout),
        promoted_by=promoter(platform, use_case, rollout.version),
    )
    steps, at = use_case.rollout.canary_steps, rollout.canary_step
    if rollout.state is not RolloutState.CANARY or at is None or at >= len(steps):
        return known
    n, verdict = platform.canary_verdict(use_case, rollout.version, rollout.step_started_at, limit)
    if platform.now() - rollout.step_started_at < steps[at].min_duration:
        return replace(known, n_requests=n)
    return replace(known, n_requests=n, slo=verdict.outcome, slo_reason=verdict.reason)


def promoter(platform: PlatformResource, use_case: UseCase, version: str) -> str | None:
    """Who made a version champion; ``None``: it is not, or its row of the audit trail is still to be written."""
    manifest = platform.manifest(use_case)
    if manifest is None or manifest.champion.version != version:
        return None
    rows = [row for row in platform.transitions(use_case) if (row["alias"], row["to_version"]) == ("champion", version)]
    is_told = rows and datetime.fromisoformat(rows[-1]["transitioned_at"]) >= manifest.champion.since
    return str(rows[-1]["actor"]) if is_told else None


def newest_decision(platform: PlatformResource, use_case: UseCase, rollout: Rollout) -> GateDecision | None:
    """The gate's newest decision on the rollout's version against the champion it is to replace."""
    rows = platform.lake().read_table(GATE_DECISIONS, use_case)
    is_about = rows["challenger_version"].eq(rollout.version) & rows["champion_version"].eq(rollout.expected_champion)
    found = rows[is_about & rows["purpose"].eq(Purpose.CHALLENGE.value)].sort_values("decided_at", kind="stable")
    return GateDecision.model_validate_json(found["record"].iloc[-1]) if len(found) else None


def take_back(platform: PlatformResource, use_case: UseCase, version: str, reason: str, evidence_id: str) -> None:
    """Let a canary answer nobody any more, whether the registry answers or not; nothing if it does not answer."""
    manifest = platform.manifest(use_case)
    canary = manifest.canary if manifest else None
    if manifest is None or canary is None or canary.model.version != version or canary.share == 0:
        return
    platform.deploy_without_registry(
        use_case,
        "halt_canary",
        canary=canary,
        actor=GATE,
        reason=reason,
        expected_generation=manifest.generation,
        evidence_id=evidence_id,
    )


def roll_back(platform: PlatformResource, use_case: UseCase, generation: int, reason: str, evidence_id: str) -> None:
    """Put the champion before back at once; the registry follows when it answers."""
    platform.deploy_without_registry(
        use_case,
        "emergency_rollback",
        actor=GATE,
        reason=reason,
        expected_generation=generation,
        evidence_id=evidence_id,
    )


@dataclass(frozen=True)
class _Taking:
    """One step of one rollout, taken on the deployment it was chosen for."""

    platform: PlatformResource
    use_case: UseCase
    rollout: Rollout
    manifest: DeploymentManifest | None
    seen: Seen

    def take(self, step: Step) -> None:
        takes: dict[Move, Callable[[Step], None]] = {
            Move.END: self._end,
            Move.TAKE_BACK: self._take_back,
            Move.ARCHIVE: self._archive,
            Move.BUILD: self._build,
            Move.SHARE: self._share,
            Move.PROMOTE: self._promote,
            Move.SETTLE: self._settle,
        }
        takes[step.move](step)

    def _end(self, step: Step) -> None:
        actor = self.seen.promoted_by or GATE
        self._note(state=step.state, detail=step.reason, n_failures=self.rollout.n_failures, actor=actor)

    def _take_back(self, step: Step) -> None:
        take_back(self.platform, self.use_case, self.rollout.version, step.reason, self.rollout.decision_id)
        self._end(step)

    def _archive(self, step: Step) -> None:
        decision = self.seen.decision
        evidence = decision.decision_id if decision else self.rollout.decision_id
        take_back(self.platform, self.use_case, self.rollout.version, step.reason, evidence)
        self._deploy("remove_challenger", version=self.rollout.version, reason=step.reason, evidence_id=evidence)
        self._note(state=step.state, detail=step.reason)

    def _build(self, _: Step) -> None:
        manifest = self._deployed()
        tag = self.platform.build_bento(self.use_case, self.platform.deployment_to_come(manifest, self.rollout.version))
        self._note(bento=tag, detail=f"{tag} is built and answers from an empty folder")

    def _share(self, step: Step) -> None:
        if self.rollout.state is not RolloutState.CANARY:
            # Noted first: who refuses the rollout from here on is told so, and leaves no canary that nobody ends.
            self._note(state=RolloutState.CANARY, detail=f"the canary begins: {step.reason}")
            return
        manifest, version, reason = self._deployed(), self.rollout.version, self._reason()
        is_running = manifest.canary is not None and manifest.canary.share > 0
        if is_running:
            changed = self._deploy_as_seen("set_canary_share", share=step.share, reason=reason)
        else:
            changed = self._deploy_as_seen("start_canary", version=version, share=step.share, reason=reason)
        refusal = self.platform.refusal_of_workers(self.use_case, changed.generation, version)
        if refusal is not None:
            take_back(self.platform, self.use_case, version, refusal, self.rollout.decision_id)
            self._note(state=RolloutState.HALTED, detail=f"the canary was taken back: {refusal}")
            return
        self._note(
            state=step.state,
            canary_step=step.canary_step,
            canary_share=step.share,
            step_started_at=self.platform.now(),
            detail=step.reason,
        )

    def _promote(self, _: Step) -> None:
        self._deploy_as_seen(
            "promote",
            version=self.rollout.version,
            expected_champion=self.rollout.expected_champion,
            reason=self._reason(),
            probation_s=self.platform.settings.slo_probation_seconds,
        )

    def _settle(self, step: Step) -> None:
        manifest = self._deployed()
        refusal = self.platform.refusal_of_workers(self.use_case, manifest.generation, self.rollout.version)
        if refusal is not None:
            roll_back(self.platform, self.use_case, manifest.generation, refusal, self.rollout.decision_id)
            self.platform.reconcile(self.use_case)
            self._note(state=RolloutState.HALTED, detail=f"version {self.rollout.version} was rolled back: {refusal}")
            return
        previous, watch = manifest.previous, self.use_case.watch_span
        if watch and previous is not None and previous.version == self.rollout.expected_champion:
            reason = f"watches version {self.rollout.version} for {watch.days} days: was it better after all?"
            self._deploy("add_challenger", version=previous.version, actor=POLICY, reason=reason)
        self._note(
            state=step.state,
            step_started_at=self.platform.now(),
            detail=f"version {self.rollout.version} is champion in place of {self.rollout.expected_champion}",
        )

    def _deploy(self, change: Any, *, actor: str = GATE, **arguments: Any) -> DeploymentManifest:
        arguments = {"evidence_id": self.rollout.decision_id, **arguments}
        return self.platform.deploy(self.use_case, change, actor=actor, **arguments)

    def _deploy_as_seen(self, change: Any, **arguments: Any) -> DeploymentManifest:
        """A change that holds for the deployment it was chosen for: not over a halt, or a person's act, since."""
        return self._deploy(change, expected_generation=self._deployed().generation, **arguments)

    def _deployed(self) -> DeploymentManifest:
        assert self.manifest is not None, "a rollout without a deployment ends"
        return self.manifest

    def _reason(self) -> str:
        """What the audit trail says beside the decision that began the rollout; a newer one may say otherwise."""
        rollout = self.rollout
        steps = (row for row in self.platform.rollout_steps(self.use_case) if row["rollout_id"] == rollout.rollout_id)
        said = next((row["detail"] for row in steps), rollout.detail)
        return f"rollout {rollout.rollout_id}, approved by {rollout.approved_by}: {said}"

    def _note(self, **changes: Any) -> None:
        _note(self.platform, self.use_case, self.rollout, **{"n_failures": 0, **changes})


def _note_failure(platform: PlatformResource, use_case: UseCase, rollout: Rollout, detail: str) -> None:
    # When another process went on with the rollout, what failed here is done there, or fails there.
    with suppress(TransitionConflict):
        _note(platform, use_case, rollout, n_failures=rollout.n_failures + 1, detail=detail)


def _note(platform: PlatformResource, use_case: UseCase, rollout: Rollout, **changes: Any) -> None:
    own: dict[str, Any] = {"step_id": platform.new_step_id(), "stepped_at": platform.now(), "actor": GATE}
    platform.record_step(use_case, rollout.model_copy(update={**own, **changes}), rollout.step_id)
