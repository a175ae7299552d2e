"""What followed from the gate's decisions: a rollout that goes on, a champion brought back, an archived challenger.

Upstream: gate decisions, the rollout under way. Downstream: the running service and the shadow worker, through the
manifest.
"""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from logging import Logger

import dagster as dg

from shadow_platform.assets.promotion.deployment import deployed
from shadow_platform.assets.promotion.rolling import POLICY, begin, carry_on, roll_back
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform.domain.promotion import (
    GATE,
    Action,
    History,
    Plan,
    in_order,
    obstacle_to_begin,
    plan,
    watch_ends_at,
)
from shadow_platform.resources import PlatformResource

GRACE = timedelta(minutes=10)

Metadata = dict[str, str | int]


class PromotionConfig(dg.Config):
    """Whether to act.

    Attributes:
        promote_challenger: false reports what would be done and does nothing.
        decision_id: decision to act on. Default: the latest on each version in the shadow.
    """

    promote_challenger: bool = True
    decision_id: str | None = None


def build_promotion(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``promotion``."""

    @dg.asset(
        key=[use_case.name, "promotion"],
        deps=[[use_case.name, "gate_decision"]],
        group_name="promotion",
        kinds={"mlflow", "bentoml"},
        owners=[use_case.owner],
        code_version="2",
        pool=f"{use_case.name}_deployment",
    )
    def promotion(
        context: dg.AssetExecutionContext, config: PromotionConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """What followed from the latest decisions: a rollout that goes on, a rollback, an archived challenger.

        A rollout goes as far as it can: to a person's approval, to a canary's step that must last, or to the new
        champion. The alias is swapped only if the champion is still the one the decision was made against; the running
        service follows the manifest by itself. Aliases that an emergency left behind are moved first.
        """
        if config.promote_challenger:
            metadata = follow(platform, use_case, context.log, config.decision_id)
        else:
            metadata = _planned(platform, use_case, config.decision_id)
        manifest = platform.manifest(use_case)
        return dg.MaterializeResult(metadata={**metadata, **(deployed(manifest) if manifest else {})})

    return promotion


def follow(platform: PlatformResource, use_case: UseCase, log: Logger, decision_id: str | None = None) -> Metadata:
    """Act on the latest decisions and carry the rollout on; what came of it.

    A watch's rollback needs no registry and comes before it is asked.
    """
    brought_back = _acted(platform, use_case, log, decision_id, {Action.ROLL_BACK})
    outage = _reconciled(platform, use_case, can_wait=bool(brought_back))
    if outage is None:
        metadata = _acted(platform, use_case, log, decision_id, set(Action))
        _end_watch(platform, use_case)
    else:
        metadata = {"registry": outage}
    return metadata | brought_back | _rolled(platform, use_case, log)


def _planned(platform: PlatformResource, use_case: UseCase, decision_id: str | None) -> Metadata:
    metadata: Metadata = {}
    for decision, at in _decisions(platform, use_case, decision_id):
        metadata |= _told(plan(decision, platform.manifest(use_case), at))
    return metadata


def _reconciled(platform: PlatformResource, use_case: UseCase, can_wait: bool) -> str | None:
    """Why the registry cannot be asked; with a rollout under way this is an attempt of it that failed.

    Args:
        can_wait: what was to be done is done; the aliases follow when the registry answers.
    """
    try:
        platform.reconcile(use_case)
    except RegistryError as error:
        rollout = platform.rollout(use_case)
        if not can_wait and (rollout is None or rollout.state.is_end):
            raise
        return str(error)
    return None


def _acted(
    platform: PlatformResource, use_case: UseCase, log: Logger, decision_id: str | None, actions: Collection[Action]
) -> Metadata:
    """What came of the decisions that lead to one of the actions; each is planned and acted upon in one deployment."""
    metadata: Metadata = {}
    for decision, at in _decisions(platform, use_case, decision_id):
        manifest = platform.manifest(use_case)
        found = plan(decision, manifest, at)
        if found.action not in actions:
            continue
        log.info("version %s: %s, %s", found.version, found.action, found.reason)
        metadata |= _told(found)
        try:
            outcome = _act(platform, use_case, found, decision, manifest)
        except TransitionConflict as conflict:
            outcome = f"outdated: {conflict}"
        if outcome:
            metadata[f"outcome_{found.version}"] = outcome
    return metadata


def _told(found: Plan) -> Metadata:
    return {f"action_{found.version}": found.action.value, f"reason_{found.version}": found.reason}


def _act(
    platform: PlatformResource,
    use_case: UseCase,
    found: Plan,
    decision: GateDecision,
    manifest: DeploymentManifest | None,
) -> str | None:
    rollout, evidence_id = platform.rollout(use_case), decision.decision_id
    if manifest is None or found.action is Action.NOTHING:
        return None
    if found.action is Action.PROMOTE:
        return begin(platform, use_case, decision, manifest)
    if found.action is Action.ROLL_BACK:
        reason = f"the champion before, version {found.version}, is better after all: {found.reason}"
        roll_back(platform, use_case, manifest.generation, reason, evidence_id)
        return f"version {found.version} is champion again"
    if rollout is not None and not rollout.state.is_end and rollout.version == found.version:
        return f"its rollout {rollout.rollout_id} ends"
    platform.deploy(
        use_case,
        "remove_challenger",
        version=found.version,
        actor=GATE,
        reason=f"rejected: {found.reason}",
        evidence_id=evidence_id,
        expected_generation=manifest.generation,
    )
    return "taken out of the shadow"


def _end_watch(platform: PlatformResource, use_case: UseCase) -> None:
    """Take the champion before out of the shadow once its time is over."""
    manifest = platform.manifest(use_case)
    until = watch_ends_at(manifest, use_case.watch_span) if manifest else None
    if manifest is None or manifest.previous is None or until is None or platform.now() < until:
        return
    reason = f"its watch over version {manifest.champion.version} ended"
    watched, generation = manifest.previous.version, manifest.generation
    # Who changed the deployment meanwhile may have ended the watch; the next look tells.
    with suppress(TransitionConflict):
        platform.deploy(
            use_case,
            "remove_challenger",
            version=watched,
            actor=POLICY,
            reason=reason,
            expected_generation=generation,
        )


def _rolled(platform: PlatformResource, use_case: UseCase, log: Logger) -> Metadata:
    waiting = carry_on(platform, use_case, log)
    rollout = platform.rollout(use_case)
    if rollout is None:
        return {}
    detail = waiting.reason if waiting else rollout.detail
    told: Metadata = {"rollout": rollout.rollout_id, "rollout_state": rollout.state.value, "rollout_detail": detail}
    return told | ({"bento": rollout.bento} if rollout.bento else {})


def pending_decision(
    platform: PlatformResource, use_case: UseCase, looked_at: datetime | None
) -> tuple[Action, GateDecision] | None:
    """The first decision that something follows from and that nobody acted upon: the run that made it died.

    A run acts on what it decided within moments, so what is younger than ``GRACE`` is left to it; a rollback is not.

    Args:
        looked_at: when promotion last looked at the decisions; what it let be then waits for the gate.
    """
    manifest, rollout = platform.manifest(use_case), platform.rollout(use_case)
    if manifest is None:
        return None
    history, now = History(tuple(platform.rollout_steps(use_case))), platform.now()
    for decision, at in _decisions(platform, use_case, None):
        action = plan(decision, manifest, at).action
        is_left = now - at > GRACE and (looked_at is None or at > looked_at)
        is_free = rollout is None or rollout.state.is_end or rollout.version != decision.challenger_version
        if (
            action is Action.ROLL_BACK
            or (action is Action.ARCHIVE and is_left and is_free)
            or (action is Action.PROMOTE and is_left and not obstacle_to_begin(decision, rollout, history, manifest))
        ):
            return action, decision
    return None


def _decisions(
    platform: PlatformResource, use_case: UseCase, decision_id: str | None
) -> list[tuple[GateDecision, datetime]]:
    """The decision asked for, or the latest on each version in the shadow, in the order to act on them; and when."""
    rows = platform.lake().read_table(GATE_DECISIONS, use_case).sort_values("decided_at", kind="stable")
    if decision_id is not None:
        rows = rows[rows["decision_id"].eq(decision_id)]
        if rows.empty:
            raise dg.Failure(
                f"gate decision {decision_id!r} is unknown; materialize gate_decision", allow_retries=False
            )
    else:
        manifest = platform.manifest(use_case)
        shadowing = [model.version for model in manifest.challengers] if manifest else []
        rows = rows[rows["challenger_version"].isin(shadowing)].groupby("challenger_version").tail(1)
    rows = rows.dropna(subset=["record"])
    decided_at = dict(zip(rows["decision_id"], rows["decided_at"], strict=True))
    made = in_order([GateDecision.model_validate_json(record) for record in rows["record"]])
    return [(decision, decided_at[decision.decision_id]) for decision in made]
