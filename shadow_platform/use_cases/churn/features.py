"""What the models see: two feature views with their SQL, and every input with its range.

Belongs here: declarations. Does not belong here: computing them (the features stage runs the SQL). Upstream: events.
Downstream: the UseCase value, and through it Feast, training, serving and drift.

Rows are stamped at midnight UTC and use what had been received by then: a request reads facts that are up to one day
old and never one that came later.
"""

from datetime import timedelta
from importlib.resources import files

from shadow_platform.contracts.use_case import Entity, Feature, FeatureView
from shadow_platform.use_cases.churn.events import MAX_AMOUNT, MAX_RESOLUTION_HOURS, MAX_SCORE, MAX_SESSION_MIN


def sql(name: str) -> str:
    """Text of one of this package's SQL files."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


ENTITIES = (Entity("customer_id", "Customer of the telecom company", "CUST_12345"),)

DAY = timedelta(days=1)
STATS, DEMOGRAPHICS = "churn_stats", "customer_demographics"

VIEWS = (
    FeatureView(
        name=STATS,
        entity="customer_id",
        ttl=90 * DAY,
        lookback=90 * DAY,
        sql=sql(STATS),
        description="How a subscribed customer behaved over the last week, month and quarter; one row a day",
        refresh=DAY,
    ),
    FeatureView(
        name=DEMOGRAPHICS,
        entity="customer_id",
        ttl=365 * DAY,
        lookback=40 * DAY,
        sql=sql(DEMOGRAPHICS),
        description="Who the customer is and what was agreed; a row at the sign-up, with every bill and at a move",
        refresh=DAY,
    ),
)


def _stat(name: str, description: str, unit: str, example: float, high: float, *, is_monitored: bool = True) -> Feature:
    return Feature(
        name, description, unit=unit, view=STATS, low=0, high=high, example=example, is_monitored=is_monitored
    )


# Payments follow the pay day, so the time since the last one moves through every month: that is no news.
STAT_FEATURES = (
    _stat("days_since_last_login", "Time since the last login, or the sign-up; at most 90", "days", 7, 90),
    _stat("login_count_7d", "Logins, last 7 days", "logins", 2, 10_000),
    _stat("login_frequency_30d", "Logins per 30 days of subscription, last 30 days", "logins / 30 days", 12.5, 100_000),
    _stat("login_trend_7d_30d", "Logins a day of subscription, last 7 days over last 30", "ratio", 0.9, 5),
    _stat("session_duration_avg", "Mean length of a session, last 30 days", "minutes", 25.0, MAX_SESSION_MIN),
    _stat("session_duration_max_30d", "Longest session, last 30 days", "minutes", 61.0, MAX_SESSION_MIN),
    _stat("session_count_30d", "Sessions, last 30 days", "sessions", 11, 10_000),
    _stat("pages_per_session_30d", "Mean pages of a session, last 30 days", "pages", 8.4, 10_000),
    _stat("total_transactions_90d", "Completed payments, last 90 days", "payments", 8, 10_000),
    _stat("transaction_count_30d", "Completed payments, last 30 days", "payments", 3, 10_000),
    _stat("transaction_value_avg", "Mean completed payment, last 90 days", "USD", 250.0, MAX_AMOUNT),
    _stat("transaction_value_sum_90d", "Sum of completed payments, last 90 days", "USD", 2_000.0, 1e9),
    _stat(
        "days_since_last_transaction",
        "Time since the last completed payment, or the sign-up; at most 90",
        "days",
        9,
        90,
        is_monitored=False,
    ),
    _stat("failed_payments_90d", "Failed payments, last 90 days", "payments", 0, 10_000),
    _stat("support_tickets_30d", "Support tickets opened, last 30 days", "tickets", 1, 10_000),
    _stat("support_tickets_90d", "Support tickets opened, last 90 days", "tickets", 2, 10_000),
    _stat(
        "ticket_resolution_hours_avg_90d",
        "Mean time to resolve a ticket, of those resolved in the last 90 days",
        "hours",
        18.5,
        MAX_RESOLUTION_HOURS,
    ),
    _stat("subscription_tenure_days", "Time since the sign-up", "days", 730, 36_500),
    _stat("satisfaction_score", "Latest satisfaction score, last 90 days", "points of 10", 8.0, MAX_SCORE),
)


def _trait(name: str, description: str, example: str) -> Feature:
    return Feature(name, description, kind="categorical", view=DEMOGRAPHICS, example=example)


DEMOGRAPHIC_FEATURES = (
    _trait("age_band", "Age, years", "35-49"),
    _trait("region", "Where the customer lives", "north"),
    _trait("plan_type", "Tariff", "standard"),
    _trait("contract_type", "How long the customer is bound", "month_to_month"),
    _trait("payment_method", "How bills are paid", "credit_card"),
    _trait("acquisition_channel", "How the customer was won", "referral"),
)

FEATURES = STAT_FEATURES + DEMOGRAPHIC_FEATURES
