"""The SQL of the feature views: windows to the instant, late rows, duplicates and nulls, against plain Python.

A row is stamped midnight. Each test of an edge moves one fact from the last instant that counts to the first that does
not.
"""

import math
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.contracts.simulation import DriftInjection, SimulationPlan
from shadow_platform.testing.tables import Tables, accepted, received
from shadow_platform.use_cases.churn import USE_CASE
from shadow_platform.use_cases.churn.simulator import SIMULATION
from shadow_platform_tests.use_cases.churn.made_up import (
    ANNA,
    DAY,
    HOUR,
    INSTANT,
    MIDNIGHT,
    cancellation,
    login,
    payment,
    rows_of,
    session,
    stats,
    subscription,
    survey,
    tables,
    ticket,
)
from shadow_platform_tests.use_cases.churn.reference import reference_stats

STATS = [feature.name for feature in USE_CASE.view_features("churn_stats")]
WINDOWS = [
    ("logins", login, "login_count_7d", 7),
    ("logins", login, "login_frequency_30d", 30),
    ("sessions", session, "session_count_30d", 30),
    ("transactions", payment, "transaction_count_30d", 30),
    ("transactions", payment, "total_transactions_90d", 90),
    ("support_tickets", ticket, "support_tickets_30d", 30),
    ("support_tickets", ticket, "support_tickets_90d", 90),
]


@pytest.fixture(scope="module")
def lived() -> Tables:
    """Events of 40 customers over 130 days, with late rows, duplicates and blocked page counters."""
    drift = DriftInjection(kind="quality", start=date(2024, 2, 1), size=0.5)
    source = SIMULATION.simulator(SimulationPlan(seed=5, n_entities=40, drifts=(drift,)))
    rows = received(source, USE_CASE.events, [date(2024, 1, 1) + timedelta(days=n) for n in range(130)])
    return {kind.name: accepted(kind, rows[kind.name]) for kind in USE_CASE.events}


@pytest.mark.parametrize(("kind", "make", "feature", "n_days"), WINDOWS)
def test_a_window_holds_its_end_and_not_its_beginning(kind: str, make: Any, feature: str, n_days: int) -> None:
    counted = {
        offset: stats(tables(subscriptions=[subscription()], **{kind: [make(MIDNIGHT + offset)]}))[feature]
        for offset in (INSTANT, 0 * DAY, -n_days * DAY + INSTANT, -n_days * DAY)
    }
    assert list(counted.values()) == [0, 1, 1, 0]


@pytest.mark.parametrize(("kind", "make", "feature", "n_days"), WINDOWS)
def test_an_event_counts_from_the_instant_it_is_received_in_the_window_it_happened_in(
    kind: str, make: Any, feature: str, n_days: int
) -> None:
    happened = MIDNIGHT - 6 * DAY
    in_time, late = ({"received_at": MIDNIGHT + offset} for offset in (0 * DAY, INSTANT))
    bill = [subscription()]
    assert stats(tables(subscriptions=bill, **{kind: [make(happened, **in_time)]}))[feature] == 1
    told_late = tables(subscriptions=bill, **{kind: [make(happened, **late)]})
    assert stats(told_late)[feature] == 0
    later = stats(told_late, MIDNIGHT + DAY)[feature]
    assert later == (0 if n_days == 7 else 1)


def test_a_customer_without_any_event_has_counts_of_zero_and_no_averages() -> None:
    row = stats(tables(subscriptions=[subscription()]))
    empty = {name for name in STATS if row[name] is None}
    assert empty == {
        "login_trend_7d_30d",
        "session_duration_avg",
        "session_duration_max_30d",
        "pages_per_session_30d",
        "transaction_value_avg",
        "ticket_resolution_hours_avg_90d",
        "satisfaction_score",
    }
    assert row["days_since_last_login"] == row["days_since_last_transaction"] == 90
    assert row["subscription_tenure_days"] == 400
    assert sum(row[name] for name in STATS if name not in empty) == 580


def test_a_new_customers_silence_is_no_longer_than_the_subscription() -> None:
    bill = subscription(MIDNIGHT - 3 * DAY, change="signup", signed_up_at=MIDNIGHT - 3 * DAY)
    row = stats(tables(subscriptions=[bill]))
    assert row["days_since_last_login"] == row["days_since_last_transaction"] == 3


def test_logins_of_a_new_customer_are_taken_a_day_of_subscription() -> None:
    bill = subscription(MIDNIGHT - 10 * DAY, change="signup", signed_up_at=MIDNIGHT - 10 * DAY)
    row = stats(tables(subscriptions=[bill], logins=[login(MIDNIGHT - n * DAY) for n in range(10)]))
    assert row["login_frequency_30d"] == 30
    assert row["login_trend_7d_30d"] == 1


def test_only_completed_payments_are_transactions() -> None:
    paid = [payment(MIDNIGHT - 2 * DAY, 30.0), payment(MIDNIGHT - 40 * DAY, 10.0)]
    failed = payment(MIDNIGHT - DAY, 500.0, "failed")
    row = stats(tables(subscriptions=[subscription()], transactions=[*paid, failed]))
    names = ("transaction_value_avg", "transaction_value_sum_90d", "days_since_last_transaction", "failed_payments_90d")
    assert [row[name] for name in names] == [20.0, 40.0, 2.0, 1.0]


def test_blocked_page_counters_do_not_count_as_no_pages() -> None:
    visits = [session(MIDNIGHT - HOUR, pages=None), session(MIDNIGHT - 2 * HOUR, pages=6.0, duration_min=20.0)]
    row = stats(tables(subscriptions=[subscription()], sessions=visits))
    assert (row["session_count_30d"], row["pages_per_session_30d"], row["session_duration_avg"]) == (2, 6, 15)


def test_the_score_is_the_latest_given_and_not_the_latest_received() -> None:
    late = survey(MIDNIGHT - 9 * DAY, 2, received_at=MIDNIGHT)
    row = stats(tables(subscriptions=[subscription()], surveys=[late, survey(MIDNIGHT - 8 * DAY, 7)]))
    assert row["satisfaction_score"] == 7


def test_rows_end_with_the_cancellation_as_soon_as_it_is_received() -> None:
    events = tables(
        subscriptions=[subscription()], cancellations=[cancellation(MIDNIGHT - HOUR, received_at=MIDNIGHT + INSTANT)]
    )
    stamps = rows_of("churn_stats", events, MIDNIGHT - 3 * DAY, MIDNIGHT + 3 * DAY)["event_at"]
    assert stamps.max() == MIDNIGHT


def test_rows_end_when_no_bill_has_come_for_40_days() -> None:
    events = tables(subscriptions=[subscription(MIDNIGHT)])
    stamps = rows_of("churn_stats", events, MIDNIGHT - DAY, MIDNIGHT + 60 * DAY)["event_at"]
    assert list(stamps) == [MIDNIGHT + n * DAY for n in range(40)]


def test_the_stats_are_those_of_plain_python(lived: Tables) -> None:
    start, end = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-05-10", tz="UTC")
    rows = rows_of("churn_stats", lived, start, end).set_index(["customer_id", "event_at"])[STATS].to_dict("index")
    of_kind = {kind: dict(iter(frame.groupby("customer_id"))) for kind, frame in lived.items()}
    n_rows = 0
    for customer in of_kind["subscriptions"]:
        events = {k: groups[customer].to_dict("records") if customer in groups else [] for k, groups in of_kind.items()}
        for stamp in pd.date_range("2024-01-02", "2024-05-09", freq="9D", tz="UTC"):
            expected, given = reference_stats(events, stamp), rows.get((customer, stamp))
            assert (given is None) == (expected is None), (customer, stamp)
            if given is not None and expected is not None:
                wanted = [math.nan if expected[name] is None else expected[name] for name in STATS]
                assert [given[name] for name in STATS] == pytest.approx(wanted, rel=1e-9, nan_ok=True), customer
                n_rows += 1
    assert n_rows > 300


def test_a_demographics_row_is_stamped_at_the_end_of_the_day_of_its_latest_subscription_event() -> None:
    morning = subscription(MIDNIGHT + 3 * HOUR)
    moved = subscription(MIDNIGHT + 5 * HOUR, change="change", region="west", received_at=MIDNIGHT + DAY)
    rows = rows_of("customer_demographics", tables(subscriptions=[moved, morning]), MIDNIGHT, MIDNIGHT + 3 * DAY)
    assert rows[["customer_id", "event_at", "region"]].values.tolist() == [[ANNA, MIDNIGHT + DAY, "west"]]
    next_day = moved | {"received_at": MIDNIGHT + DAY + INSTANT}
    rows = rows_of("customer_demographics", tables(subscriptions=[next_day, morning]), MIDNIGHT, MIDNIGHT + 3 * DAY)
    assert list(rows["event_at"]) == [MIDNIGHT + DAY, MIDNIGHT + 2 * DAY]
    assert list(rows["region"]) == ["north", "west"]


@pytest.mark.parametrize("late", [HOUR, 20 * HOUR, DAY, 9 * DAY])
def test_an_older_subscription_message_that_comes_late_does_not_undo_a_newer_one(late: pd.Timedelta) -> None:
    newer = subscription(MIDNIGHT - 12 * HOUR, region="south")
    older = subscription(MIDNIGHT - 10 * DAY, region="north", received_at=MIDNIGHT - 12 * HOUR + late)
    rows = rows_of(
        "customer_demographics", tables(subscriptions=[newer, older]), MIDNIGHT - 30 * DAY, MIDNIGHT + 30 * DAY
    )
    assert set(rows["region"]) == {"south"}
    assert rows["event_at"].max() == (older["received_at"]).ceil("D")


@pytest.mark.parametrize(("days_before", "region"), [(39, "south"), (40, "north")])
def test_a_newer_message_outlives_a_late_one_for_40_days(days_before: int, region: str) -> None:
    newer = subscription(MIDNIGHT - days_before * DAY, region="south")
    older = subscription(MIDNIGHT - 80 * DAY, region="north", received_at=MIDNIGHT)
    for start in (MIDNIGHT - 90 * DAY, MIDNIGHT - INSTANT):
        rows = rows_of("customer_demographics", tables(subscriptions=[newer, older]), start, MIDNIGHT)
        assert rows["region"].iloc[-1] == region


def test_demographics_never_fall_out_of_their_time_to_live(lived: Tables) -> None:
    rows = rows_of("customer_demographics", lived, lived["subscriptions"]["received_at"].min(), MIDNIGHT)
    apart = rows.sort_values("event_at").groupby("customer_id")["event_at"].diff().max()
    ttl = next(view.ttl for view in USE_CASE.views if view.name == "customer_demographics")
    assert DAY < apart <= 31 * DAY < ttl
