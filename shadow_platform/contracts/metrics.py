"""The one catalogue of Prometheus metrics: name, kind, labels, unit, meaning, and the process that exposes each.

Belongs here: what a metric is. Does not belong here: counting (whoever exposes it), thresholds on it (alert rules).
Upstream: nothing. Downstream: the processes that expose metrics, the documentation, rules and dashboards; tests compare
each of them with this. A counter's name ends in ``_total``, a gauge's never.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Exposer = Literal["service", "shadow worker", "exporter", "stream consumer", "log transport"]
Unit = Literal["ms", "s", "bytes", "unix s", "share", "0 or 1", "nats", "", "count"]

JOBS: dict[Exposer, str] = {
    "service": "shadow-service",
    "shadow worker": "shadow-service",
    "exporter": "shadow-exporter",
    "stream consumer": "shadow-stream",
    "log transport": "shadow-log",
}
"""Prometheus job that scrapes an exposer. The shadow worker's metrics come with those of the service beside it; where
it runs alone, its job is ``shadow-worker``."""
UNITS: dict[Unit, str] = {
    "ms": "milliseconds",
    "s": "seconds",
    "bytes": "bytes",
    "unix s": "seconds since 1970",
    "share": "share from 0 to 1",
    "0 or 1": "1 if so, else 0",
    "nats": "nats",
    "count": "",
    "": "",
}
"""What each unit adds to the meaning."""

LATENCY_BUCKETS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
WRITE_BUCKETS_MS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 20, 100, 500)
SCORING_BUCKETS_MS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20, 100, 500, 2000)
AGREEMENT_WINDOW = 1000
"""Latest compared predictions that ``model_agreement_rate`` is the mean of."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus knows it.
        labels: in order.
        unit: of the value; empty where it only says that something is so.
        buckets: upper bounds of a histogram's buckets, in its unit.
    """

    name: str
    kind: Kind
    unit: Unit
    exposer: Exposer
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its time series, as a query says them.

        >>> Metric("latency_ms", "histogram", "ms", "service", "time").series
        ('latency_ms_bucket', 'latency_ms_count', 'latency_ms_sum')
        """
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))

    @property
    def described(self) -> str:
        """Meaning with the unit, as the exposition says it.

        >>> Metric("lag_seconds", "gauge", "s", "exporter", "age of the oldest").described
        'age of the oldest, seconds'
        """
        return f"{self.help}, {words}" if (words := UNITS[self.unit]) else self.help

    @property
    def job(self) -> str:
        """Prometheus job that scrapes it."""
        return JOBS[self.exposer]


def _counter(exposer: Exposer, name: str, text: str, *labels: str, unit: Unit = "count") -> Metric:
    return Metric(name, "counter", unit, exposer, text, labels)


def _gauge(exposer: Exposer, name: str, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", unit, exposer, text, labels)


def _histogram(exposer: Exposer, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, "histogram", "ms", exposer, text, labels, buckets)


PREDICTIONS = _counter("service", "predictions_total", "answered requests", "model_variant", "risk_category")
PREDICTION_LATENCY = _histogram(
    "service", "prediction_latency_ms", "parsed request to log append", LATENCY_BUCKETS_MS, "model_variant"
)
PREDICTION_ERRORS = _counter("service", "prediction_errors_total", "requests not answered, by problem", "reason")
EXPLORED = _counter("service", "explored_total", "positive predictions that were not carried out", "model_variant")
FEATURE_MISSING = _counter(
    "service", "feature_missing_total", "features imputed, by view or derivation", "feature_view"
)
DERIVATION_FAILURES = _counter(
    "service", "derivation_failures_total", "requests that a derivation failed for", "derivation"
)
ONLINE_STORE_ERRORS = _counter(
    "service", "online_store_errors_total", "requests and batches without online features", "reason"
)
ONLINE_STORE_LATENCY = _histogram(
    "service", "online_store_latency_ms", "one lookup for all requests that wait together", LATENCY_BUCKETS_MS
)
ONLINE_CACHE_READS = _counter(
    "service", "online_cache_reads_total", "entities asked of the online cache: hit or miss", "outcome"
)
LOG_WRITE_LATENCY = _histogram("service", "log_write_latency_ms", "append to the prediction log", WRITE_BUCKETS_MS)
CANARY_FALLBACKS = _counter(
    "service", "canary_fallbacks_total", "champion's answers in place of those of a canary that failed"
)
MODEL_SWAPS = _counter("service", "model_swaps_total", "manifests that a worker put into service")
FAILURES_UNLOGGED = _counter("service", "failures_unlogged_total", "failed requests without a line in their log")
IDEMPOTENCY_STORE_ERRORS = _counter(
    "service", "idempotency_store_errors_total", "keyed answers made without the store of keyed answers"
)
MODEL_INFO = _gauge(
    "service", "model_info", "", "versions that live workers have in service, by role", "version", "alias"
)
MODEL_REFUSED = _gauge(
    "service", "model_refused", "count", "workers that refused the newest manifest, or the canary in it"
)
LOG_DISK_FREE = _gauge(
    "service", "log_disk_free_bytes", "bytes", "free for the service where it writes its logs", "path"
)
LOG_DISK_SIZE = _gauge("service", "log_disk_size_bytes", "bytes", "size of the device of the service's logs", "path")

SHADOW_PREDICTIONS = _counter(
    "shadow worker",
    "shadow_predictions_total",
    "predictions sent to a challenger: compared, failed or dropped",
    *("challenger", "outcome"),
)
SHADOW_DROPPED = _counter(
    "shadow worker", "shadow_dropped_total", "predictions a challenger was spared, by reason", "challenger", "reason"
)
SHADOW_ERRORS = _counter(
    "shadow worker", "shadow_errors_total", "predictions a challenger failed on, by kind", "challenger", "kind"
)
SHADOW_LATENCY = _histogram(
    "shadow worker",
    "shadow_latency_ms",
    "a prediction's share of its micro-batch's scoring time",
    SCORING_BUCKETS_MS,
    "challenger",
)
SHADOW_LAG = _gauge(
    "shadow worker", "shadow_lag_seconds", "s", "age of the oldest prediction not yet compared", "challenger"
)
MODEL_AGREEMENT = _gauge(
    "shadow worker",
    "model_agreement_rate",
    "share",
    f"equal decisions among the last {AGREEMENT_WINDOW} compared",
    "challenger",
)
SHADOW_CIRCUIT = _gauge("shadow worker", "shadow_circuit_state", "count", "0 closed, 1 half-open, 2 open", "challenger")

DRIFT_SCORE = _gauge(
    *("exporter", "drift_score", "share", "features that drifted, in the newest verdict that measured it"),
    *("use_case", "scope"),
)
DRIFT_FAILING = _gauge(
    *("exporter", "drift_failing", "0 or 1", "whether the newest verdict of drift that could tell is a failure"),
    *("use_case", "scope"),
)
DRIFT_INSUFFICIENT = _gauge(
    *("exporter", "drift_insufficient", "0 or 1", "whether the newest verdict of drift could not tell"),
    *("use_case", "scope"),
)
DRIFT_EVALUATED = _gauge(
    *("exporter", "drift_last_evaluation_timestamp_seconds", "unix s", "time of the newest verdict of drift"),
    *("use_case", "scope"),
)
PERFORMANCE_FAILING = _gauge(
    "exporter",
    "performance_failing",
    "0 or 1",
    "whether the newest verdict on the champion's performance that could tell is a failure",
    "use_case",
)
GATE_DECISIONS = _gauge(
    *(
        "exporter",
        "gate_decisions",
        "count",
        "decisions of the gate so far: promote, wait, reject; rollback of a watch",
    ),
    *("use_case", "outcome"),
)
GATE_LAST_DECISION = _gauge(
    "exporter", "gate_last_decision_timestamp_seconds", "unix s", "time of the gate's newest decision", "use_case"
)
MODEL_TRANSITIONS = _gauge(
    "exporter",
    "model_transitions",
    "count",
    "changes of the deployment so far: first, promotion, rollback, canary_start, _share, _stop or challengers",
    *("use_case", "kind"),
)
LABELS_BEHIND = _gauge(
    "exporter",
    "labels_behind_seconds",
    "s",
    "time between the newest answered request whose label is due and the newest request that has one",
    "use_case",
)
CHAMPION_LOG_LOSS = _gauge(
    "exporter", "champion_log_loss", "nats", "mean log loss of the champion, newest day with labels", "use_case"
)
MODEL_LOG_LOSS = _gauge(
    "exporter",
    "model_log_loss",
    "nats",
    "mean log loss of a version, newest day with labels on which it answered or scored",
    *("use_case", "role", "version"),
)
DAGSTER_RUNS = _gauge("exporter", "dagster_runs", "count", "runs in Dagster's storage, by state", "job", "status")
DAGSTER_LAST_SUCCESS = _gauge(
    "exporter", "dagster_last_success_timestamp_seconds", "unix s", "end of a job's newest successful run", "job"
)
DAGSTER_HEARTBEAT = _gauge(
    *("exporter", "dagster_daemon_heartbeat_timestamp_seconds", "unix s", "last sign of life of a daemon's part"),
    "daemon",
)
SENSOR_LAST_TICK = _gauge(
    "exporter", "sensor_last_tick_timestamp_seconds", "unix s", "newest finished tick of a running sensor", "sensor"
)
SENSOR_LAST_TICK_FAILED = _gauge("exporter", "sensor_last_tick_failed", "0 or 1", "whether that tick failed", "sensor")
DISK_FREE = _gauge("exporter", "disk_free_bytes", "bytes", "free for the platform on the device of a folder", "path")
DISK_SIZE = _gauge("exporter", "disk_size_bytes", "bytes", "size of the device of a folder", "path")
WAREHOUSE_AGE = _gauge("exporter", "warehouse_age_seconds", "s", "time since warehouse.duckdb was published")
COLLECT_FAILURES = _counter(
    "exporter", "exporter_collect_failures_total", "readings of a source that failed or took too long", "source"
)
COLLECT_DURATION = _gauge(
    "exporter", "exporter_collect_duration_seconds", "s", "duration of the newest reading of a source", "source"
)

STREAM_MESSAGES = _counter(
    "stream consumer", "shadow_stream_messages_total", "messages taken: valid or dead", "use_case", "outcome"
)
STREAM_ROWS = _counter("stream consumer", "shadow_stream_rows_total", "feature rows written online", "use_case", "view")
STREAM_FAILURES = _counter(
    "stream consumer", "shadow_stream_failures_total", "ticks in which the online store failed", "use_case"
)
STREAM_LAG = _gauge(
    "stream consumer",
    "shadow_stream_lag_messages",
    "count",
    "messages that this consumer has still to take",
    "use_case",
)

LOG_RELAY_LAG = _gauge(
    "log transport", "log_relay_lag_bytes", "bytes", "complete lines of this home not yet published", "log", "use_case"
)
LOG_RELAYED = _counter("log transport", "log_relayed_lines_total", "lines published to a topic", "log", "use_case")
LOG_LANDED = _counter("log transport", "log_landed_lines_total", "lines appended to this home", "log", "use_case")
LOG_LAND_LAG = _gauge(
    "log transport",
    "log_land_lag_messages",
    "count",
    "messages in topics that have not landed in this home",
    "use_case",
)
LOG_TRANSPORT_ERRORS = _counter(
    "log transport", "log_transport_errors_total", "failures of the broker or the disk: relay or land", "direction"
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order above."""


def exposed_by(*exposers: Exposer) -> tuple[Metric, ...]:
    """Metrics of some processes, in the catalogue's order."""
    return tuple(metric for metric in METRICS if metric.exposer in exposers)


def by_series(metrics: Iterable[Metric] = METRICS) -> dict[str, Metric]:
    """Every name that a query may use, with its metric."""
    return {name: metric for metric in metrics for name in metric.series}
