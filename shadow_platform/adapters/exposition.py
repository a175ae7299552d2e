"""Prometheus: metrics made from the catalogue, and served for processes that are no HTTP service.

Belongs here: prometheus_client. Does not belong here: what a metric is (``contracts.metrics``), counting. Upstream: the
catalogue. Downstream: service, shadow worker, exporter, stream consumer, log transport.

prometheus_client decides when it is imported whether its values lie in files that processes share: by the variable
``PROMETHEUS_MULTIPROC_DIR``, which BentoML sets. What runs below BentoML imports this module after that.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    multiprocess,
    start_http_server,
)
from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.metrics import Kind, Metric

LOGGER = logging.getLogger("shadow_platform.metrics")

AnyHistogram = TypeVar("AnyHistogram", bound=Histogram)

# A second series beside each counter, which says when its process began: nothing asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]


def counter(metric: Metric, registry: CollectorRegistry | None = None) -> Counter:
    """The counter that the catalogue describes."""
    _require(metric, "counter")
    return Counter(metric.name, metric.described, metric.labels, registry=registry or REGISTRY)


def gauge(metric: Metric, registry: CollectorRegistry | None = None) -> Gauge:
    """The gauge that the catalogue describes; of several processes, the newest value of one that lives counts."""
    _require(metric, "gauge")
    return Gauge(
        metric.name,
        metric.described,
        metric.labels,
        registry=registry or REGISTRY,
        multiprocess_mode="livemostrecent",
    )


def histogram(metric: Metric, kind: type[AnyHistogram], registry: CollectorRegistry | None = None) -> AnyHistogram:
    """The histogram that the catalogue describes, as an instance of a class."""
    _require(metric, "histogram")
    return kind(metric.name, metric.described, metric.labels, buckets=metric.buckets, registry=registry or REGISTRY)


def family_of(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    """The gauge or counter that the catalogue describes, for values that are found when they are asked for."""
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.described, labels=metric.labels)


class SharedCounts(Collector):
    """What the processes that share a folder of metrics have counted together.

    A process that starts makes its file first and gives it its size then. prometheus_client's own collector fails on a
    file that has none yet, and a scrape that fails says that the service is down. A gauge tells how a process is: that
    of one which died would stay at its last value, and be taken for good news.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Family]:
        """Every metric, over all processes."""
        files = [str(path) for path in self._folder.glob("*.db") if _size_of(path) and not _is_of_the_dead(path)]
        merged: Iterable[Family] = multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def shared_registry(folder: Path) -> CollectorRegistry:
    """A registry with what the processes that share a folder of metrics have counted together."""
    registry = CollectorRegistry()
    registry.register(SharedCounts(folder))
    return registry


@contextmanager
def metrics_served(port: int | None, host: str, registry: CollectorRegistry | None = None) -> Iterator[None]:
    """Serve ``GET /metrics`` as long as the context lasts; with no port, do nothing.

    Raises:
        SettingsError: the port cannot be used.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry or REGISTRY)
    except OSError as error:
        raise SettingsError(
            f"metrics cannot be served on {host} port {port} ({error.strerror or error}); stop what listens there, or "
            "give another METRICS_PORT"
        ) from error
    LOGGER.info("metrics at http://%s:%d/metrics", host, port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _is_of_the_dead(path: Path) -> bool:
    """Whether a file holds gauges of a process that is gone."""
    pid = path.stem.rpartition("_")[2]
    return path.name.startswith("gauge_live") and pid.isdecimal() and not psutil.pid_exists(int(pid))


def _size_of(path: Path) -> int:
    """Size of a file; 0 when the process that it was of is known to be dead, and it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _require(metric: Metric, kind: Kind) -> None:
    if metric.kind != kind:
        raise TypeError(f"{metric.name} is a {metric.kind}, not a {kind}; see contracts.metrics")
