"""A home of use case ``shop`` on which rollouts are played: decisions are given, time passes, things break.

Upstream: real deployment, logs and lake; registry in memory. Downstream: tests of rollouts.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from shadow_platform.adapters.deployment.worker_states import write_worker_state
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.assets.promotion.promoting import follow
from shadow_platform.contracts.deployment import DeploymentManifest, WorkerState
from shadow_platform.contracts.errors import BundleError, RegistryError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.rollouts import Rollout
from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import CanaryStep, RolloutPolicy, UseCase
from shadow_platform.contracts.verdicts import Decision, GateDecision
from shadow_platform.resources import Transition
from shadow_platform_tests.assets import served
from shadow_platform_tests.assets.served import FAR_OFF, TRUTH, Home, ServedPlatform
from shadow_platform_tests.rollouts import decision

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
PROMOTION, TRANSITIONS, STEPS = 1, 2, 3
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CANARIES = (CanaryStep(0.05, HOUR, 100), CanaryStep(0.25, HOUR, 100))
LOGGER = logging.getLogger(__name__)


class RollingPlatform(ServedPlatform):
    """The platform resource, parts of which can be away."""

    def registry(self) -> Any:
        if AWAY.get(self.shadow_home) == "registry":
            raise RegistryError("the registry does not answer; start it")
        return super().registry()

    def build_bento(self, use_case: Any, manifest: DeploymentManifest) -> str:
        if AWAY.get(self.shadow_home) == "bento":
            raise BundleError("Bento shop could not be built: no space left on device")
        BUILT.setdefault(self.shadow_home, []).append(manifest)
        return super().build_bento(use_case, manifest)

    def refusal_of_workers(
        self, use_case: UseCase, generation: int, version: str, timeout_s: float = 0.3
    ) -> str | None:
        return super().refusal_of_workers(use_case, generation, version, timeout_s)


AWAY: dict[str, str] = {}
BUILT: dict[str, list[DeploymentManifest]] = {}


class Rolling:
    """Champion 1 and challenger 2, under a rollout policy and a clock that is set by hand."""

    def __init__(self, layout: Layout, policy: RolloutPolicy, now: datetime = NOW) -> None:
        self.use_case = replace(served.USE_CASE, rollout=policy)
        self.home, self.now, self.layout = Home(layout), now, layout
        self.shadow(FAR_OFF, "deploy_initial")
        self.shadow(TRUTH)

    @property
    def platform(self) -> RollingPlatform:
        """The platform as of now."""
        return RollingPlatform(shadow_home=str(self.layout.home), simulated_now=self.now.isoformat())

    @property
    def manifest(self) -> DeploymentManifest:
        """Deployment in force."""
        found = self.platform.manifest(self.use_case)
        assert found is not None
        return found

    @property
    def rollout(self) -> Rollout:
        """The rollout under way, or the last."""
        found = self.platform.rollout(self.use_case)
        assert found is not None
        return found

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Every step so far."""
        return self.platform.rollout_steps(self.use_case)

    def away(self, part: str | None) -> None:
        """Let a part be away (``registry``, ``bento``), or all be there again."""
        AWAY[str(self.layout.home)] = part or ""

    def built(self) -> list[DeploymentManifest]:
        """Deployments that a Bento was built of."""
        return BUILT.get(str(self.layout.home), [])

    def shadow(self, truth: tuple[float, float], change: Transition = "add_challenger") -> str:
        """A newly registered version, in the shadow."""
        version = self.home.register(*truth)
        self.platform.deploy(self.use_case, change, version=version, actor="training", reason="new")
        return version

    def decide(self, verdict: Decision = Decision.PROMOTE, **changes: Any) -> GateDecision:
        """A new decision of the gate, by default on version 2 against champion 1."""
        number = len(self.platform.lake().read_table(GATE_DECISIONS, self.use_case))
        made = decision(verdict, decision_id=f"{number:x}" * 64, use_case=self.use_case.name, **changes)
        row = dict.fromkeys(GATE_DECISIONS.column_names, "{}") | made.model_dump(mode="json")
        row |= {"criteria": "[]", "maturity": "{}", "fingerprints": "{}", "record": made.model_dump_json()}
        row |= {"as_of": self.now, "decided_at": self.now + timedelta(milliseconds=number)}
        self.platform.lake().append_rows(GATE_DECISIONS, self.use_case, [row])
        return made

    def promote(self, later: timedelta = timedelta(0), **config: Any) -> dict[str, Any]:
        """What the asset ``promotion`` does some time later; its metadata."""
        self.now += later
        if not config:
            return follow(self.platform, self.use_case, LOGGER)
        result = self.materialize(PROMOTION, promotion=config)
        found = result.asset_materializations_for_node(f"{self.use_case.name}__promotion")[0].metadata
        return {name: value.value for name, value in found.items()}

    def materialize(self, *places: int, **config: Any) -> dg.ExecuteInProcessResult:
        """Run assets of the promotion stage."""
        assets = build_promotion_assets(self.use_case)
        return dg.materialize(
            [assets[place] for place in places],
            resources={"platform": self.platform},
            run_config={"ops": {f"{self.use_case.name}__{name}": {"config": value} for name, value in config.items()}},
        )

    def halt_by_guard(self, reason: str) -> None:
        """What the guard does on a breach: the canary answers nobody any more."""
        manifest = self.manifest
        self.platform.deploy_without_registry(
            self.use_case,
            "halt_canary",
            canary=manifest.canary,
            actor="slo-guard",
            reason=reason,
            expected_generation=manifest.generation,
        )

    def answer_as_canary(self, n: int, latency_ms: float = 5.0, is_failed: bool = False) -> None:
        """Requests that reached the canary now; failed ones are answered by the champion."""
        self.log_of_a_worker([self.canary_answer(i, latency_ms, is_failed) for i in range(n)])

    def log_of_a_worker(self, records: list[PredictionRecord]) -> None:
        """What one worker answered, in a segment of its own."""
        sink = FileLogSink(self.layout.log("predictions", self.use_case.name), clock=self.now.timestamp)
        sink.append_many([asdict(record) for record in records])
        sink.close()

    def canary_answer(
        self, i: int, latency_ms: float, is_failed: bool = False, ago: timedelta = timedelta(0)
    ) -> PredictionRecord:
        """The i-th request that reached the canary."""
        canary = self.manifest.canary
        assert canary is not None
        model = self.manifest.champion if is_failed else canary.model
        record = served._prediction(model, i, self.now, {"cart_value": 1.0, "channel": "mail"}, 0.5)
        told = replace(record, logged_at=(self.now - ago).isoformat(), latency_ms=latency_ms + i / 1e6)
        return replace(told, is_fallback=True) if is_failed else replace(told, variant="canary")

    def worker(self, generation: int, refusal: str | None = None, refused: tuple[int, str] | None = None) -> None:
        """This process passes for a worker that has loaded a generation, and refuses a version of a generation."""
        seen = datetime.now(UTC)
        state = WorkerState(
            pid=os.getpid(),
            generation=generation,
            champion_version="1",
            canary_version=None,
            refusal=refusal,
            refused_generation=refused and refused[0],
            refused_version=refused and refused[1],
            loaded_at=seen,
            seen_at=seen + timedelta(minutes=1),
        )
        write_worker_state(self.layout, self.use_case.name, state)


def versions(rolling: Rolling) -> tuple[str, list[str]]:
    """Version of the champion, and of its challengers."""
    return rolling.manifest.champion.version, [model.version for model in rolling.manifest.challengers]


Play = Callable[..., Rolling]
