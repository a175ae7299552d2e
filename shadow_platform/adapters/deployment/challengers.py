"""Transitions of the shadow: which versions are compared with the champion, and how much of its traffic they see.

Belongs here: what each of them makes of the manifest. Does not belong here: scoring (bento.shadow), how a transition
is carried out (``journal``). Upstream: promotion assets, command line. Downstream: the shadow worker.
"""

from datetime import datetime, timedelta

from pydantic import ValidationError

from shadow_platform.adapters.deployment.journal import (
    Cause,
    Desk,
    change,
    deployable,
    deployed,
    execute,
    following,
    require_generation,
    transition,
)
from shadow_platform.adapters.deployment.manifest import CHALLENGERS, aliases_of
from shadow_platform.adapters.deployment.rollouts import read_rollout
from shadow_platform.contracts.deployment import MAX_CHALLENGERS, DeployedModel, DeploymentManifest
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
    patience: timedelta = timedelta(0),
) -> DeploymentManifest:
    """Let a version shadow the champion, beside others that already do. The champion itself: A/A.

    At most ``MAX_CHALLENGERS`` shadow at once, newest first; the oldest that nothing keeps (``kept``) leaves.

    Args:
        patience: so long the oldest stays, and the next oldest leaves in its stead: evidence takes time, and where
            trainings follow each other fast no challenger would else be there for long enough.

    Raises:
        RegistryError: every place is taken by a version that is kept.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now, version) as found:
        current = deployed(found, use_case)
        if version in _versions(current):
            return current
        model = deployable(desk, version, now)
        models = (model, *_staying(current, _rolling(layout, use_case), now - patience))
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
    expected_generation: int | None = None,
) -> DeploymentManifest:
    """Take a version out of the shadow; if it is the canary, it answers nobody any more. Repeating it is harmless.

    Args:
        expected_generation: of the deployment that the reason is about; ``None``: whichever is in force.

    Raises:
        TransitionConflict: the version shadows another deployment meanwhile.
    """
    desk = Desk(registry, layout, audit, use_case)
    with transition(desk, now) as found:
        current = deployed(found, use_case)
        if version not in _versions(current):
            return current
        require_generation(current, expected_generation, f"version {version} was to leave the shadow of")
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


def _staying(current: DeploymentManifest, rolling: str | None, contends_since: datetime) -> list[DeployedModel]:
    """Challengers beside which one more has room."""
    left, kept = list(current.challengers), current.kept(rolling)
    while len(left) >= MAX_CHALLENGERS:
        free = [model for model in reversed(left) if model.version not in kept]
        if not free:
            raise RegistryError(
                f"the shadow of {current.use_case} is full: versions {', '.join(kept)} are watched, answer as canary "
                "or are on their way to champion; remove one first"
            )
        is_contending = len(free) > 1 and free[0].since > contends_since
        left.remove(free[1] if is_contending else free[0])
    return left


def _rolling(layout: Layout, use_case: str) -> str | None:
    rollout = read_rollout(layout, use_case)
    return None if rollout is None or rollout.state.is_end else rollout.version


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
