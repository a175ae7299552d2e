"""A few made-up events of one customer whose every fact is known to the microsecond.

Belongs here: helpers of the tests of this folder. Does not belong here: assertions.
"""

from typing import Any
from zlib import crc32

import pandas as pd

from shadow_platform.testing.tables import Tables, run, validated
from shadow_platform.use_cases.churn import USE_CASE

MIDNIGHT = pd.Timestamp("2024-05-05", tz="UTC")
INSTANT = pd.Timedelta(microseconds=1)
HOUR = pd.Timedelta(hours=1)
DAY = pd.Timedelta(days=1)
ANNA = "CUST_00001"


def subscription(at: pd.Timestamp = MIDNIGHT - 10 * DAY, **changes: Any) -> dict[str, Any]:
    """A bill of a customer who signed up 400 days before ``MIDNIGHT``."""
    row = {
        "change": "renewal",
        "signed_up_at": MIDNIGHT - 400 * DAY,
        "age_band": "35-49",
        "region": "north",
        "plan_type": "standard",
        "contract_type": "one_year",
        "payment_method": "wallet",
        "acquisition_channel": "retail",
    }
    return event(at, **{**row, **changes})


def cancellation(at: pd.Timestamp, **changes: Any) -> dict[str, Any]:
    """The customer cancelled."""
    return event(at, **{"reason": "price", **changes})


def login(at: pd.Timestamp, **changes: Any) -> dict[str, Any]:
    """The customer logged in."""
    return event(at, **{"is_mobile": True, **changes})


def session(at: pd.Timestamp, duration_min: float = 10.0, pages: float | None = 5.0, **changes: Any) -> dict[str, Any]:
    """The customer visited the app."""
    return event(at, **{"duration_min": duration_min, "pages": pages, **changes})


def payment(at: pd.Timestamp, amount: float = 20.0, status: str = "completed", **changes: Any) -> dict[str, Any]:
    """A payment was tried."""
    return event(at, **{"amount": amount, "status": status, **changes})


def ticket(at: pd.Timestamp, resolution_hours: float | None = None, **changes: Any) -> dict[str, Any]:
    """A ticket was opened, or resolved after some hours."""
    status = "opened" if resolution_hours is None else "resolved"
    return event(at, **{"ticket_id": "t", "status": status, "resolution_hours": resolution_hours, **changes})


def survey(at: pd.Timestamp, score: int, **changes: Any) -> dict[str, Any]:
    """The customer gave a score."""
    return event(at, **{"score": score, **changes})


def event(at: pd.Timestamp, **payload: Any) -> dict[str, Any]:
    """An event of the customer, received as it happened unless told otherwise."""
    row = {"customer_id": ANNA, "event_at": at, "received_at": at, **payload}
    return {"event_id": f"{crc32(repr(row).encode()):08x}", **row}


def tables(**rows: list[dict[str, Any]]) -> Tables:
    """Event tables of the rows given, the other kinds empty; a row that breaks its schema fails the test."""
    made: Tables = {}
    for kind in USE_CASE.events:
        made[kind.name], failures = validated(kind, rows.get(kind.name, []))
        assert failures.empty, failures
    return made


def rows_of(view_name: str, events: Tables, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Rows of a view with ``start < event_at <= end``."""
    view = next(view for view in USE_CASE.views if view.name == view_name)
    return run(view.sql, events, start=start, end=end)


def stats(events: Tables, stamp: pd.Timestamp = MIDNIGHT) -> dict[str, Any]:
    """The customer's row of ``churn_stats`` at a stamp."""
    rows = rows_of("churn_stats", events, stamp - DAY, stamp)
    assert len(rows) == 1
    return {str(name): None if pd.isna(value) else value for name, value in rows.iloc[0].items()}
