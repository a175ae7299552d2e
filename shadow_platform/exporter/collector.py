"""What Prometheus collects: the samples of every source that can be read, one scrape at a time.

Belongs here: when is read, and what a scrape waits for. Does not belong here: what is read. Upstream: lanes of readers.
Downstream: ``adapters.exposition``.
"""

import threading
import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shadow_platform.adapters.exposition import family_of
from shadow_platform.contracts import metrics
from shadow_platform.contracts.metrics import Metric
from shadow_platform.exporter.readings import Lane, Sample

SCRAPE_S = 8.0
"""Longest wait of a scrape; Prometheus gives up after ten seconds."""


class PlatformCollector(Collector):
    """Collects from lanes; scrapes that come at once are answered one after the other, the second from memory."""

    def __init__(self, lanes: Sequence[Lane], scrape_s: float = SCRAPE_S) -> None:
        self._lanes, self._scrape_s = lanes, scrape_s
        self._one_at_a_time = threading.Lock()

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """Every metric of the exporter that has a sample."""
        with self._one_at_a_time:
            deadline = time.monotonic() + self._scrape_s
            for lane in self._lanes:
                lane.start()
            for lane in self._lanes:
                lane.wait(deadline)
            samples = [sample for lane in self._lanes for sample in (*lane.samples, *_about(lane))]
        return _families(samples)

    def describe(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """Nothing is read when the collector is registered."""
        return [family_of(metric) for metric in metrics.exposed_by("exporter")]


def exporter_registry(lanes: Sequence[Lane]) -> CollectorRegistry:
    """A registry with the platform's metrics alone."""
    registry = CollectorRegistry()
    registry.register(PlatformCollector(lanes))
    return registry


def _about(lane: Lane) -> Iterable[Sample]:
    for source in dict.fromkeys(reader.source for reader in lane.readers):
        yield Sample(metrics.COLLECT_FAILURES, lane.failures[source], (source,))
        if source in lane.durations:
            yield Sample(metrics.COLLECT_DURATION, lane.durations[source], (source,))


def _families(samples: Iterable[Sample]) -> list[GaugeMetricFamily | CounterMetricFamily]:
    families: dict[Metric, GaugeMetricFamily | CounterMetricFamily] = {}
    for sample in samples:
        family = families.setdefault(sample.metric, family_of(sample.metric))
        family.add_metric(sample.labels, sample.value)
    return list(families.values())
