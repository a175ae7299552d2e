"""Prometheus metrics of the service, and the exposition over all its processes and the shadow worker's.

What they are stands in ``contracts.metrics``. prometheus_client chooses its multiprocess mode when it is imported,
hence the import inside. Upstream: predictor. Downstream: ``GET /metrics``.
"""

import os
import shutil
import threading
from collections import Counter as Tally
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bento.answering.metric_files import FOLDER_VARIABLE
from bento.answering.worker_states import ModelsInService
from shadow_platform.contracts import metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client import Metric as Family

MAX_NOTED = 200_000
"""Answers noted and not counted yet; a worker that cannot count for this long loses the oldest."""


class ServiceMetrics:
    """Counters of one worker. Answers are noted when they are given, and counted together by ``flush``."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from bento.answering.tally import TalliedHistogram
        from shadow_platform.adapters.exposition import counter as counter_of
        from shadow_platform.adapters.exposition import histogram as histogram_of

        counter = partial(counter_of, registry=registry)
        histogram = partial(histogram_of, kind=TalliedHistogram, registry=registry)
        self._predictions = counter(metrics.PREDICTIONS)
        self._latency = histogram(metrics.PREDICTION_LATENCY)
        self._errors = counter(metrics.PREDICTION_ERRORS)
        self._explored = counter(metrics.EXPLORED)
        self._missing = counter(metrics.FEATURE_MISSING)
        self._derivation_failures = counter(metrics.DERIVATION_FAILURES)
        self._store_errors = counter(metrics.ONLINE_STORE_ERRORS)
        self.observe_lookup = histogram(metrics.ONLINE_STORE_LATENCY).observe
        self._cache_reads = counter(metrics.ONLINE_CACHE_READS)
        self._write_latency = histogram(metrics.LOG_WRITE_LATENCY)
        self.count_fallback = counter(metrics.CANARY_FALLBACKS).inc
        self.count_swap = counter(metrics.MODEL_SWAPS).inc
        self.count_unlogged_failure = counter(metrics.FAILURES_UNLOGGED).inc
        self.count_answer_store_error = counter(metrics.IDEMPOTENCY_STORE_ERRORS).inc
        self._children: dict[str, Any] = {}
        self._answers: deque[tuple[str, str, float]] = deque(maxlen=MAX_NOTED)
        self._writes: deque[float] = deque(maxlen=MAX_NOTED)
        self._flushing = threading.Lock()
        self.observe_write = self._writes.append

    def count_prediction(self, variant: str, risk_category: str, latency_ms: float) -> None:
        """One answer."""
        self._answers.append((variant, risk_category, latency_ms))

    def flush(self) -> None:
        """Count what was noted since the last call."""
        with self._flushing:
            answers = [self._answers.popleft() for _ in range(len(self._answers))]
            writes = [self._writes.popleft() for _ in range(len(self._writes))]
        for (variant, category), n in Tally((variant, category) for variant, category, _ in answers).items():
            self._predictions.labels(variant, category).inc(n)
        for variant in {variant for variant, _, _ in answers}:
            self._latency.labels(variant).observe_all([ms for v, _, ms in answers if v == variant])
        self._write_latency.observe_all(writes)

    def count_error(self, reason: str) -> None:
        """One request that got a problem document."""
        self._errors.labels(reason).inc()

    def count_store_error(self, reason: str) -> None:
        """One request or batch that the online store gave nothing in time."""
        self._store_errors.labels(reason).inc()

    def count_cached(self, n_hits: int, n_misses: int) -> None:
        """Entities of one lookup that were in the cache, and that were not."""
        for outcome, n in (("hit", n_hits), ("miss", n_misses)):
            if n:
                self._cache_reads.labels(outcome).inc(n)

    def count_explored(self, variant: str) -> None:
        """One positive prediction whose caller was told the negative action."""
        self._explored.labels(variant).inc()

    def count_derivation_failure(self, derivation: str) -> None:
        """One request whose features the derivation could not compute."""
        self._derivation_failures.labels(derivation).inc()

    def count_missing(self, missing: dict[str, int]) -> None:
        """Features imputed in one answer, by view or derivation."""
        for view, n in missing.items():
            child = self._children.get(view)
            if child is None:
                child = self._children[view] = self._missing.labels(view).inc
            child(n)


def exposition(models: ModelsInService, home: Path) -> bytes:
    """Prometheus text over all processes, with what the live workers have loaded and the room for their logs.

    Args:
        home: folder that the service writes its logs in.
    """
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    from shadow_platform.adapters.exposition import SharedCounts, family_of

    def gauge(metric: metrics.Metric, values: Mapping[tuple[str, ...], float]) -> "Family":
        family = family_of(metric)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family

    class Found(Collector):
        def collect(self) -> "list[Family]":
            loaded = [
                gauge(metrics.MODEL_INFO, dict.fromkeys(sorted(models.versions), 1)),
                gauge(metrics.MODEL_REFUSED, {(): models.n_refusing}),
            ]
            try:
                disk = shutil.disk_usage(home)
            except OSError:
                return loaded
            room = ((metrics.LOG_DISK_FREE, disk.free), (metrics.LOG_DISK_SIZE, disk.total))
            return [*loaded, *(gauge(metric, {(str(home),): n_bytes}) for metric, n_bytes in room)]

    registry = CollectorRegistry()
    registry.register(Found())
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return generate_latest(REGISTRY) + generate_latest(registry)
    registry.register(SharedCounts(Path(folder)))
    return generate_latest(registry)
