"""Prometheus metrics of the shadow worker, written to the folder from which the service exposes them.

What they are stands in ``contracts.metrics``. prometheus_client chooses its multiprocess mode when it is imported,
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

from shadow_platform.contracts import metrics
from shadow_platform.contracts.metrics import AGREEMENT_WINDOW
from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.domain.shadow import CircuitState, error_kind, is_a_a

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CIRCUITS: dict[CircuitState, int] = {"closed": 0, "half_open": 1, "open": 2}
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class ShadowMetrics:
    """Counters and gauges of every challenger."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import Histogram

        from shadow_platform.adapters.exposition import counter as counter_of
        from shadow_platform.adapters.exposition import gauge as gauge_of
        from shadow_platform.adapters.exposition import histogram

        counter = partial(counter_of, registry=registry)
        gauge = partial(gauge_of, registry=registry)
        self._outcomes = counter(metrics.SHADOW_PREDICTIONS)
        self._dropped = counter(metrics.SHADOW_DROPPED)
        self._errors = counter(metrics.SHADOW_ERRORS)
        self._latency = histogram(metrics.SHADOW_LATENCY, Histogram, registry)
        self._lag = gauge(metrics.SHADOW_LAG)
        self._agreement = gauge(metrics.MODEL_AGREEMENT)
        self._circuit = gauge(metrics.SHADOW_CIRCUIT)
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
