"""Rollouts: their state and steps, what a canary answered, and whether the workers follow a deployment.

Upstream: ``deployments``, adapters, and ``domain.slo``, which the guard shares. Downstream: ``PlatformResource``.
"""

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.rollouts import CanaryEvidence, Rollout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.slo import Objectives, SloVerdict, judge, latencies_of, most_calls
from shadow_platform.resources.deployments import Deployments

if TYPE_CHECKING:
    from shadow_platform.adapters.log import FileLogSource

CONVERGENCE_S = 30.0
"""A worker that has not loaded a deployment by then does not follow it."""
POLL_S = 0.1


class Rollouts(Deployments):
    """The way of a version from the gate's decision to champion."""

    def rollout(self, use_case: UseCase) -> Rollout | None:
        """The rollout under way, or the last that ended; ``None`` before the first."""
        from shadow_platform.adapters.deployment.rollouts import read_rollout

        return read_rollout(self.layout, use_case.name)

    def rollout_steps(self, use_case: UseCase) -> list[dict[str, Any]]:
        """Every step of every rollout so far, oldest first."""
        from shadow_platform.adapters.deployment.rollouts import steps

        return steps(self._rollouts_source(use_case))

    def new_step_id(self) -> str:
        """Id of a step that is about to be recorded."""
        from shadow_platform.adapters.deployment.rollouts import new_step_id

        return new_step_id()

    def record_step(self, use_case: UseCase, rollout: Rollout, expected: str | None) -> Rollout:
        """Put a step of a rollout into force; raises ``TransitionConflict`` when another than ``expected`` is."""
        from shadow_platform.adapters.deployment.rollouts import record_step
        from shadow_platform.adapters.log import FileLogSink

        with closing(FileLogSink(self.layout.log("rollouts", use_case.name))) as log:
            record_step(self.layout, log, self._rollouts_source(use_case), rollout, expected)
        return rollout

    def settle_rollout(self, use_case: UseCase) -> Rollout | None:
        """The rollout as it stands, once the log has every step of it."""
        from shadow_platform.adapters.deployment.rollouts import settle_log
        from shadow_platform.adapters.log import FileLogSink

        with closing(FileLogSink(self.layout.log("rollouts", use_case.name))) as log:
            settle_log(self.layout, log, self._rollouts_source(use_case), use_case.name)
        return self.rollout(use_case)

    def note_rollout(self, rollout: Rollout, detail: str) -> None:
        """Say why a rollout stands where it stands, without a step."""
        from shadow_platform.adapters.deployment.rollouts import note_detail

        note_detail(self.layout, rollout, detail)

    def is_registry_behind(self, use_case: UseCase) -> bool:
        """Whether the registry's aliases still have to follow the deployment in force."""
        from shadow_platform.adapters.deployment import is_registry_behind

        return is_registry_behind(self.layout, use_case.name)

    def deployment_to_come(self, manifest: DeploymentManifest, version: str) -> DeploymentManifest:
        """The deployment that promoting a challenger leads to; the same manifest always gives the same."""
        from shadow_platform.adapters.deployment.challengers import challenger
        from shadow_platform.adapters.deployment.journal import succeeded

        found, at = challenger(manifest, version), manifest.written_at
        champion = DeployedModel(version=version, bundle_hash=found.bundle_hash, model_name=found.model_name, since=at)
        return succeeded(manifest, champion, at)

    def canary_verdict(
        self, use_case: UseCase, version: str, since: datetime, limit: int | None = None
    ) -> tuple[int, SloVerdict]:
        """Requests that a canary answered since a time, and the verdict of the service's objectives on them.

        Args:
            limit: lines of the prediction log that are read at most, beyond those that were read before; ``None``: all.
        """
        from shadow_platform.resources.canary_evidence import read_on

        settings = self.settings
        objectives = Objectives(settings.slo_p95_ms, settings.slo_error_rate, settings.slo_min_requests)
        step = CanaryEvidence(use_case=use_case.name, version=version, since=since, most=most_calls(objectives))
        evidence = read_on(self.layout, step, limit)
        return evidence.n_requests, judge(latencies_of(evidence), objectives)

    def refusal_of_workers(
        self, use_case: UseCase, generation: int, version: str, timeout_s: float = CONVERGENCE_S
    ) -> str | None:
        """Why a live worker of this machine does not answer from a generation; ``None``: all do, or none is there.

        Args:
            version: the model that is waited for; another that is refused, such as a canary beside it, decides nothing.
        """
        from shadow_platform.adapters.deployment.worker_states import is_converged, live_workers, refusing

        deadline = time.monotonic() + timeout_s
        while True:
            # Workers live by the clock on the wall, whatever time is simulated.
            workers = live_workers(self.layout, use_case.name, datetime.now(UTC))
            refused = refusing(workers, generation, {version})
            if refused:
                return f"worker {refused[0].pid} refuses it: {refused[0].refusal}"
            if is_converged(workers, generation):
                return None
            if time.monotonic() >= deadline:
                behind = [w.pid for w in workers if not is_converged([w], generation)]
                return f"workers {', '.join(map(str, behind))} did not load it within {timeout_s:g} s"
            time.sleep(POLL_S)

    def _rollouts_source(self, use_case: UseCase) -> "FileLogSource":
        from shadow_platform.adapters.log import FileLogSource

        return FileLogSource(self.layout.log("rollouts", use_case.name))
