"""Who is asked about and when, what the truth is and when it is known, to the instant; and what is answered."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from shadow_platform.domain.serving import ModelOutput, RequestContract, build_answer, build_record
from shadow_platform.testing.tables import Tables, labels_of, requests_of
from shadow_platform.use_cases.churn import USE_CASE
from shadow_platform_tests.use_cases.churn.made_up import (
    ANNA,
    DAY,
    HOUR,
    INSTANT,
    MIDNIGHT,
    cancellation,
    subscription,
    tables,
)

HORIZON = pd.Timedelta(USE_CASE.label.horizon)
EXAMPLE = {
    "customer_id": "CUST_12345",
    "days_since_last_login": 7,
    "login_frequency_30d": 12.5,
    "session_duration_avg": 25.0,
    "total_transactions_90d": 8,
    "transaction_value_avg": 250.0,
    "support_tickets_30d": 1,
    "subscription_tenure_days": 730,
    "satisfaction_score": 8.0,
}


def _times(events: Tables, start: pd.Timestamp = MIDNIGHT, n_days: int = 28) -> list[pd.Timestamp]:
    return list(requests_of(USE_CASE, events, start, start + n_days * DAY)["requested_at"])


def _asked_at() -> pd.Timestamp:
    return _times(tables(subscriptions=[subscription()]))[0]


def test_a_customer_is_asked_about_every_seven_days_at_the_same_time() -> None:
    times = _times(tables(subscriptions=[subscription()]))
    assert len(times) == 4
    assert {later - earlier for earlier, later in pairwise(times)} == {7 * DAY}


def test_customers_are_spread_over_the_days_of_the_week_and_the_hours_of_the_day() -> None:
    many = [subscription(customer_id=f"CUST_{number:05d}") for number in range(1, 1_401)]
    times = pd.Series(_times(tables(subscriptions=many), n_days=7))
    assert len(times) == 1_400
    assert times.dt.dayofweek.value_counts().between(140, 260).all()
    assert times.dt.hour.value_counts().reindex(range(24)).between(25, 95).all()


def test_a_customer_is_asked_about_once_known_at_the_days_start() -> None:
    asked_at = _asked_at()
    start = asked_at.floor("D")
    for received_at, n_requests in ((start, 1), (start + INSTANT, 0)):
        bill = subscription(start - HOUR, received_at=received_at)
        assert len(_times(tables(subscriptions=[bill]), start, n_days=1)) == n_requests


def test_nobody_is_asked_about_once_the_cancellation_is_known() -> None:
    asked_at = _asked_at()
    for received_at, n_requests in ((asked_at, 0), (asked_at + INSTANT, 1)):
        left = cancellation(asked_at - HOUR, received_at=received_at)
        events = tables(subscriptions=[subscription()], cancellations=[left])
        assert len(_times(events, asked_at.floor("D"), n_days=28)) == n_requests


def _label(as_of: pd.Timestamp, *cancellations: dict[str, Any]) -> dict[str, Any] | None:
    requests = pd.DataFrame({"subject_id": [ANNA], "requested_at": [MIDNIGHT]})
    labels = labels_of(USE_CASE, tables(cancellations=list(cancellations)), requests, as_of)
    assert len(labels) <= 1
    return None if labels.empty else {str(name): value for name, value in labels.iloc[0].items()}


@pytest.mark.parametrize(("after", "has_churned"), [(INSTANT, True), (HORIZON, True), (HORIZON + INSTANT, False)])
def test_a_cancellation_counts_that_is_received_within_30_days(after: pd.Timedelta, has_churned: bool) -> None:
    label = _label(MIDNIGHT + 2 * HORIZON, cancellation(MIDNIGHT + after))
    assert label is not None
    assert label["label"] == has_churned
    assert label["known_at"] == MIDNIGHT + min(after, HORIZON)


def test_a_label_is_known_from_the_receipt_of_the_cancellation_and_not_before() -> None:
    left = cancellation(MIDNIGHT + 4 * DAY, received_at=MIDNIGHT + 5 * DAY)
    assert _label(MIDNIGHT + 5 * DAY - INSTANT, left) is None
    label = _label(MIDNIGHT + 5 * DAY, left)
    assert label is not None
    assert (label["event_at"], label["known_at"]) == (MIDNIGHT + 4 * DAY, MIDNIGHT + 5 * DAY)
    assert _label(MIDNIGHT + 90 * DAY, left) == label


def test_who_stays_is_known_after_30_days_and_not_before() -> None:
    assert _label(MIDNIGHT + HORIZON - INSTANT) is None
    label = _label(MIDNIGHT + HORIZON)
    assert label is not None
    assert not label["label"]
    assert label["event_at"] == label["known_at"] == MIDNIGHT + HORIZON


def test_another_customers_cancellation_is_no_label() -> None:
    assert _label(MIDNIGHT + 5 * DAY, cancellation(MIDNIGHT + DAY, customer_id="CUST_00002")) is None


def test_the_answer_to_the_documented_request_has_exactly_the_documented_fields() -> None:
    contract = RequestContract(USE_CASE)
    request = contract.parse(EXAMPLE, datetime(2024, 1, 15, tzinfo=UTC))
    served = contract.assemble(request, {}, datetime(2024, 1, 15, tzinfo=UTC))
    assert served.sources == {"request": 8, "online": 0, "imputed": 17}
    output = ModelOutput(probability=0.23, threshold=USE_CASE.answer.threshold, model_version="2", bundle_hash="b")
    at = "2024-01-15T10:30:00.000Z"
    record = build_record("churn", "id", request, served, output, requested_at=at, logged_at=at, latency_ms=1.0)
    answer = build_answer(USE_CASE, record)
    assert set(answer) == {
        "request_id",
        "customer_id",
        "churn_probability",
        "churn_prediction",
        "risk_category",
        "model_version",
        "timestamp",
        "feature_sources",
        "feature_age_s",
    }
    assert (answer["churn_prediction"], answer["risk_category"]) == (False, "medium")


def test_the_views_hold_the_19_and_6_features_by_their_names() -> None:
    stats = (
        "days_since_last_login login_count_7d login_frequency_30d login_trend_7d_30d session_duration_avg "
        "session_duration_max_30d session_count_30d pages_per_session_30d total_transactions_90d "
        "transaction_count_30d transaction_value_avg transaction_value_sum_90d days_since_last_transaction "
        "failed_payments_90d support_tickets_30d support_tickets_90d ticket_resolution_hours_avg_90d "
        "subscription_tenure_days satisfaction_score"
    )
    demographics = "age_band region plan_type contract_type payment_method acquisition_channel"
    names = {view.name: [f.name for f in USE_CASE.view_features(view.name)] for view in USE_CASE.views}
    assert names == {"churn_stats": stats.split(), "customer_demographics": demographics.split()}
    assert {view.name: view.ttl / DAY for view in USE_CASE.views} == {"churn_stats": 90, "customer_demographics": 365}
