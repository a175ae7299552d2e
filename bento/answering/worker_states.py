"""What a worker says of the models it answers with: in its state file, to ``GET /model``, to ``GET /metrics``.

Belongs here: the telling. Does not belong here: the files of all workers (``adapters.deployment.worker_states``), what
is loaded (``bento.answering.models``). Upstream: the worker's models. Downstream: callers, the command line.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bento.answering.models import ModelWatcher, Serving
from shadow_platform.adapters.deployment.worker_states import (
    is_converged,
    live_workers,
    remove_dead_workers,
    remove_worker_state,
    write_worker_state,
)
from shadow_platform.contracts.deployment import WorkerState
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.serving import rfc3339

LOGGER = logging.getLogger("shadow_platform.worker_states")


@dataclass(frozen=True, slots=True)
class ModelsInService:
    """Over all live workers: (version, alias) of what is loaded, and how many workers refused something."""

    versions: frozenset[tuple[str, str]]
    n_refusing: int


class WorkerReport:
    """Tells what this process has loaded. Nothing here raises: a sign of life must not end a life."""

    def __init__(self, layout: Layout, use_case: str, models: ModelWatcher) -> None:
        self._layout = layout
        self._use_case = use_case
        self._models = models
        self._pid = os.getpid()
        self._problem: str | None = None

    def write(self) -> None:
        """Renew the state file."""
        try:
            write_worker_state(self._layout, self._use_case, self._state())
            self._problem = None
        except OSError as error:
            if str(error) != self._problem:
                LOGGER.warning("the worker's state cannot be written (%s); others go by what it said last", error)
            self._problem = str(error)

    def clean(self) -> None:
        """Remove the files of workers that were killed."""
        try:
            remove_dead_workers(self._layout, self._use_case)
        except OSError as error:
            LOGGER.warning("states of dead workers cannot be removed (%s)", error)

    def withdraw(self) -> None:
        """Remove the state file."""
        try:
            remove_worker_state(self._layout, self._use_case, self._pid)
        except OSError as error:
            LOGGER.warning("the worker's state cannot be removed (%s)", error)

    def in_service(self) -> ModelsInService:
        """What the live workers have loaded, and which challengers shadow them."""
        workers = self._workers()
        serving = self._models.current
        aliases = {
            *((w.champion_version, "champion") for w in workers),
            *((w.canary_version, "canary") for w in workers),
            *((m.version, "challenger") for m in (serving.manifest.challengers if serving else ())),
        }
        loaded = frozenset((version, alias) for version, alias in aliases if version is not None)
        return ModelsInService(loaded, sum(worker.refusal is not None for worker in workers))

    def describe(self) -> dict[str, Any]:
        """Document of ``GET /model``."""
        serving = self._models.current
        workers = self._workers()
        newest = max((w.generation for w in workers if w.generation is not None), default=0)
        told = {
            "workers": [worker.model_dump(mode="json") for worker in workers],
            "is_converged": is_converged(workers, max(newest, self._models.newest)),
            "worker_pid": self._pid,
            "refusal": self._models.refusal and self._models.refusal.reason,
        }
        if serving is None:
            return {"use_case": self._use_case, "champion": None, "reason": self._models.reason, **told}
        manifest = serving.manifest
        return {
            "use_case": self._use_case,
            "generation": manifest.generation,
            "champion": _champion(serving),
            "previous": manifest.previous and manifest.previous.model_dump(mode="json"),
            "challengers": [model.model_dump(mode="json") for model in manifest.challengers],
            "canary": _canary(serving),
            "probation_until": manifest.probation_until and rfc3339(manifest.probation_until),
            **told,
        }

    def _state(self) -> WorkerState:
        serving = self._models.current
        canary = serving and serving.canary
        refusal = self._models.refusal
        return WorkerState(
            pid=self._pid,
            generation=serving and serving.manifest.generation,
            champion_version=serving and serving.champion.deployed.version,
            canary_version=canary and canary.model.deployed.version,
            refusal=refusal and refusal.reason,
            refused_generation=refusal and refusal.generation,
            refused_version=refusal and refusal.version,
            loaded_at=serving and serving.loaded_at,
            seen_at=datetime.now(UTC),
        )

    def _workers(self) -> Sequence[WorkerState]:
        others = live_workers(self._layout, self._use_case, datetime.now(UTC))
        return sorted([self._state(), *(w for w in others if w.pid != self._pid)], key=lambda state: state.pid)


def _champion(serving: Serving) -> dict[str, Any]:
    bundle = serving.champion.bundle.manifest
    return serving.champion.deployed.model_dump(mode="json") | {
        "threshold": bundle.threshold,
        "trained_as_of": rfc3339(bundle.trained_as_of),
        "fingerprints": bundle.fingerprints,
        "metrics": bundle.metrics,
        "loaded_at": rfc3339(serving.loaded_at),
    }


def _canary(serving: Serving) -> dict[str, Any] | None:
    rollout = serving.rollout
    if rollout is None:
        return None
    return rollout.model_dump(mode="json") | {"is_answering": serving.canary is not None}
