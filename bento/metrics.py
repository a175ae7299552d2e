"""Prometheus metrics of the service, and the exposition over all its processes and the shadow worker's.

Names and labels are part of the HTTP contract. prometheus_client chooses its multiprocess mode when it is imported,
hence the import inside. Upstream: predictor. Downstream: ``GET /metrics``.
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LATENCY_BUCKETS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
WRITE_BUCKETS_MS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20, 100, 500)


class ServiceMetrics:
    """Counters of one worker; children are kept, because looking labels up costs more than counting."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import REGISTRY, Counter, Histogram

        counter = partial(Counter, registry=registry or REGISTRY)
        histogram = partial(Histogram, registry=registry or REGISTRY)
        self._predictions = counter("predictions", "answered requests", ["model_variant", "risk_category"])
        latency = histogram(
            "prediction_latency_ms",
            "parsed request to log append, milliseconds",
            ["model_variant"],
            buckets=LATENCY_BUCKETS_MS,
        )
        self._errors = counter("prediction_errors", "requests not answered, by problem", ["reason"])
        self._missing = counter("feature_missing", "features imputed, by view", ["feature_view"])
        self._store_errors = counter("online_store_errors", "lookups that failed or took too long")
        self.observe_write = histogram(
            "log_write_latency_ms", "append to the prediction log, milliseconds", buckets=WRITE_BUCKETS_MS
        ).observe
        self.count_store_error = self._store_errors.inc
        self._latency = latency
        self._children: dict[tuple[str, str], Any] = {}

    def count_prediction(self, variant: str, risk_category: str, latency_ms: float) -> None:
        """One answer."""
        key = (variant, risk_category)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = (
                self._predictions.labels(variant, risk_category).inc,
                self._latency.labels(variant).observe,
            )
        child[0]()
        child[1](latency_ms)

    def count_error(self, reason: str) -> None:
        """One request that got a problem document."""
        self._errors.labels(reason).inc()

    def count_missing(self, missing: dict[str, int]) -> None:
        """Features imputed in one answer, by view."""
        for view, n in missing.items():
            child = self._children.get(("", view))
            if child is None:
                child = self._children["", view] = self._missing.labels(view).inc
            child(n)


def exposition(models: dict[str, str]) -> bytes:
    """Prometheus text over all processes, with ``model_info`` of what this worker has loaded (alias -> version)."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Loaded(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            info = GaugeMetricFamily("model_info", "versions in service", labels=["version", "alias"])
            for alias, version in models.items():
                info.add_metric([version, alias], 1)
            return [info]

    registry = CollectorRegistry()
    registry.register(Loaded())
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(registry)
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
