"""Promotion stage: what to do about a gate decision, given what is deployed now.

Belongs here: the plan alone. Does not belong here: carrying it out (assets.promotion, adapters.deployment). Upstream:
GateDecision and DeploymentManifest. Downstream: the ``promotion`` asset, ``shadow promote``.

A decision is about one champion and one challenger. When another champion serves meanwhile, or the challenger is no
longer in the shadow, it is out of date and nothing is done.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.verdicts import Decision, GateDecision


class Action(StrEnum):
    """What promotion does."""

    PROMOTE = "promote"
    ARCHIVE = "archive"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Plan:
    """One action on one version, expecting one champion, and why."""

    action: Action
    version: str
    expected_champion: str
    reason: str


def plan(decision: GateDecision, manifest: DeploymentManifest | None) -> Plan:
    """What follows from the decision, given what is deployed.

    Args:
        decision: of the gate.
        manifest: in force; ``None`` when nothing was deployed yet.
    """
    obstacle = _obstacle(decision, manifest)
    if obstacle is not None:
        action, reason = Action.NOTHING, obstacle
    elif decision.decision is Decision.PROMOTE:
        action, reason = Action.PROMOTE, decision.reason
    elif decision.decision is Decision.REJECT:
        action, reason = Action.ARCHIVE, decision.reason
    else:
        action, reason = Action.NOTHING, f"the gate says wait: {decision.reason}"
    return Plan(action, decision.challenger_version, decision.champion_version, reason)


def in_order(decisions: Sequence[GateDecision]) -> list[GateDecision]:
    """Decisions in the order to act on them: promotions first, the one with the largest certain gain before all.

    The first promotion makes every other one outdated, because they were judged against another champion.
    """

    def rank(decision: GateDecision) -> tuple[bool, float]:
        gains = [c.value for c in decision.criteria if c.name == "log_loss_gain" and c.value is not None]
        return decision.decision is not Decision.PROMOTE, -max(gains, default=0.0)

    return sorted(decisions, key=rank)


def _obstacle(decision: GateDecision, manifest: DeploymentManifest | None) -> str | None:
    if manifest is None:
        return f"use case {decision.use_case} serves no model yet; deploy a champion first"
    serving, challenger = manifest.champion.version, decision.challenger_version
    if serving == challenger:
        return f"version {challenger} already is the champion"
    if serving != decision.champion_version:
        return (
            f"the decision compared version {challenger} with champion {decision.champion_version}, "
            f"but version {serving} serves now; evaluate the gate again"
        )
    shadowing = [model.version for model in manifest.challengers]
    if challenger not in shadowing:
        return (
            f"version {challenger} is not in the shadow (there: {', '.join(shadowing) or 'none'}); "
            "set it as challenger and evaluate the gate again"
        )
    return None


def next_challenger(
    versions: Sequence[RegisteredVersion], manifest: DeploymentManifest, rejected: Collection[str]
) -> RegisteredVersion | None:
    """The version to put into the shadow: the newest that was never in service and never rejected, or ``None``.

    A version registered before the champion is tried only as long as there is no other history (first deployment):
    later it is an old challenger or an old champion.

    Args:
        versions: registered, oldest first.
        manifest: in force.
        rejected: versions that a gate has rejected.
    """
    known = [version.version for version in versions]
    champion, previous = manifest.champion.version, manifest.previous
    is_first = previous is None and not manifest.challengers and not rejected
    after = 0 if is_first or champion not in known else known.index(champion) + 1
    candidates = [
        version
        for version in versions[after:]
        if version.version not in rejected
        and version.version != champion
        and (previous is None or version.version != previous.version)
    ]
    if not candidates or candidates[-1].version in {model.version for model in manifest.challengers}:
        return None
    return candidates[-1]
