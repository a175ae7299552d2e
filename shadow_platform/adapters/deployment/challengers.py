"""Transitions of the shadow: which versions are compared with the champion, and how much of its traffic they see.

Belongs here: what each of them makes of the manifest. Does not belong here: scoring (bento.shadow), how a transition
is carried out (``journal``). Upstream: promotion assets, command line. Downstream: the shadow worker.
"""

from datetime import datetime

from pydantic import ValidationError

from shadow_platform.adapters.deployment.journal import (
    Cause,
    Desk,
    change,
    deployable,
    deployed,
    execute,
    following,
    transition,
)
from shadow_platform.adapters.deployment.manifest import CHALLENGERS, MAX_CHALLENGERS, aliases_of
from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, Registry


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

    At most ``MAX_CHALLENGERS`` shadow at once, newest first; the oldest that answers nobody as canary leaves.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now, version) as found:
        current = deployed(found, use_case)
        if version in _versions(current):
            return current
        model = deployable(desk, version, now)
        models = _newest((model, *current.challengers), current.canary)
        manifest = following(current, now, challengers=models)
        return execute(desk, manifest, Cause(actor, reason, evidence_id), change(CHALLENGERS[0], None, version))


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
    """Take a version out of the shadow; if it is the canary, it answers nobody any more. Repeating it is harmless."""
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        if version not in _versions(current):
            return current
        left = tuple(model for model in current.challengers if model.version != version)
        canary = None if current.canary and current.canary.model.version == version else current.canary
        manifest = following(current, now, challengers=left, canary=canary)
        return execute(
            desk, manifest, Cause(actor, reason, evidence_id), change(_alias_of(current, version), version, None)
        )


def set_shadow_policy(
    registry: Registry,
    layout: Layout,
    audit: LogSink,
    *,
    use_case: str,
    version: str,
    sample_rate: float,
    max_lag_s: float | None,
    actor: str,
    reason: str,
    now: datetime,
    evidence_id: str | None = None,
) -> DeploymentManifest:
    """Change which share of the requests a challenger scores, and how late it may be. Repeating it is harmless.

    Args:
        sample_rate: share of requests, 0 to 1.
        max_lag_s: predictions older than this are dropped, seconds; ``None``: never.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        before = challenger(current, version)
        after = _under(before, sample_rate, max_lag_s)
        if after == before:
            return current
        models = tuple(after if model.version == version else model for model in current.challengers)
        manifest = following(current, now, challengers=models)
        cause = Cause(actor, f"{_terms(before)} -> {_terms(after)}: {reason}", evidence_id)
        return execute(desk, manifest, cause, change(_alias_of(current, version), version, version))


def challenger(current: DeploymentManifest, version: str) -> DeployedModel:
    """A version in the shadow; raises ``RegistryError`` when it is not there."""
    for model in current.challengers:
        if model.version == version:
            return model
    raise RegistryError(
        f"version {version} is not in the shadow of {current.use_case} (there: "
        f"{', '.join(_versions(current)) or 'none'}); add it as a challenger first"
    )


def _newest(models: tuple[DeployedModel, ...], canary: Canary | None) -> tuple[DeployedModel, ...]:
    answering = canary.model.version if canary and canary.share > 0 else None
    left = list(models)
    while len(left) > MAX_CHALLENGERS:
        oldest = next(model for model in reversed(left) if model.version != answering)
        left.remove(oldest)
    return tuple(left)


def _versions(current: DeploymentManifest) -> list[str]:
    return [model.version for model in current.challengers]


def _alias_of(current: DeploymentManifest, version: str) -> str:
    aliases = aliases_of(current)
    return next(alias for alias in CHALLENGERS if aliases[alias] == version)


def _under(model: DeployedModel, sample_rate: float, max_lag_s: float | None) -> DeployedModel:
    terms = {"sample_rate": sample_rate, "max_lag_s": max_lag_s}
    try:
        return DeployedModel.model_validate({**model.model_dump(), **terms})
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryError(f"{first['loc'][0]} {first['input']!r}: {first['msg'].lower()}; correct it") from error


def _terms(model: DeployedModel) -> str:
    lag = "no lag limit" if model.max_lag_s is None else f"lag limit {model.max_lag_s:g} s"
    return f"sample rate {model.sample_rate:g}, {lag}"
