"""One serving worker: opens what it answers with, and looks after it beside the requests.

Belongs here: the life of a worker process (open, follow the manifest, flush the log, leave when its parents are gone).
Does not belong here: answering (``bento.predictor``). Upstream: settings, use case. Downstream: ``bento.service``.
"""

import gc
import logging
import os
import signal
import threading
import time
from typing import Any

import psutil

from bento.features import RequestFeatures
from bento.metrics import ServiceMetrics
from bento.models import ModelWatcher
from bento.online import OnlineReader
from bento.predictor import Predictor, PredictorOptions
from bento.shadow_view import ShadowView
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.ports import OnlineFeatures
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract, rfc3339
from shadow_platform.settings import Settings

LOGGER = logging.getLogger("shadow_platform.worker")

TICK_S = 0.2
SLOW_TICK_S = 1.0
RETRY_S = 5.0
GC_THRESHOLDS = (100_000, 50, 100)
"""A full collection in a busy worker was the p99 (70 ms against 11): freeze what start-up made, collect rarely."""
SUPERVISOR_VARIABLE = "SHADOW_SUPERVISOR_PID"


class Worker:
    """What ``bento.app`` answers from. ``start`` opens it; until then, and until a model is there, it is not ready."""

    def __init__(self, settings: Settings, use_case: UseCase) -> None:
        self.settings = settings
        self.use_case = use_case
        self._started_at = time.monotonic()
        layout = settings.layout
        self.models = ModelWatcher(layout, use_case.name)
        self.sink = FileLogSink(layout.log("predictions", use_case.name))
        self.online = OnlineReader(self._open_store) if use_case.views else None
        self.metrics = ServiceMetrics()
        self.contract = RequestContract(use_case)
        self.features = RequestFeatures(self.contract, self.online, self.metrics)
        self.predictor = Predictor(
            use_case,
            self.models,
            self.sink,
            self.metrics,
            self.contract,
            self.features,
            PredictorOptions(settings.max_batch_size, settings.environment != "production"),
        )
        self.shadow = ShadowView(layout, use_case)
        self._log_problem: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Load the champion if there is one, then follow the manifest."""
        self.models.refresh()
        self.check_log()
        calm_gc()
        self._thread.start()

    def stop(self) -> None:
        """Flush the log and end the threads."""
        self._stopped.set()
        if self.online:
            self.online.close()
        try:
            self.sink.close()
        except LogError as error:
            LOGGER.error("%s", error)

    def check_log(self) -> None:
        """Note whether the log can be written."""
        try:
            self.sink.check()
            self._log_problem = None
        except LogError as error:
            self._log_problem = str(error)

    @property
    def uptime_s(self) -> float:
        """Seconds since the worker began."""
        return time.monotonic() - self._started_at

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether this worker can answer, and the state of everything it needs.

        A feature store that is away makes the worker ``degraded``, not unready: features are imputed meanwhile. Only
        while it is opened for the first time does the worker wait for it.
        """
        serving = self.models.current
        model: dict[str, Any] = {"ok": serving is not None}
        if serving:
            model["version"] = serving.champion.deployed.version
        if serving is None or self.models.refusal:
            model["reason"] = self.models.reason
        store: dict[str, Any] = {"ok": True, "reason": "no feature comes from the store"}
        if self.online:
            store = {"ok": self.online.problem is None, "reason": self.online.problem}
        log = {"ok": self._log_problem is None, "reason": self._log_problem}
        is_opening = self.online is not None and not self.online.has_tried
        is_ready = bool(model["ok"]) and bool(log["ok"]) and not is_opening
        is_degraded = is_ready and not (store["ok"] and self.models.refusal is None)
        status = "degraded" if is_degraded else "ready" if is_ready else "not ready"
        return is_ready, {"status": status, "checks": {"model": model, "log": log, "feature_store": store}}

    def describe_models(self) -> dict[str, Any]:
        """What is truly loaded; raises nothing, says why when nothing is."""
        serving = self.models.current
        if serving is None:
            return {"use_case": self.use_case.name, "champion": None, "reason": self.models.reason}
        manifest, bundle = serving.manifest, serving.champion.bundle
        champion = manifest.champion.model_dump(mode="json") | {
            "threshold": bundle.manifest.threshold,
            "trained_as_of": rfc3339(bundle.manifest.trained_as_of),
            "fingerprints": bundle.manifest.fingerprints,
            "metrics": bundle.manifest.metrics,
            "loaded_at": rfc3339(serving.loaded_at),
        }
        return {
            "use_case": self.use_case.name,
            "generation": manifest.generation,
            "champion": champion,
            "previous": manifest.previous and manifest.previous.model_dump(mode="json"),
            "challengers": [model.model_dump(mode="json") for model in manifest.challengers],
            "canary": manifest.canary and manifest.canary.model_dump(mode="json"),
            "refusal": self.models.refusal,
            "worker_pid": os.getpid(),
        }

    def loaded_versions(self) -> dict[str, str]:
        """Alias -> version, for ``model_info``."""
        serving = self.models.current
        if serving is None:
            return {}
        challengers = {f"challenger_{i}" if i else "challenger": m for i, m in enumerate(serving.manifest.challengers)}
        return {"champion": serving.champion.deployed.version} | {a: m.version for a, m in challengers.items()}

    def _open_store(self) -> OnlineFeatures:
        from shadow_platform.adapters.feature_store import FeastStore

        store = FeastStore(self.settings.layout, self.settings.feast_repo_path, self.use_case).online()
        store.read([{entity.join_key: entity.example for entity in self.use_case.entities}])
        calm_gc()
        return store

    def _look_after(self) -> None:
        parent, last_slow, last_retry = os.getppid(), 0.0, time.monotonic()
        while not self._stopped.wait(TICK_S):
            self.models.refresh()
            now = time.monotonic()
            if now - last_slow < SLOW_TICK_S:
                continue
            last_slow = now
            self._flush()
            if now - last_retry >= RETRY_S:
                last_retry = now
                self.models.retry()
                if self.online:
                    self.online.probe()
            if is_orphan(parent, generation=2):
                LOGGER.error("the supervising process is gone; this worker ends")
                end_arbiter()
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _flush(self) -> None:
        try:
            self.sink.sync()
        except LogError as error:
            LOGGER.error("%s", error)
        self.check_log()


def is_orphan(first_parent: int | None, generation: int) -> bool:
    """Whether the processes above this one are gone.

    Under a supervisor, it must still be the ancestor (1: parent, 2: grandparent); comparing parents alone misses one
    that died while this process was starting. Without one, ``first_parent`` must still be the parent (``None``: any).
    """
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return first_parent is not None and os.getppid() != first_parent
    ancestor = os.getppid()
    try:
        for _ in range(generation - 1):
            ancestor = psutil.Process(ancestor).ppid()
    except psutil.NoSuchProcess:
        return True
    return ancestor != int(supervisor)


def end_arbiter() -> None:
    """Ask BentoML's arbiter to end, if it is the parent; whoever adopts orphans is left alone."""
    try:
        parent = psutil.Process(os.getppid())
        if "bentoml" in parent.cmdline():
            parent.terminate()
    except psutil.Error:
        LOGGER.debug("the arbiter is gone")


def calm_gc() -> None:
    """Take what exists out of garbage collection, and collect rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
