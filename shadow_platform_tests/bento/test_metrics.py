"""Answers counted together are counted as if one by one; the clock's text is the time's."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from bento.answering.metrics import ServiceMetrics
from bento.answering.predictor import Clock
from bento.answering.tally import TalliedHistogram
from shadow_platform.contracts.metrics import LATENCY_BUCKETS_MS
from shadow_platform.domain.serving import rfc3339


@given(st.lists(st.one_of(st.floats(0, 10_000), st.sampled_from(LATENCY_BUCKETS_MS)), max_size=30))
def test_many_observations_at_once_equal_one_after_the_other(values: list[float]) -> None:
    one_by_one, together = (CollectorRegistry() for _ in range(2))
    histogram = Histogram("ms", "milliseconds", buckets=LATENCY_BUCKETS_MS, registry=one_by_one)
    for value in values:
        histogram.observe(value)
    TalliedHistogram("ms", "milliseconds", buckets=LATENCY_BUCKETS_MS, registry=together).observe_all(values)
    for bound in (*map(float, LATENCY_BUCKETS_MS), "+Inf"):
        labels = {"le": str(bound)}
        assert together.get_sample_value("ms_bucket", labels) == one_by_one.get_sample_value("ms_bucket", labels)
    assert together.get_sample_value("ms_sum") == sum(values)


def test_each_answer_is_counted_once_by_variant_and_category() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    for variant, category, n in (("champion", "low", 3), ("champion", "high", 2), ("canary", "low", 1)):
        for _ in range(n):
            metrics.count_prediction(variant, category, 0.4)
        metrics.flush()
        metrics.flush()
        labels = {"model_variant": variant, "risk_category": category}
        assert registry.get_sample_value("predictions_total", labels) == n
    assert registry.get_sample_value("prediction_latency_ms_count", {"model_variant": "champion"}) == 5


@given(st.lists(st.floats(0, 4_000_000_000), min_size=1, max_size=5))
def test_the_clock_s_text_is_the_time(moments: list[float]) -> None:
    clock = Clock()
    for at in moments:
        moment = datetime.fromtimestamp(int(at), UTC).replace(microsecond=int((at - int(at)) * 1000) * 1000)
        assert clock.text(at) == rfc3339(moment)
