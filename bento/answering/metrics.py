"""Prometheus metrics of the service, and the exposition over all its processes and the shadow worker's.

Names and labels are part of the HTTP contract. prometheus_client chooses its multiprocess mode when it is imported,
hence the import inside. Upstream: predictor. Downstream: ``GET /metrics``.
"""

import os
import threading
from collections import Counter as Tally
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from bento.answering.worker_states import ModelsInService

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LATENCY_BUCKETS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MAX_NOTED = 200_000
"""Answers noted and not counted yet; a worker that cannot count for this long loses the oldest."""
WRITE_BUCKETS_MS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20, 100, 500)


class ServiceMetrics:
    """Counters of one worker. Answers are noted when they are given, and counted together by ``flush``."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import REGISTRY, Counter

        from bento.answering.tally import TalliedHistogram

        counter = partial(Counter, registry=registry or REGISTRY)
        histogram = partial(TalliedHistogram, registry=registry or REGISTRY)
        self._predictions = counter("predictions", "answered requests", ["model_variant", "risk_category"])
        self._latency = histogram(
            "prediction_latency_ms",
            "parsed request to log append, milliseconds",
            ["model_variant"],
            buckets=LATENCY_BUCKETS_MS,
        )
        self._errors = counter("prediction_errors", "requests not answered, by problem", ["reason"])
        self._explored = counter("explored", "positive predictions that were not carried out", ["model_variant"])
        self._missing = counter("feature_missing", "features imputed, by view or derivation", ["feature_view"])
        self._derivation_failures = counter("derivation_failures", "requests that one failed for", ["derivation"])
        self._store_errors = counter("online_store_errors", "requests and batches without online features", ["reason"])
        self.observe_lookup = histogram(
            "online_store_latency_ms",
            "one lookup for all requests that wait together, milliseconds",
            buckets=LATENCY_BUCKETS_MS,
        ).observe
        self._cache_reads = counter("online_cache_reads", "entities asked of the online cache", ["outcome"])
        self._write_latency = histogram(
            "log_write_latency_ms", "append to the prediction log, milliseconds", buckets=WRITE_BUCKETS_MS
        )
        self.count_fallback = counter("canary_fallbacks", "champion's answers in place of a failed canary's").inc
        self.count_swap = counter("model_swaps", "manifests put into service").inc
        self.count_unlogged_failure = counter("failures_unlogged", "failures without a line in their log").inc
        self.count_answer_store_error = counter("idempotency_store_errors", "keyed answers made without the store").inc
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


def exposition(models: ModelsInService) -> bytes:
    """Prometheus text over all processes, with what the live workers have loaded."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Loaded(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            info = GaugeMetricFamily("model_info", "versions in service", labels=["version", "alias"])
            for version, alias in sorted(models.versions):
                info.add_metric([version, alias], 1)
            refused = GaugeMetricFamily("model_refused", "workers that refused the newest manifest, or its canary")
            refused.add_metric([], models.n_refusing)
            return [info, refused]

    registry = CollectorRegistry()
    registry.register(Loaded())
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(registry)
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
