"""What to do about a gate decision, given what is deployed now; and which version enters the shadow next.

Belongs here: the plan alone. Does not belong here: the steps of a rollout (``rollout``). Upstream: GateDecision,
DeploymentManifest, registered versions. Downstream: the assets ``deployment`` and ``promotion``.

A decision is about one champion and one challenger. When another champion serves meanwhile, or the challenger is no
longer in the shadow, it is out of date and nothing is done; and so it is once that champion was replaced, even if it
was brought back: by whom, and why, the decision did not know.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shadow_platform.contracts.deployment import MAX_CHALLENGERS, DeploymentManifest
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.verdicts import Decision, GateDecision, Purpose


class Action(StrEnum):
    """What promotion does: begin a rollout, bring the champion before back, or take a version out of the shadow."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    ARCHIVE = "archive"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Plan:
    """One action on one version, expecting one champion, and why."""

    action: Action
    version: str
    expected_champion: str
    reason: str


def plan(decision: GateDecision, manifest: DeploymentManifest | None, decided_at: datetime) -> Plan:
    """What follows from the decision, given what is deployed.

    Args:
        decision: of the gate.
        manifest: in force; ``None`` when nothing was deployed yet.
        decided_at: when the gate decided.
    """
    obstacle = _obstacle(decision, manifest, decided_at)
    if obstacle is not None:
        action, reason = Action.NOTHING, obstacle
    elif decision.decision is Decision.PROMOTE:
        action = Action.ROLL_BACK if decision.purpose is Purpose.WATCH else Action.PROMOTE
        reason = decision.reason
    elif decision.decision is Decision.REJECT:
        action, reason = Action.ARCHIVE, decision.reason
    else:
        action, reason = Action.NOTHING, f"the gate says wait: {decision.reason}"
    return Plan(action, decision.challenger_version, decision.champion_version, reason)


def in_order(decisions: Sequence[GateDecision]) -> list[GateDecision]:
    """Decisions in the order to act on them: rollback, then promotions by their certain gain, then the others.

    The first that acts makes every other promotion wait, and outdated in the end: it was judged against this champion.
    """

    def rank(decision: GateDecision) -> tuple[bool, bool, float]:
        gains = [c.value for c in decision.criteria if c.name == "log_loss_gain" and c.value is not None]
        acts = decision.decision is Decision.PROMOTE
        return not acts, decision.purpose is not Purpose.WATCH, -max(gains, default=0.0)

    return sorted(decisions, key=rank)


def _obstacle(decision: GateDecision, manifest: DeploymentManifest | None, decided_at: datetime) -> str | None:
    if manifest is None:
        return str(NoChampion(decision.use_case))
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
    is_watched = manifest.previous is not None and manifest.previous.version == challenger
    if decision.purpose is Purpose.WATCH and not is_watched:
        return f"the decision watched version {challenger}, which is no longer the champion before this one"
    is_watch, since = decision.purpose is Purpose.WATCH, manifest.champion.since
    if decided_at < since or (is_watch and decided_at == since):
        return f"version {serving} became champion again after this decision; evaluate the gate again"
    return None


def next_challenger(
    versions: Sequence[RegisteredVersion],
    manifest: DeploymentManifest,
    rejected: Collection[str],
    served: Collection[str] = (),
    rolling: str | None = None,
) -> RegisteredVersion | None:
    """The version to put into the shadow: the newest that was never in service and never rejected, or ``None``.

    A version registered before the champion is tried only as long as there is no other history (first deployment):
    later it is an old challenger or an old champion. When every version in the shadow is kept there, none is added.

    Args:
        versions: registered, oldest first.
        manifest: in force.
        rejected: versions that a gate has rejected.
        served: versions that were champion at any time.
        rolling: version of the rollout under way.
    """
    known = [version.version for version in versions]
    champion, previous = manifest.champion.version, manifest.previous
    is_first = previous is None and not manifest.challengers and not rejected
    after = 0 if is_first or champion not in known else known.index(champion) + 1
    candidates = [
        version
        for version in versions[after:]
        if version.version not in rejected
        and version.version not in {champion, *served}
        and (previous is None or version.version != previous.version)
    ]
    is_full = len(manifest.kept(rolling)) >= MAX_CHALLENGERS
    if not candidates or is_full or candidates[-1].version in {model.version for model in manifest.challengers}:
        return None
    return candidates[-1]
