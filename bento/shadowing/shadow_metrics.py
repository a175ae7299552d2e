"""Prometheus metrics of the shadow worker, written to the folder from which the service exposes them.

Names and labels are part of the HTTP contract. prometheus_client chooses its multiprocess mode when it is imported,
hence the import inside. Upstream: lanes. Downstream: ``bento.answering.metrics.exposition``.
"""

import math
import os
from collections import Counter as Count
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.domain.shadow import CircuitState, error_kind, is_a_a

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LATENCY_BUCKETS_MS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20, 100, 500, 2000)
AGREEMENT_WINDOW = 1000
"""Latest compared predictions that ``model_agreement_rate`` is the mean of."""
CIRCUITS: dict[CircuitState, int] = {"closed": 0, "half_open": 1, "open": 2}
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class ShadowMetrics:
    """Counters and gauges of every challenger."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        counter = partial(Counter, registry=registry or REGISTRY)
        gauge = partial(Gauge, registry=registry or REGISTRY, multiprocess_mode="livemostrecent")
        self._outcomes = counter("shadow_predictions", "predictions sent to a challenger", ["challenger", "outcome"])
        self._dropped = counter("shadow_dropped", "predictions not scored, by reason", ["challenger", "reason"])
        self._errors = counter("shadow_errors", "predictions a challenger failed on, by kind", ["challenger", "kind"])
        self._latency = Histogram(
            "shadow_latency_ms",
            "a prediction's share of its micro-batch's scoring time, milliseconds",
            ["challenger"],
            buckets=LATENCY_BUCKETS_MS,
            registry=registry or REGISTRY,
        )
        self._lag = gauge("shadow_lag_seconds", "age of the oldest prediction not yet compared", ["challenger"])
        self._agreement = gauge(
            "model_agreement_rate", f"share of equal decisions, last {AGREEMENT_WINDOW} compared", ["challenger"]
        )
        self._circuit = gauge("shadow_circuit_state", "0 closed, 1 half-open, 2 open", ["challenger"])
        self._matches: dict[str, deque[bool]] = {}

    def count(self, records: Sequence[ShadowRecord]) -> None:
        """Records of one challenger that were appended."""
        challenger = records[0].challenger.model_version
        for outcome, n in Count(record.outcome for record in records).items():
            self._outcomes.labels(challenger, outcome).inc(n)
        for reason, n in Count(r.drop_reason for r in records if r.drop_reason).items():
            self._dropped.labels(challenger, reason).inc(n)
        for kind, n in Count(error_kind(r.challenger.error) for r in records if r.challenger.error).items():
            self._errors.labels(challenger, kind).inc(n)
        observe = self._latency.labels(challenger).observe
        for record in records:
            if record.challenger.latency_ms is not None:
                observe(record.challenger.latency_ms)
        matches = self._matches.setdefault(challenger, deque(maxlen=AGREEMENT_WINDOW))
        matches.extend(bool(r.prediction_match) for r in records if r.outcome == "compared" and not is_a_a(r))
        if matches:
            self._agreement.labels(challenger).set(sum(matches) / len(matches))

    def state(self, challenger: str, lag_s: float, circuit: CircuitState) -> None:
        """How a lane is right now."""
        self._lag.labels(challenger).set(lag_s)
        self._circuit.labels(challenger).set(CIRCUITS[circuit])

    def forget(self, challenger: str) -> None:
        """The challenger left the shadow: its gauges say nothing any more, its counters stand."""
        self._matches.pop(challenger, None)
        for gauge in (self._lag, self._agreement, self._circuit):
            gauge.labels(challenger).set(math.nan)


def forget_dead_processes() -> None:
    """Remove the live gauges of processes that are gone; what they counted stays."""
    if DIRECTORY_VARIABLE not in os.environ:
        return
    from prometheus_client import multiprocess

    for path in Path(os.environ[DIRECTORY_VARIABLE]).glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            multiprocess.mark_process_dead(int(pid))  # type: ignore[no-untyped-call]
