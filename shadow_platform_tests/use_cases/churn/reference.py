"""``churn_stats`` once more, in plain Python: one customer and stamp at a time, straight from the descriptions.

Belongs here: the reference that the SQL is held against. Does not belong here: assertions.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

Row = dict[Any, Any]
DAY = timedelta(days=1)


def reference_stats(events: Mapping[str, list[Row]], stamp: datetime) -> Row | None:
    """Features of the customer whose events are given, as known at ``stamp``; ``None`` if not subscribed then."""
    known = {kind: [row for row in rows if row["received_at"] <= stamp] for kind, rows in events.items()}
    bills = [row for row in known["subscriptions"] if row["event_at"] > stamp - 40 * DAY]
    if not bills or known["cancellations"]:
        return None

    def recent(kind: str, n_days: int, **wanted: str) -> list[Row]:
        rows = [row for row in known[kind] if stamp - n_days * DAY < row["event_at"] <= stamp]
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    signed_up_at = max(row["signed_up_at"] for row in bills)
    tenure = _days(stamp - signed_up_at)
    logins = {n: len(recent("logins", n)) for n in (7, 30)}
    rate = {n: logins[n] / max(1, min(n, tenure)) for n in (7, 30)}
    minutes = [row["duration_min"] for row in recent("sessions", 30)]
    pages = [row["pages"] for row in recent("sessions", 30) if row["pages"] == row["pages"]]
    paid, paid_30d = (recent("transactions", n, status="completed") for n in (90, 30))
    amounts = [row["amount"] for row in paid]
    hours = [row["resolution_hours"] for row in recent("support_tickets", 90, status="resolved")]
    scores = recent("surveys", 90)
    return {
        "days_since_last_login": _since(stamp, recent("logins", 90), signed_up_at),
        "login_count_7d": logins[7],
        "login_frequency_30d": rate[30] * 30,
        "login_trend_7d_30d": rate[7] / rate[30] if logins[30] else None,
        "session_duration_avg": fmean(minutes) if minutes else None,
        "session_duration_max_30d": max(minutes, default=None),
        "session_count_30d": len(minutes),
        "pages_per_session_30d": fmean(pages) if pages else None,
        "total_transactions_90d": len(paid),
        "transaction_count_30d": len(paid_30d),
        "transaction_value_avg": fmean(amounts) if amounts else None,
        "transaction_value_sum_90d": sum(amounts),
        "days_since_last_transaction": _since(stamp, paid, signed_up_at),
        "failed_payments_90d": len(recent("transactions", 90, status="failed")),
        "support_tickets_30d": len(recent("support_tickets", 30, status="opened")),
        "support_tickets_90d": len(recent("support_tickets", 90, status="opened")),
        "ticket_resolution_hours_avg_90d": fmean(hours) if hours else None,
        "subscription_tenure_days": tenure,
        "satisfaction_score": max(scores, key=lambda row: row["event_at"])["score"] if scores else None,
    }


def _days(span: timedelta) -> float:
    return span / DAY


def _since(stamp: datetime, rows: list[Row], otherwise: datetime) -> float:
    return min(90.0, _days(stamp - max((row["event_at"] for row in rows), default=otherwise)))
