"""Decisions and rollouts of version 2 against champion 1, to be varied by tests.

Belongs here: values. Does not belong here: assertions, homes. Upstream: contracts. Downstream: tests of promotion.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.policies import CanaryStep, RolloutPolicy
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Maturity, Outcome, Purpose

AT = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEPS = RolloutPolicy(canary_steps=(CanaryStep(0.05, HOUR, 100), CanaryStep(0.25, 2 * HOUR, 300)))
MATURITY = Maturity(n_requests=900, n_pending=0, n_matured=900, n_labelled=900, n_hidden=0, matured_until=AT)


def decision(verdict: Decision = Decision.PROMOTE, **changes: Any) -> GateDecision:
    """A decision on version 2 against champion 1."""
    values: dict[str, Any] = {
        "decision_id": "d" * 64,
        "sequence_id": "s",
        "use_case": "tiny",
        "purpose": Purpose.CHALLENGE,
        "champion_version": "1",
        "challenger_version": "2",
        "as_of": AT,
        "decision": verdict,
        "criteria": (),
        "maturity": MATURITY,
        "reason": "because",
        "fingerprints": {},
    }
    return GateDecision(**{**values, **changes})


def criterion(name: str, outcome: Outcome, reason: str) -> Criterion:
    return Criterion(name=name, outcome=outcome, value=None, limit=None, n=900, reason=reason)


HARMED = criterion("segments", Outcome.FAIL, "harmed: channel=mail +0.0900")
UNSURE = criterion("log_loss_gain", Outcome.INSUFFICIENT, "bounds -0.001 and 0.010")


def rollout(state: RolloutState = RolloutState.APPROVED, **changes: Any) -> Rollout:
    """A rollout of version 2 that began at ``AT``, its Bento built for the third generation."""
    values: dict[str, Any] = {
        "rollout_id": "d" * 12,
        "use_case": "tiny",
        "version": "2",
        "expected_champion": "1",
        "decision_id": "d" * 64,
        "state": state,
        "begun_at": AT,
        "step_started_at": AT,
        "step_id": "step",
        "stepped_at": AT,
        "actor": "gate",
        "bento": "tiny:g3-0",
        "detail": "as it was",
    }
    return Rollout(**{**values, **changes})


def model(version: str, since: datetime = AT) -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=f"h{version}", model_name="m", since=since)


def canary(version: str = "2", share: float = 0.05, reason: str | None = None) -> Canary:
    return Canary(model=model(version), share=share, salt="s", started_at=AT, halted_reason=reason)


def manifest(
    champion: str | DeployedModel = "1", challengers: tuple[str, ...] = ("2",), **changes: Any
) -> DeploymentManifest:
    values: dict[str, Any] = {
        "use_case": "tiny",
        "generation": 2,
        "champion": model(champion) if isinstance(champion, str) else champion,
        "challengers": tuple(map(model, challengers)),
        "written_at": AT,
    }
    return DeploymentManifest(**{**values, **changes})


def in_canary(step: int = 0, **changes: Any) -> Rollout:
    return rollout(RolloutState.CANARY, canary_step=step, canary_share=STEPS.canary_steps[step].share, **changes)
