"""The catalogue of metrics: names follow Prometheus' rules, and nothing that was promised is missing."""

import re

import pytest

from shadow_platform.contracts.metrics import JOBS, METRICS, UNITS, Metric, by_series, exposed_by

PROMISED = {
    "shadow_predictions_total": ("challenger", "outcome"),
    "prediction_latency_ms": ("model_variant",),
    "predictions_total": ("model_variant", "risk_category"),
    "prediction_errors_total": ("reason",),
    "model_agreement_rate": ("challenger",),
    "drift_score": ("use_case", "scope"),
    "shadow_lag_seconds": ("challenger",),
    "feature_missing_total": ("feature_view",),
    "online_store_latency_ms": (),
    "log_write_latency_ms": (),
    "model_info": ("version", "alias"),
}
RESERVED = {"job", "instance", "le", "quantile"}
"""Labels that Prometheus sets itself; ``job`` of Dagster's runs stands for a Dagster job, and is scraped as it is."""
UNIT_OF_NAME = {"_ms": "ms", "_seconds": "s", "_bytes": "bytes", "_timestamp_seconds": "unix s"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_says_kind_and_unit(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    told = [unit for end, unit in UNIT_OF_NAME.items() if metric.name.endswith(end)]
    assert not told or metric.unit == told[-1]
    assert metric.unit in UNITS
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    reserved = RESERVED - {"job"} if metric.exposer == "exporter" else RESERVED
    assert not reserved & set(metric.labels)


def test_every_metric_has_one_name_and_a_process_that_exposes_it() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert len(by_series()) == sum(len(metric.series) for metric in METRICS)
    assert {metric.exposer for metric in METRICS} == set(JOBS)
    assert set(exposed_by(*JOBS)) == set(METRICS)


def test_the_metrics_that_the_platform_promises_are_there_with_their_labels() -> None:
    known = {metric.name: metric.labels for metric in METRICS}

    assert {name: known.get(name) for name in PROMISED} == PROMISED
