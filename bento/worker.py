"""One serving worker: opens what it answers with, and looks after it beside the requests.

Belongs here: the life of a worker process (open, follow the manifest, flush the log, leave when its parents are gone).
Does not belong here: answering (``bento.answering.predictor``). Upstream: settings, use case. Downstream:
``bento.service``.
"""

import gc
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import psutil

from bento.answering.answer_store import AnswerStore
from bento.answering.failures import FailureLog
from bento.answering.features import RequestFeatures
from bento.answering.idempotency import AnswerCache, SharedAnswers
from bento.answering.metric_files import reserve_metric_files
from bento.answering.metrics import ServiceMetrics, exposition
from bento.answering.models import ModelWatcher
from bento.answering.monitoring import MonitoringView
from bento.answering.online import OnlineReader
from bento.answering.online_cache import OnlineCache
from bento.answering.predictor import Predictor, PredictorOptions
from bento.answering.request_spans import RequestSpans
from bento.answering.variants import VariantScorer
from bento.answering.worker_states import WorkerReport
from bento.explaining.explain import Explainer
from bento.orphan import is_orphan
from bento.shadowing.shadow_view import ShadowView
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.ports import OnlineFeatures
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform.settings import Settings
from shadow_platform.telemetry.spans import open_spans

LOGGER = logging.getLogger("shadow_platform.worker")

TICK_S = 0.2
SLOW_TICK_S = 1.0
RETRY_S = 5.0
STOP_TIMEOUT_S = 5.0
SWITCH_INTERVAL_S = 0.0005
"""Python lets a thread run for 5 ms before another's turn; a request must not wait so long for housekeeping."""
GC_THRESHOLDS = (100_000, 50, 100)
"""A full collection in a busy worker was the p99 (70 ms against 11): freeze what start-up made, collect rarely."""


class Worker:
    """What the routes answer from. ``start`` opens it; until then, and until a model is there, it is not ready."""

    def __init__(self, settings: Settings, use_case: UseCase) -> None:
        self.settings = settings
        self.use_case = use_case
        self._started_at = time.monotonic()
        layout = settings.layout
        sink = open_spans(settings, "service", use_case.name)
        self.spans = RequestSpans(sink, settings.otel_traces_sampler_arg, use_case.name) if sink else None
        self.models = ModelWatcher(layout, use_case.name, settings.canary_split)
        self.report = WorkerReport(layout, use_case.name, self.models)
        self.sink = FileLogSink(layout.log("predictions", use_case.name))
        self.metrics = ServiceMetrics()
        self.online = self._online_reader() if use_case.views else None
        self.contract = RequestContract(use_case)
        self.features = RequestFeatures(self.contract, self.online, self.metrics)
        failures = FileLogSink(layout.log("failures", use_case.name))
        self.failures = FailureLog(use_case.name, failures, self.metrics.count_unlogged_failure)
        store = AnswerStore(layout.idempotency(use_case.name))
        self.answers = SharedAnswers(store, self.metrics.count_answer_store_error)
        self.predictor = Predictor(
            use_case,
            self.models,
            self.sink,
            self.metrics,
            self.contract,
            self.features,
            PredictorOptions(settings.max_batch_size, settings.environment != "production"),
            self.failures,
            AnswerCache(self.answers),
            VariantScorer(),
        )
        is_as_of_allowed = settings.environment != "production"
        self.explainer = Explainer(
            self.models, self.contract, self.features, settings.explain_timeout_ms, is_as_of_allowed
        )
        self.shadow = ShadowView(layout, use_case)
        self.monitoring = MonitoringView(layout, use_case)
        self._log_problem: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Load the champion if there is one, then follow the manifest."""
        self._follow()
        self.report.clean()
        self.report.write()
        self.check_log()
        reserve_metric_files()
        calm_gc()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()

    def stop(self) -> None:
        """Flush the logs, end the threads, and take the sign of life away."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        self.metrics.flush()
        self.report.withdraw()
        self.explainer.stop()
        self.answers.close()
        if self.online:
            self.online.close()
        if self.spans:
            self.spans.close()
        for log in (self.failures, self.sink):
            try:
                log.close()
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

    def exposition(self) -> bytes:
        """Prometheus text over all processes of the service."""
        self.metrics.flush()
        return exposition(self.report.in_service(), self.settings.layout.home)

    def _online_reader(self) -> OnlineReader:
        settings, metrics = self.settings, self.metrics
        cache = None
        if settings.online_cache_seconds > 0:
            cache = OnlineCache(settings.online_cache_seconds, metrics.count_cached)
        return OnlineReader(self._open_store, settings.online_timeout_ms / 1000.0, cache, metrics.observe_lookup)

    def _open_store(self) -> OnlineFeatures:
        from shadow_platform.adapters.feature_store import FeastStore

        settings = self.settings
        store = FeastStore(settings.layout, settings.feast_repo_path, self.use_case, settings.stores).online()
        store.read([{entity.join_key: entity.example for entity in self.use_case.entities}])
        calm_gc()
        return store

    def _look_after(self) -> None:
        parent = os.getppid()
        work = {self._each_tick: 0.0, self._each_second: SLOW_TICK_S, self._each_retry: RETRY_S}
        due_at = dict.fromkeys(work, time.monotonic())
        while not self._stopped.wait(TICK_S):
            for step in [step for step, at in due_at.items() if time.monotonic() >= at]:
                try:
                    step()
                except Exception:
                    LOGGER.exception("housekeeping goes on")
                due_at[step] = time.monotonic() + work[step]
            if is_orphan(parent, generation=2):
                LOGGER.error("the supervising process is gone; this worker ends")
                end_arbiter()
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _each_tick(self) -> None:
        self._follow()
        self.failures.flush()
        self.metrics.flush()

    def _each_second(self) -> None:
        self.report.write()
        self._flush()

    def _each_retry(self) -> None:
        self.models.retry()
        self.report.clean()
        self.answers.prune()
        if self.online:
            self.online.probe()

    def _follow(self) -> None:
        refusal = self.models.refusal
        if self.models.refresh():
            self.metrics.count_swap()
        elif self.models.refusal == refusal:
            return
        self.report.write()

    def _flush(self) -> None:
        try:
            self.sink.sync()
        except LogError as error:
            LOGGER.error("%s", error)
        self.check_log()
        reserve_metric_files()


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
