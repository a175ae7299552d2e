"""Transitions of the champion: first deployment, promotion, rollback, and following an alias that was moved by hand.

Belongs here: what each of them makes of the manifest. Does not belong here: whether a change is right (domain.gates,
domain.promotion, domain.slo), how it is carried out (``journal``). Upstream: promotion assets, command line.
Downstream: serving workers and the shadow worker watch the manifest; the lake reads the audit log.
"""

from datetime import datetime, timedelta

from shadow_platform.adapters.deployment.bentos import follow_champion
from shadow_platform.adapters.deployment.journal import (
    Cause,
    Desk,
    change,
    deployable,
    deployed,
    execute,
    require_generation,
    succeeded,
    transition,
)
from shadow_platform.adapters.deployment.manifest import CHAMPION
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, Registry


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
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now, version) as current:
        if current is not None and current.champion.version == version:
            return current
        if current is not None:
            raise TransitionConflict(
                f"use case {use_case} already serves version {current.champion.version}; to serve {version}, promote it"
            )
        model = deployable(desk, version, now)
        manifest = DeploymentManifest(use_case=use_case, generation=1, champion=model, written_at=now)
        return execute(desk, manifest, Cause(actor, reason, evidence_id), change(CHAMPION, None, version))


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
    expected_generation: int | None = None,
    probation_s: float = 0.0,
) -> DeploymentManifest:
    """Make a version the champion; the old champion becomes ``previous``, and a canary ends.

    Args:
        expected_champion: champion the decision was made against; ``None`` accepts whichever serves.
        expected_generation: of the deployment that was looked at: a canary that was halted since, or a version that was
            taken out of the shadow, is not promoted. ``None``: whichever is in force.
        probation_s: for so long, a breach of the service's objectives brings the old champion back by itself.

    Raises:
        TransitionConflict: another champion serves meanwhile, the deployment was changed since it was looked at, or the
            alias was moved at the same time.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now, version) as found:
        current = deployed(found, use_case)
        if current.champion.version == version:
            return current
        _require_champion(current, expected_champion, version)
        require_generation(current, expected_generation, f"version {version} was to be champion after")
        until = now + timedelta(seconds=probation_s) if probation_s > 0 else None
        manifest = succeeded(current, deployable(desk, version, now), now, until)
        row = change(CHAMPION, current.champion.version, manifest.champion.version)
        return execute(desk, manifest, Cause(actor, reason, evidence_id), row)


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
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        champion = deployable(desk, previous_of(current).version, now)
        manifest = succeeded(current, champion, now)
        row = change(CHAMPION, current.champion.version, manifest.champion.version)
        return execute(desk, manifest, Cause(actor, reason, evidence_id), row)


def reconcile(
    registry: Registry, layout: Layout, audit: LogSink, *, use_case: str, now: datetime
) -> DeploymentManifest | None:
    """Finish what a dead process or an emergency began, and follow an alias that was moved by hand.

    Returns:
        The manifest in force; ``None`` when nothing was deployed yet.
    """
    with transition(Desk(registry, layout, audit, use_case), now) as current:
        follow_champion(layout, use_case)
        return current


def previous_of(current: DeploymentManifest) -> DeployedModel:
    """The champion before this one; raises ``RegistryError`` when there was none."""
    if current.previous is None:
        raise RegistryError(
            f"use case {current.use_case} has no previous champion besides {current.champion.version}; "
            "there is nothing to roll back to"
        )
    return current.previous


def _require_champion(current: DeploymentManifest, expected: str | None, version: str) -> None:
    if expected is not None and current.champion.version != expected:
        raise TransitionConflict(
            f"use case {current.use_case} serves version {current.champion.version}, but {version} was judged against "
            f"{expected}; evaluate the gate again"
        )
