"""The summary of a window counts what was logged, and says null where there is nothing to measure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.records import FailureRecord, PredictionRecord
from shadow_platform.contracts.use_case import Exploration
from shadow_platform.domain.monitoring import RequestSample, summarise_requests

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
HORIZON = timedelta(days=1)
FEATURES = ("cart_value", "visits_7d")
RECORD = PredictionRecord(
    request_id="id",
    use_case="tiny",
    subject_id="v",
    entities={},
    requested_at="2024-01-15T10:00:00.000Z",
    logged_at="2024-01-15T10:00:00.100Z",
    features={"cart_value": 1.0, "visits_7d": None},
    feature_sources={"request": 1, "online": 0, "imputed": 1},
    feature_age_s=None,
    model_version="1",
    bundle_hash="hash",
    variant="champion",
    propensity=1.0,
    probability=0.25,
    prediction=False,
    threshold=0.5,
    latency_ms=2.0,
)
FAILURE = FailureRecord("id", "tiny", "v", "2024-01-15T10:00:00.000Z", "canary", "2", "canary-failed", "text")
SAMPLE = RequestSample.of(RECORD)


def test_an_empty_window_has_counts_of_zero_and_nothing_else() -> None:
    summary = summarise_requests([], [], FEATURES, HORIZON, NOW)
    assert (summary["requests"], summary["positive_share"], summary["models"], summary["failures"]) == (0, None, [], {})
    assert set(summary["score"].values()) == set(summary["latency_ms"].values()) == {None}
    assert summary["missing_feature_rates"] == {"cart_value": None, "visits_7d": None}
    assert summary["label_maturity"] == {"horizon_s": 86_400.0, "matured_requests": 0, "matured_share": None}


def test_a_feature_counts_as_missing_where_it_was_imputed() -> None:
    other = RequestSample.of(replace(RECORD, features={"cart_value": 2.0, "visits_7d": 3.0}, feature_age_s=60.0))
    summary = summarise_requests([SAMPLE, other, other, other], [], FEATURES, HORIZON, NOW)
    assert summary["missing_feature_rates"] == {"cart_value": 0.0, "visits_7d": 0.25}
    assert summary["feature_age_s"]["p50"] == 60.0


def test_variants_and_versions_are_told_apart() -> None:
    canary = SAMPLE._replace(variant="canary", model_version="2", probability=0.75, is_positive=True)
    summary = summarise_requests([SAMPLE, canary, SAMPLE], [], FEATURES, HORIZON, NOW)
    found = [(m["variant"], m["model_version"], m["requests"], m["positive_share"]) for m in summary["models"]]
    assert found == [("canary", "2", 1, 1.0), ("champion", "1", 2, 0.0)]
    assert summary["positive_share"] == pytest.approx(1 / 3)


def test_failures_are_counted_by_reason() -> None:
    failures = [FAILURE, FAILURE, replace(FAILURE, reason="internal-error")]
    assert summarise_requests([], failures, FEATURES, HORIZON, NOW)["failures"] == {
        "canary-failed": 2,
        "internal-error": 1,
    }


def test_explored_decisions_are_counted_among_the_positive_ones_where_the_use_case_explores() -> None:
    positive = SAMPLE._replace(is_positive=True)
    explored = RequestSample.of(replace(RECORD, prediction=True, is_explored=True))
    samples = [SAMPLE, positive, positive, positive, explored]
    summary = summarise_requests(samples, [], FEATURES, HORIZON, NOW, Exploration(0.2))
    assert summary["exploration"] == {"share": 0.2, "explored": 1, "explored_share": 0.25}
    none = summarise_requests([SAMPLE], [], FEATURES, HORIZON, NOW, Exploration(0.2))["exploration"]
    assert none == {"share": 0.2, "explored": 0, "explored_share": None}
    assert summarise_requests(samples, [], FEATURES, HORIZON, NOW)["exploration"] is None


@pytest.mark.parametrize(("age", "is_matured"), [(HORIZON, True), (HORIZON - timedelta(milliseconds=1), False)])
def test_a_request_is_matured_once_the_label_horizon_is_over(age: timedelta, is_matured: bool) -> None:
    sample = SAMPLE._replace(requested_at=(NOW - age).isoformat())
    maturity = summarise_requests([sample, SAMPLE], [], FEATURES, HORIZON, NOW)["label_maturity"]
    assert (maturity["matured_requests"], maturity["matured_share"]) == (int(is_matured), is_matured / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_score_quantiles_are_those_of_numpy(scores: list[float]) -> None:
    samples = [SAMPLE._replace(probability=score) for score in scores]
    quantiles = summarise_requests(samples, [], FEATURES, HORIZON, NOW)["score"]
    assert list(quantiles.values()) == pytest.approx(np.quantile(scores, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist())
