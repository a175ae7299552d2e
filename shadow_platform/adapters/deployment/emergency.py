"""Transitions that must not wait for the registry: halting a canary and rolling a champion back on an SLO breach.

Belongs here: changes that make service safer, from what lies on this machine alone. Does not belong here: the verdict
(domain.slo). Upstream: the guard. Downstream: serving workers; the next transition moves the registry's aliases.

A person who changed the deployment meanwhile wins: each call names the generation its verdict is about.
"""

from dataclasses import asdict
from datetime import datetime

from shadow_platform.adapters.deployment.bentos import follow_champion
from shadow_platform.adapters.deployment.canary import halted
from shadow_platform.adapters.deployment.champion import previous_of
from shadow_platform.adapters.deployment.journal import (
    AliasChange,
    Cause,
    Intent,
    change,
    deployed,
    following,
    intent_path,
    is_in_force,
    locked,
    moves,
    read_intent,
    record_intent,
    succeeded,
)
from shadow_platform.adapters.deployment.manifest import CANARY, aliases_of, read_manifest, write_atomic, write_manifest
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink

LOCK_TIMEOUT_S = 2.0
"""Whoever holds the lock is changing the deployment; the guard looks again rather than waiting blindly."""


def halt_canary(
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    canary: Canary,
    actor: str,
    reason: str,
    expected_generation: int,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Take the canary back, without the registry: the champion answers everyone.

    Args:
        canary: in force, by the manifest or by ``CANARY_SPLIT``.
        expected_generation: of the manifest that the verdict is about.

    Raises:
        TransitionConflict: the deployment was changed meanwhile.
        AlreadyRunning: it is being changed right now.
    """
    with locked(layout, use_case, LOCK_TIMEOUT_S):
        current = _unchanged(layout, audit, use_case, expected_generation)
        manifest = following(current, now, canary=halted(canary, reason))
        row = change(CANARY, canary.model.version, None)
        _put_into_force(layout, audit, manifest, (row,), Cause(actor, reason, evidence_id))
        return manifest


def emergency_rollback(
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    actor: str,
    reason: str,
    expected_generation: int,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Put the previous champion back, without the registry; its probation, and so a second rollback, ends with it.

    Raises:
        TransitionConflict: the deployment was changed meanwhile.
        AlreadyRunning: it is being changed right now.
        RegistryError: there is no previous champion, or its bundle is no longer on this machine.
    """
    with locked(layout, use_case, LOCK_TIMEOUT_S):
        current = _unchanged(layout, audit, use_case, expected_generation)
        previous = previous_of(current)
        if not (layout.bundles / previous.bundle_hash).is_dir():
            raise RegistryError(
                f"bundle {previous.bundle_hash} of version {previous.version} is not in {layout.bundles}; "
                "roll back by hand, which fetches it from the registry"
            )
        manifest = succeeded(current, previous.model_copy(update={"since": now}), now)
        rows = moves(aliases_of(current), aliases_of(manifest))
        _put_into_force(layout, audit, manifest, rows, Cause(actor, reason, evidence_id))
        return manifest


def settle_audit(layout: Layout, audit: LogSink, *, use_case: str) -> None:
    """Append the audit records that a dead process left unwritten. Repeating it is harmless."""
    with locked(layout, use_case, LOCK_TIMEOUT_S):
        _settle(layout, audit, use_case)


def is_registry_behind(layout: Layout, use_case: str) -> bool:
    """Whether the aliases still have to follow the manifest; the next transition moves them."""
    intent = read_intent(layout, use_case)
    return intent is not None and intent.is_audited


def _unchanged(layout: Layout, audit: LogSink, use_case: str, expected_generation: int) -> DeploymentManifest:
    _settle(layout, audit, use_case)
    current = deployed(read_manifest(layout.manifest(use_case)), use_case)
    if current.generation != expected_generation:
        raise TransitionConflict(
            f"the deployment of {use_case} is at generation {current.generation}, but the verdict is about "
            f"{expected_generation}; what was decided meanwhile stays"
        )
    return current


def _settle(layout: Layout, audit: LogSink, use_case: str) -> None:
    """An intent that is in force lacks its audit records at most; any other never served anybody and is replaced."""
    intent = read_intent(layout, use_case)
    if intent is not None and not intent.is_audited and is_in_force(layout, intent):
        record_intent(layout, audit, intent)


def _put_into_force(
    layout: Layout, audit: LogSink, manifest: DeploymentManifest, changes: tuple[AliasChange, ...], cause: Cause
) -> None:
    intent = Intent(manifest=manifest, changes=changes, is_emergency=True, **asdict(cause))
    write_atomic(intent_path(layout, manifest.use_case), intent)
    write_manifest(layout.manifest(manifest.use_case), manifest)
    record_intent(layout, audit, intent)
    follow_champion(layout, manifest.use_case)
