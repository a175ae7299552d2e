"""Carries out one change of the deployment so that registry, manifest and audit log agree, whenever a process dies.

Belongs here: the lock, the written intent, the order of the steps and their repair. Does not belong here: which
changes there are (``champion``, ``challengers``, ``canary``, ``emergency``). Upstream: those. Downstream: registry
aliases, deployment manifest, audit log.

A transition writes its intent beside the manifest, moves the alias that decides, writes the manifest, moves the other
aliases, appends the audit records and removes the intent. The next transition finds an intent that was left behind:
once its deciding alias or its manifest is there it is completed, under the same transition ids, so that an audit row
that was appended twice is one row to every reader; otherwise it is forgotten. An emergency asks no registry: it writes
intent, manifest and audit records, and leaves the intent, so that the next transition moves the aliases.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uuid_utils
from filelock import FileLock, Timeout
from pydantic import ValidationError

from shadow_platform.adapters.deployment.bentos import follow_champion
from shadow_platform.adapters.deployment.manifest import (
    ALIASES,
    CHAMPION,
    aliases_of,
    read_manifest,
    write_atomic,
    write_manifest,
)
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import AlreadyRunning, NoChampion, RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, Registry
from shadow_platform.contracts.records import TransitionRecord
from shadow_platform.contracts.verdicts import Frozen

LOCK_TIMEOUT_S = 30.0


class AliasChange(Frozen):
    """One row of the audit trail: where an alias pointed, and where it points; equal when only its terms changed."""

    transition_id: str
    alias: str
    from_version: str | None
    to_version: str | None


class Intent(Frozen):
    """A transition written down before it starts.

    Attributes:
        changes: the one that decides whether the intent took effect comes first.
        is_emergency: the registry was not asked, so no alias tells whether it took effect; the aliases follow what did.
        is_audited: the audit records are in the log; only the registry has to follow.
    """

    manifest: DeploymentManifest
    changes: tuple[AliasChange, ...]
    actor: str
    reason: str
    evidence_id: str | None
    is_emergency: bool = False
    is_audited: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """Who asks for a transition, why, and on which evidence (gate decision, drift evaluation)."""

    actor: str
    reason: str
    evidence_id: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the transitions of one use case are carried out and recorded."""

    registry: Registry
    layout: Layout
    audit: LogSink
    use_case: str


@contextmanager
def transition(desk: Desk, now: datetime, version: str | None = None) -> Iterator[DeploymentManifest | None]:
    """Hold the deployment's lock; gives the manifest in force, after everything unfinished was finished.

    Args:
        version: to be deployed; its bundle is brought here first, because a download must not hold up an emergency.

    Raises:
        AlreadyRunning: another process held the lock for ``LOCK_TIMEOUT_S``.
        RegistryError: the registry does not answer.
    """
    # A registry that is away shows here, before the lock: an emergency must not wait for a caller who waits for it.
    desk.registry.alias(desk.use_case, CHAMPION)
    if version is not None:
        desk.registry.fetch_bundle(desk.use_case, version, desk.layout.bundles)
    with locked(desk.layout, desk.use_case, LOCK_TIMEOUT_S):
        _finish_intent(desk)
        yield _follow_alias(desk, now)


@contextmanager
def locked(layout: Layout, use_case: str, timeout_s: float) -> Iterator[None]:
    """Let nobody else change the deployment; raises ``AlreadyRunning``."""
    path = layout.deployment_lock(use_case)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=timeout_s):
            yield
    except Timeout as error:
        raise AlreadyRunning(
            f"another process has been changing the deployment of {use_case} for {timeout_s:.0f} s "
            f"(lock {path}); wait for it, or end it"
        ) from error


def execute(desk: Desk, manifest: DeploymentManifest, cause: Cause, row: AliasChange) -> DeploymentManifest:
    """Put a manifest into force, its aliases with it; returns it.

    Args:
        row: what the transition is about; recorded also when the registry's alias need not move for it.
    """
    aliases = {alias: desk.registry.alias(desk.use_case, alias) for alias in ALIASES}
    rows = moves(aliases, aliases_of(manifest))
    if row.alias not in {moved.alias for moved in rows}:
        rows = (*rows, row)
    _carry_out(desk, Intent(manifest=manifest, changes=rows, **asdict(cause)))
    return manifest


def moves(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> tuple[AliasChange, ...]:
    """One change an alias that points elsewhere afterwards, the champion's first."""
    return tuple(change(alias, before[alias], after[alias]) for alias in ALIASES if before[alias] != after[alias])


def change(alias: str, before: str | None, after: str | None) -> AliasChange:
    """A change under an id of its own."""
    return AliasChange(transition_id=str(uuid_utils.uuid7()), alias=alias, from_version=before, to_version=after)


def record_intent(layout: Layout, audit: LogSink, intent: Intent) -> Intent:
    """Append the audit records of an intent that took effect, and note that they are there."""
    cause = Cause(intent.actor, intent.reason, intent.evidence_id)
    audit.append_many([_record(row, intent.manifest, cause) for row in intent.changes])
    audit.sync()
    done = intent.model_copy(update={"is_audited": True})
    write_atomic(intent_path(layout, intent.manifest.use_case), done)
    return done


def read_intent(layout: Layout, use_case: str) -> Intent | None:
    """The transition that is not finished, or not yet in the registry; ``None`` when there is none."""
    path = intent_path(layout, use_case)
    try:
        return Intent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RegistryError(f"unfinished transition {path}: {error.errors()[0]['msg']}; remove the file") from error


def is_in_force(layout: Layout, intent: Intent) -> bool:
    """Whether the intent's manifest, or a later one, was written."""
    current = read_manifest(layout.manifest(intent.manifest.use_case))
    return current is not None and current.generation >= intent.manifest.generation


def deployable(desk: Desk, version: str, now: datetime) -> DeployedModel:
    """Bring the version's bundle here before anything points to it."""
    found = desk.registry.get(desk.use_case, version)
    desk.registry.fetch_bundle(desk.use_case, version, desk.layout.bundles)
    return DeployedModel(version=found.version, bundle_hash=found.bundle_hash, model_name=found.model_name, since=now)


def deployed(manifest: DeploymentManifest | None, use_case: str) -> DeploymentManifest:
    """The manifest in force; raises ``NoChampion`` when nothing was deployed yet."""
    if manifest is None:
        raise NoChampion(use_case)
    return manifest


def require_generation(current: DeploymentManifest, expected: int | None, what: str) -> None:
    """Raise ``TransitionConflict`` unless the deployment is the one that a change was chosen for.

    Args:
        expected: its generation; ``None``: whichever is in force.
        what: the change, in words that go on with the generation.
    """
    if expected not in (None, current.generation):
        raise TransitionConflict(
            f"the deployment of {current.use_case} is at generation {current.generation}, "
            f"but {what} generation {expected}"
        )


def following(current: DeploymentManifest, now: datetime, **changes: Any) -> DeploymentManifest:
    """The next generation."""
    return current.model_copy(update={"generation": current.generation + 1, "written_at": now, **changes})


def succeeded(
    current: DeploymentManifest, champion: DeployedModel, now: datetime, probation_until: datetime | None = None
) -> DeploymentManifest:
    """The next generation, with another champion: it leaves the shadow, every canary ends, and so does a watch.

    A canary that was halted stays known as long as it shadows, so that ``CANARY_SPLIT`` does not start it again.
    """
    watched = current.previous.version if current.previous else None
    others = tuple(model for model in current.challengers if model.version not in (champion.version, watched))
    canary = current.canary
    is_remembered = (
        canary is not None and canary.halted_reason is not None and canary.model.version in _versions(others)
    )
    return following(
        current,
        now,
        champion=champion,
        previous=current.champion,
        challengers=others,
        canary=canary if is_remembered else None,
        probation_until=probation_until,
    )


def _versions(models: tuple[DeployedModel, ...]) -> set[str]:
    return {model.version for model in models}


def intent_path(layout: Layout, use_case: str) -> Path:
    """File of the unfinished transition."""
    return layout.manifest(use_case).with_suffix(".intent")


def _finish_intent(desk: Desk) -> None:
    intent = read_intent(desk.layout, desk.use_case)
    if intent is None:
        return
    if is_in_force(desk.layout, intent) or _has_moved(desk, intent):
        _complete(desk, intent)
        return
    if intent.is_emergency:
        # It may have replaced the intent of one before it, which the registry still has to follow.
        _mirror(desk)
    intent_path(desk.layout, desk.use_case).unlink(missing_ok=True)


def _has_moved(desk: Desk, intent: Intent) -> bool:
    decisive = intent.changes[0]
    if intent.is_emergency or decisive.from_version == decisive.to_version:
        return False
    return desk.registry.alias(desk.use_case, decisive.alias) == decisive.to_version


def _follow_alias(desk: Desk, now: datetime) -> DeploymentManifest | None:
    """The registry decides: a champion alias moved outside the platform becomes a manifest and an audit record."""
    current = read_manifest(desk.layout.manifest(desk.use_case))
    version = None if current is None else desk.registry.alias(desk.use_case, CHAMPION)
    if current is None or version is None or version == current.champion.version:
        return current
    manifest = succeeded(current, deployable(desk, version, now), now)
    intent = Intent(
        manifest=manifest,
        changes=moves(aliases_of(current), aliases_of(manifest)),
        **asdict(Cause("reconcile", "the registry alias was moved outside the platform")),
    )
    write_atomic(intent_path(desk.layout, desk.use_case), intent)
    _complete(desk, intent)
    return manifest


def _carry_out(desk: Desk, intent: Intent) -> None:
    path = intent_path(desk.layout, desk.use_case)
    write_atomic(path, intent)
    decisive = intent.changes[0]
    if desk.registry.alias(desk.use_case, decisive.alias) != decisive.to_version:
        try:
            desk.registry.swap_alias(desk.use_case, decisive.alias, decisive.from_version, decisive.to_version)
        except TransitionConflict:
            path.unlink(missing_ok=True)
            raise
    _complete(desk, intent)


def _complete(desk: Desk, intent: Intent) -> None:
    """Everything behind the decisive swap; each step may be repeated."""
    if not is_in_force(desk.layout, intent):
        write_manifest(desk.layout.manifest(desk.use_case), intent.manifest)
    _mirror(desk)
    if not intent.is_audited:
        record_intent(desk.layout, desk.audit, intent)
    follow_champion(desk.layout, desk.use_case)
    intent_path(desk.layout, desk.use_case).unlink(missing_ok=True)


def _mirror(desk: Desk) -> None:
    """Move every alias to where the manifest in force has it."""
    current = deployed(read_manifest(desk.layout.manifest(desk.use_case)), desk.use_case)
    for alias, version in aliases_of(current).items():
        found = desk.registry.alias(desk.use_case, alias)
        if found != version:
            desk.registry.swap_alias(desk.use_case, alias, found, version)


def _record(row: AliasChange, manifest: DeploymentManifest, cause: Cause) -> TransitionRecord:
    return TransitionRecord(
        transition_id=row.transition_id,
        use_case=manifest.use_case,
        alias=row.alias,
        from_version=row.from_version,
        to_version=row.to_version,
        actor=cause.actor,
        reason=cause.reason,
        evidence_id=cause.evidence_id,
        generation=manifest.generation,
        transitioned_at=manifest.written_at.isoformat(),
    )
