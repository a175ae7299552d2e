"""Rollouts: their state and steps, what a canary answered, and whether the workers follow a deployment.

Upstream: ``deployments``, adapters, and ``domain.slo``, which the guard shares. Downstream: ``PlatformResource``.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.rollouts import Rollout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.slo import CallCounter, Objectives, SloVerdict, judge
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

    def release_bento(self, tag: str) -> None:
        """Let ``latest`` of the store be a Bento whose deployment is in force; nothing if it was removed."""
        name, _, version = tag.partition(":")
        folder = self.layout.bentos / "bentos" / name
        if (folder / version).is_dir():
            (folder / "latest").write_text(version, encoding="utf-8")

    def canary_verdict(self, use_case: UseCase, version: str, since: datetime) -> tuple[int, SloVerdict]:
        """Requests that a canary answered since a time, and the verdict of the service's objectives on them."""
        settings = self.settings
        counter = CallCounter(champion_version=None, canary_version=version)
        n, calls = 0, list[tuple[str, float | None]]()
        for record in self._canary_predictions(use_case, since):
            n += record.variant == "canary" and record.model_version == version
            call = counter.call(record)
            if call is not None:
                calls.append((record.logged_at, call.latency_ms))
        # The segments of several workers are read one after another.
        latencies = [latency_ms for _, latency_ms in sorted(calls, key=itemgetter(0))]
        objectives = Objectives(settings.slo_p95_ms, settings.slo_error_rate, settings.slo_min_requests)
        return n, judge(latencies, objectives)

    def _canary_predictions(self, use_case: UseCase, since: datetime) -> Iterator[PredictionRecord]:
        """What canaries answered, or failed to, since a time; a line that is no prediction is left out."""
        from shadow_platform.adapters.log import FileLogSource, decode_prediction

        for line in FileLogSource(self.layout.log("predictions", use_case.name), since).read({}):
            if b'"canary"' not in line.payload and b'"is_fallback":true' not in line.payload:
                continue
            try:
                record = decode_prediction(line.payload)
                is_new = datetime.fromisoformat(record.logged_at) > since
            except (LogError, ValueError):
                continue
            if is_new:
                yield record

    def refusal_of_workers(self, use_case: UseCase, generation: int, timeout_s: float = CONVERGENCE_S) -> str | None:
        """Why a live worker of this machine does not answer from a generation; ``None``: all do, or none is there."""
        from shadow_platform.adapters.deployment.worker_states import is_converged, live_workers

        deadline = time.monotonic() + timeout_s
        while True:
            # Workers live by the clock on the wall, whatever time is simulated.
            workers = live_workers(self.layout, use_case.name, datetime.now(UTC))
            refused = [worker for worker in workers if worker.refusal is not None]
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
