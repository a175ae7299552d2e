"""Prometheus metrics of the shadow worker, written to the folder from which the service exposes them.

Names and labels are part of the HTTP contract. prometheus_client chooses its multiprocess mode when it is imported,
hence the import inside. Upstream: shadow worker. Downstream: ``bento.metrics.exposition``.
"""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class ShadowMetrics:
    """Counters of the shadow worker."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge

        counter = partial(Counter, registry=registry or REGISTRY)
        gauge = partial(Gauge, registry=registry or REGISTRY)
        self._outcomes = counter("shadow_predictions", "predictions sent to a challenger", ["challenger", "outcome"])
        self._lag = gauge(
            "shadow_lag_seconds",
            "age of the last prediction when it was compared",
            ["challenger"],
            multiprocess_mode="mostrecent",
        )

    def count(self, challenger: str, outcome: str, n: int) -> None:
        """Records appended."""
        self._outcomes.labels(challenger, outcome).inc(n)

    def lag(self, challenger: str, seconds: float) -> None:
        """Lag after a batch, or zero when nothing waits."""
        self._lag.labels(challenger).set(seconds)
