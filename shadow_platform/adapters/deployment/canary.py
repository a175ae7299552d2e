"""Transitions of the canary: a challenger that answers a share of subjects, until it is promoted or taken back.

Belongs here: what each of them makes of the manifest. Does not belong here: who is in the share (domain.canary),
halting by the guard (``emergency``), how a transition is carried out (``journal``). Upstream: command line.
Downstream: serving workers, the guard.
"""

from datetime import datetime

import uuid_utils

from shadow_platform.adapters.deployment.challengers import challenger
from shadow_platform.adapters.deployment.journal import (
    Cause,
    Desk,
    change,
    deployed,
    execute,
    following,
    require_generation,
    transition,
)
from shadow_platform.adapters.deployment.manifest import CANARY
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, Registry


def start_canary(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    share: float,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
    expected_generation: int | None = None,
) -> DeploymentManifest:
    """Let a challenger answer a share of subjects, under a salt of its own, so that each rollout meets others first.

    Args:
        version: of a challenger in the shadow. One that was halted may be started again: by a person, never by itself.
        share: above 0, at most 1.
        expected_generation: of the deployment that was looked at; ``None``: whichever is in force.

    Raises:
        TransitionConflict: another canary answers, or the deployment was changed since it was looked at.
    """
    _require_share(share)
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        model, running = challenger(current, version), current.canary
        if running is not None and running.share > 0:
            if (running.model.version, running.share) == (version, share):
                return current
            raise TransitionConflict(
                f"version {running.model.version} already answers {running.share:.1%} of {use_case} as canary; "
                "change its share, or stop it first"
            )
        require_generation(current, expected_generation, f"version {version} was to answer as canary of")
        canary = Canary(model=model, share=share, salt=str(uuid_utils.uuid7()), started_at=now)
        cause = Cause(actor, f"answers {share:.1%}: {reason}", evidence_id)
        return execute(desk, following(current, now, canary=canary), cause, change(CANARY, None, version))


def set_canary_share(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    share: float,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
    expected_generation: int | None = None,
) -> DeploymentManifest:
    """Give the canary more or fewer subjects; whoever was in stays in when the share rises.

    Args:
        share: above 0, at most 1.
        expected_generation: of the deployment that was looked at; ``None``: whichever is in force.

    Raises:
        TransitionConflict: the deployment was changed since it was looked at.
    """
    _require_share(share)
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        require_generation(current, expected_generation, f"{share:.1%} were to be answered by the canary of")
        canary = _running(current)
        if canary.share == share:
            return current
        version = canary.model.version
        changed = canary.model_copy(update={"share": share})
        cause = Cause(actor, f"answers {canary.share:.1%} -> {share:.1%}: {reason}", evidence_id)
        return execute(desk, following(current, now, canary=changed), cause, change(CANARY, version, version))


def stop_canary(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    actor: str,
    reason: str,
    now: datetime,
    canary: Canary | None = None,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Take the canary back: the champion answers everyone, the version goes on in the shadow.

    Args:
        canary: in force by ``CANARY_SPLIT``, of which the manifest says nothing; default: the manifest's.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        stopped = halted(canary or _running(current), reason)
        row = change(CANARY, stopped.model.version, None)
        return execute(desk, following(current, now, canary=stopped), Cause(actor, reason, evidence_id), row)


def halted(canary: Canary, reason: str) -> Canary:
    """The canary with nobody left to answer; it stays in the manifest, so that only a person starts it again."""
    return canary.model_copy(update={"share": 0.0, "halted_reason": reason})


def _running(current: DeploymentManifest) -> Canary:
    canary = current.canary
    if canary is not None and canary.share > 0:
        return canary
    last = f"; the last one, version {canary.model.version}, ended: {canary.halted_reason}" if canary else ""
    raise RegistryError(f"no canary of {current.use_case} answers{last}; start one first")


def _require_share(share: float) -> None:
    if not 0.0 < share <= 1.0:
        raise RegistryError(f"a canary's share of {share:g} was asked for; expected above 0 and at most 1")
