"""Changes of the deployment by people, gate, guard and rollouts, each with the state it begins in.

Belongs here: what is done, through the platform's own functions. Does not belong here: killing it (``rollout_kills``).
Upstream: PlatformResource, the assets of promotion. Downstream: rollout_kills.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shadow_platform.assets.promotion.promoting import follow
from shadow_platform.contracts.policies.rollout import CanaryStep, RolloutPolicy
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.chaos.trainings import USE_CASE

NAME = USE_CASE.name
Act = Callable[[PlatformResource], object]


def _reconcile(platform: PlatformResource) -> object:
    return platform.reconcile(USE_CASE)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the deployment.

    Attributes:
        before: what leads to the state it begins in, each in a process of its own.
        dies_at: step at which the last of ``before`` was killed: its name, and the how-manieth of that name.
        repair: what a fresh process does that finds a dead one.
        forgets: whether that dead change may be forgotten as well, because it never was in force.
    """

    name: str
    act: Act
    before: tuple[Act, ...] = ()
    dies_at: tuple[str, int] | None = None
    repair: Act = _reconcile
    forgets: bool = False


def _deploy(change: Any, **arguments: Any) -> Act:
    def act(platform: PlatformResource) -> object:
        return platform.deploy(USE_CASE, change, actor="tester", reason=change, evidence_id="e1", **arguments)

    return act


def _emergency(change: Any) -> Act:
    def act(platform: PlatformResource) -> object:
        manifest = platform.manifest(USE_CASE)
        assert manifest is not None
        canary = {"canary": manifest.canary} if change == "halt_canary" else {}
        return platform.deploy_without_registry(
            USE_CASE,
            change,
            actor="slo-guard",
            reason=change,
            evidence_id="e2",
            expected_generation=manifest.generation,
            **canary,
        )

    return act


def _begin(platform: PlatformResource) -> object:
    """Begin a rollout of version 3 whose Bento is built."""
    manifest, now = platform.manifest(USE_CASE), datetime.now(UTC)
    assert manifest is not None
    begun = Rollout(
        rollout_id="d1",
        use_case=NAME,
        version="3",
        expected_champion=manifest.champion.version,
        decision_id="d1",
        state=RolloutState.APPROVED,
        begun_at=now,
        step_started_at=now,
        step_id="1",
        stepped_at=now,
        actor="gate",
        approved_by="policy",
        bento=f"{NAME}:g{manifest.generation + 1}-0",
        detail="it is better",
    )
    return platform.record_step(USE_CASE, begun, None)


def _settle(platform: PlatformResource) -> object:
    return platform.settle_rollout(USE_CASE)


def _roll(policy: RolloutPolicy, platform: PlatformResource) -> object:
    return follow(platform, replace(USE_CASE, rollout=policy), logging.getLogger(__name__))


def _move_alias(platform: PlatformResource) -> None:
    platform.registry().swap_alias(NAME, "champion", "2", "3")


def _forget_bundle(version: str, platform: PlatformResource) -> None:
    shutil.rmtree(platform.layout.bundles / platform.registry().get(NAME, version).bundle_hash)


FIRST = _deploy("deploy_initial", version="1")
SERVED = (FIRST, _deploy("promote", version="2"), _deploy("add_challenger", version="3"))
WATCHED = (*SERVED, _deploy("add_challenger", version="1"))
CANARY = (*SERVED, _deploy("start_canary", version="3", share=0.05))
PROMOTE = _deploy("promote", version="3", expected_champion="2", probation_s=600.0)
EMERGENCY = _emergency("emergency_rollback")
AT_ONCE = partial(_roll, RolloutPolicy(watch=timedelta(days=30)))
BY_CANARY = partial(
    _roll, RolloutPolicy(canary_steps=(CanaryStep(0.05, timedelta(0), 0), CanaryStep(0.25, timedelta(0))))
)
CHANGES = (
    Change("deploy_initial", FIRST),
    Change("promote", PROMOTE, SERVED),
    Change("promote the canary", PROMOTE, CANARY),
    Change("promote, bundle not here", _deploy("promote", version="4"), (*SERVED, partial(_forget_bundle, "4"))),
    Change("rollback", _deploy("rollback"), SERVED),
    Change("rollback, bundle not here", _deploy("rollback"), (*SERVED, partial(_forget_bundle, "1"))),
    Change("emergency_rollback", EMERGENCY, CANARY),
    Change("add_challenger", _deploy("add_challenger", version="4"), SERVED),
    Change("remove_challenger", _deploy("remove_challenger", version="3"), CANARY),
    Change("set_shadow_policy", _deploy("set_shadow_policy", version="3", sample_rate=0.5, max_lag_s=30.0), SERVED),
    Change("start_canary", _deploy("start_canary", version="3", share=0.05), SERVED),
    Change("set_canary_share", _deploy("set_canary_share", share=0.25), CANARY),
    Change("stop_canary", _deploy("stop_canary"), CANARY),
    Change("halt_canary", _emergency("halt_canary"), CANARY),
    Change("follow an alias moved by hand", _reconcile, (*SERVED, _move_alias)),
    Change("reconcile behind an emergency", _reconcile, (*CANARY, EMERGENCY)),
    Change("repair of a dead promotion", _reconcile, (*CANARY, PROMOTE), ("behind commit registry", 1)),
    Change("repair of a dead rollback", _reconcile, (*SERVED, _deploy("rollback")), ("behind replace serving json", 1)),
    Change("repair of a dead emergency", _reconcile, (*CANARY, EMERGENCY), ("behind replace serving json", 1)),
    Change(
        "emergency over a dead promotion", EMERGENCY, (*CANARY, PROMOTE), ("behind commit registry", 1), forgets=True
    ),
    Change("rollout begins", _begin, SERVED, repair=_settle),
    Change("rollout to champion, watched", AT_ONCE, (*SERVED, _begin), repair=AT_ONCE),
    Change("rollout over a watch", AT_ONCE, (*WATCHED, _begin), repair=AT_ONCE),
    Change("rollout to its canary steps", BY_CANARY, (*SERVED, _begin), repair=BY_CANARY),
)
