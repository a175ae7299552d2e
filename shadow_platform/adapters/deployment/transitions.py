"""Changes which model serves: registry alias first, then the deployment manifest, then the audit record.

Belongs here: the transitions (first deployment, challengers, promotion, rollback), each
under one lock a use case and repaired by the next call if a process dies in between. Does not belong here: whether a
change is right (domain.gates, domain.promotion). Upstream: promotion assets, command line. Downstream: serving
workers and the shadow worker watch the manifest; the lake reads the audit log.

A transition writes its intent beside the manifest before it touches the registry, and removes it after the audit
record. The next call finds an intent that was left behind: an alias that was moved is rolled forward (manifest and
audit record are completed, under the same transition ids, so that a repeated audit row is one row in its table), an
alias that was not is forgotten.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import uuid_utils
from filelock import FileLock, Timeout
from pydantic import ValidationError

from shadow_platform.adapters.deployment.manifest import read_manifest, write_atomic, write_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import AlreadyRunning, RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, Registry
from shadow_platform.contracts.records import TransitionRecord
from shadow_platform.contracts.verdicts import Frozen

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
MAX_CHALLENGERS = 2
LOCK_TIMEOUT_S = 30.0


class AliasChange(Frozen):
    """One alias to move; the champion's comes first and decides whether the intent took effect."""

    transition_id: str
    alias: str
    from_version: str | None
    to_version: str | None


class Intent(Frozen):
    """A transition written down before it starts."""

    manifest: DeploymentManifest
    changes: tuple[AliasChange, ...]
    actor: str
    reason: str
    evidence_id: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Who asks for a transition, why, and on which evidence (gate decision, drift evaluation)."""

    actor: str
    reason: str
    evidence_id: str | None = None


class Move(NamedTuple):
    """One alias, where it points and where it shall point; ``None``: nowhere."""

    alias: str
    from_version: str | None
    to_version: str | None


def deploy_initial(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Make a version the first champion. Repeating it is harmless; another champion is a ``TransitionConflict``."""
    with _transition(registry, layout, audit, use_case, now) as current:
        if current is not None and current.champion.version == version:
            return current
        if current is not None:
            raise TransitionConflict(
                f"use case {use_case} already serves version {current.champion.version}; to serve {version}, promote it"
            )
        model = _deployable(registry, layout, use_case, version, now)
        manifest = DeploymentManifest(use_case=use_case, generation=1, champion=model, written_at=now)
        moves = [Move(CHAMPION, registry.alias(use_case, CHAMPION), version)]
        return _execute(registry, layout, audit, manifest, moves, Cause(actor, reason, evidence_id))


def add_challenger(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Let a version shadow the champion, beside the newest of those that already do. The champion itself: A/A.

    At most ``MAX_CHALLENGERS`` shadow at once, newest first; the oldest leaves.
    """
    with _transition(registry, layout, audit, use_case, now) as found:
        current = _deployed(found, use_case)
        if version in [model.version for model in current.challengers]:
            return current
        model = _deployable(registry, layout, use_case, version, now)
        models = (model, *current.challengers)[:MAX_CHALLENGERS]
        manifest = _next(current, now, challengers=models)
        moves = [Move(CHALLENGER, registry.alias(use_case, CHALLENGER), version)]
        return _execute(registry, layout, audit, manifest, moves, Cause(actor, reason, evidence_id))


def remove_challenger(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Take a version out of the shadow. Repeating it is harmless."""
    with _transition(registry, layout, audit, use_case, now) as found:
        current = _deployed(found, use_case)
        left = tuple(model for model in current.challengers if model.version != version)
        if left == current.challengers:
            return current
        manifest = _next(current, now, challengers=left)
        newest = left[0].version if left else None
        moves = [Move(CHALLENGER, registry.alias(use_case, CHALLENGER), newest)]
        return _execute(registry, layout, audit, manifest, moves, Cause(actor, reason, evidence_id))


def promote(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
    expected_champion: str | None = None,
) -> DeploymentManifest:
    """Make a version the champion; the old champion becomes ``previous``.

    Args:
        expected_champion: champion the decision was made against; ``None`` accepts whichever serves.

    Raises:
        TransitionConflict: another champion serves meanwhile, or the alias was moved at the same time.
    """
    with _transition(registry, layout, audit, use_case, now) as found:
        current = _deployed(found, use_case)
        champion = current.champion
        if champion.version == version:
            return current
        _require_champion(current, expected_champion, version)
        model = _deployable(registry, layout, use_case, version, now)
        others = tuple(other for other in current.challengers if other.version != version)
        manifest = _next(current, now, champion=model, previous=champion, challengers=others, canary=None)
        moves = [
            Move(CHAMPION, champion.version, version),
            Move(PREVIOUS, registry.alias(use_case, PREVIOUS), champion.version),
        ]
        if len(others) < len(current.challengers):
            left = others[0].version if others else None
            moves.append(Move(CHALLENGER, registry.alias(use_case, CHALLENGER), left))
        return _execute(registry, layout, audit, manifest, moves, Cause(actor, reason, evidence_id))


def rollback(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Swap champion and previous champion; a second rollback undoes the first."""
    with _transition(registry, layout, audit, use_case, now) as found:
        current = _deployed(found, use_case)
        if current.previous is None:
            raise RegistryError(
                f"use case {use_case} has no previous champion besides {current.champion.version}; "
                "there is nothing to roll back to"
            )
        champion = _deployable(registry, layout, use_case, current.previous.version, now)
        manifest = _next(current, now, champion=champion, previous=current.champion, canary=None)
        moves = [
            Move(CHAMPION, current.champion.version, champion.version),
            Move(PREVIOUS, registry.alias(use_case, PREVIOUS), current.champion.version),
        ]
        return _execute(registry, layout, audit, manifest, moves, Cause(actor, reason, evidence_id))


def reconcile(
    registry: Registry, layout: Layout, audit: LogSink, *, use_case: str, now: datetime
) -> DeploymentManifest | None:
    """Finish what a dead process began, and follow an alias that was moved by hand; returns the manifest in force."""
    with _transition(registry, layout, audit, use_case, now) as current:
        return current


@contextmanager
def _transition(
    registry: Registry, layout: Layout, audit: LogSink, use_case: str, now: datetime
) -> Iterator[DeploymentManifest | None]:
    path = layout.locks(f"deployment-{use_case}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT_S):
            _finish_intent(registry, layout, audit, use_case)
            yield _follow_alias(registry, layout, audit, use_case, now)
    except Timeout as error:
        raise AlreadyRunning(
            f"another process has been changing the deployment of {use_case} for {LOCK_TIMEOUT_S:.0f} s "
            f"(lock {path}); wait for it, or end it"
        ) from error


def _finish_intent(registry: Registry, layout: Layout, audit: LogSink, use_case: str) -> None:
    path = _intent_path(layout, use_case)
    try:
        intent = Intent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return
    except ValidationError as error:
        raise RegistryError(f"unfinished transition {path}: {error.errors()[0]['msg']}; remove the file") from error
    decisive = intent.changes[0]
    is_written = (current := read_manifest(layout.manifest(use_case))) is not None and (
        current.generation >= intent.manifest.generation
    )
    if is_written or registry.alias(use_case, decisive.alias) == decisive.to_version:
        _complete(registry, layout, audit, intent)
    else:
        path.unlink(missing_ok=True)


def _follow_alias(
    registry: Registry, layout: Layout, audit: LogSink, use_case: str, now: datetime
) -> DeploymentManifest | None:
    """The registry decides: a champion alias moved outside the platform becomes a manifest and an audit record."""
    current = read_manifest(layout.manifest(use_case))
    if current is None:
        return None
    version = registry.alias(use_case, CHAMPION)
    if version is None or version == current.champion.version:
        return current
    champion = _deployable(registry, layout, use_case, version, now)
    others = tuple(other for other in current.challengers if other.version != version)
    manifest = _next(current, now, champion=champion, previous=current.champion, challengers=others, canary=None)
    record = _record(
        AliasChange(
            transition_id=str(uuid_utils.uuid7()),
            alias=CHAMPION,
            from_version=current.champion.version,
            to_version=version,
        ),
        manifest,
        Cause("reconcile", "the registry alias was moved outside the platform"),
    )
    write_manifest(layout.manifest(use_case), manifest)
    audit.append(record)
    audit.sync()
    return manifest


def _execute(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    manifest: DeploymentManifest,
    moves: list[Move],
    cause: Cause,
) -> DeploymentManifest:
    intent = Intent(
        manifest=manifest,
        changes=tuple(
            AliasChange(
                transition_id=str(uuid_utils.uuid7()),
                alias=m.alias,
                from_version=m.from_version,
                to_version=m.to_version,
            )
            for m in moves
        ),
        **asdict(cause),
    )
    path = _intent_path(layout, manifest.use_case)
    write_atomic(path, intent)
    decisive = intent.changes[0]
    try:
        registry.swap_alias(manifest.use_case, decisive.alias, decisive.from_version, decisive.to_version)
    except TransitionConflict:
        path.unlink(missing_ok=True)
        raise
    _complete(registry, layout, audit, intent)
    return manifest


def _complete(registry: Registry, layout: Layout, audit: LogSink, intent: Intent) -> None:
    """Everything behind the decisive swap; each step may be repeated."""
    use_case = intent.manifest.use_case
    path = layout.manifest(use_case)
    current = read_manifest(path)
    if current is None or current.generation < intent.manifest.generation:
        write_manifest(path, intent.manifest)
    for change in intent.changes[1:]:
        found = registry.alias(use_case, change.alias)
        if found != change.to_version:
            registry.swap_alias(use_case, change.alias, found, change.to_version)
    cause = Cause(intent.actor, intent.reason, intent.evidence_id)
    audit.append_many([_record(change, intent.manifest, cause) for change in intent.changes])
    audit.sync()
    _intent_path(layout, use_case).unlink(missing_ok=True)


def _record(change: AliasChange, manifest: DeploymentManifest, cause: Cause) -> TransitionRecord:
    return TransitionRecord(
        transition_id=change.transition_id,
        use_case=manifest.use_case,
        alias=change.alias,
        from_version=change.from_version,
        to_version=change.to_version,
        actor=cause.actor,
        reason=cause.reason,
        evidence_id=cause.evidence_id,
        generation=manifest.generation,
        transitioned_at=manifest.written_at.isoformat(),
    )


def _deployable(registry: Registry, layout: Layout, use_case: str, version: str, now: datetime) -> DeployedModel:
    """Bring the version's bundle here before anything points to it."""
    found = registry.get(use_case, version)
    registry.fetch_bundle(use_case, version, layout.bundles)
    return DeployedModel(version=found.version, bundle_hash=found.bundle_hash, model_name=found.model_name, since=now)


def _require_champion(current: DeploymentManifest, expected: str | None, version: str) -> None:
    if expected is not None and current.champion.version != expected:
        raise TransitionConflict(
            f"use case {current.use_case} serves version {current.champion.version}, but {version} was judged against "
            f"{expected}; evaluate the gate again"
        )


def _deployed(manifest: DeploymentManifest | None, use_case: str) -> DeploymentManifest:
    if manifest is None:
        raise RegistryError(f"use case {use_case} serves no model yet; deploy a champion first")
    return manifest


def _next(current: DeploymentManifest, now: datetime, **changes: Any) -> DeploymentManifest:
    return current.model_copy(update={"generation": current.generation + 1, "written_at": now, **changes})


def _intent_path(layout: Layout, use_case: str) -> Path:
    return layout.manifest(use_case).with_suffix(".intent")
