"""A few made-up payments whose every fact is known, and the simulated ones, for the tests of this folder.

Belongs here: helpers. Does not belong here: assertions about the use case.
"""

from datetime import date
from typing import Any

import pandas as pd

from shadow_platform.contracts.simulation import DriftInjection, DriftKind, SimulationPlan
from shadow_platform.testing.tables import Tables, run, validated
from shadow_platform.use_cases import load_use_case
from shadow_platform.use_cases.fraud.simulator import Recorded, recorded

FRAUD = load_use_case("fraud")
MIDNIGHT = pd.Timestamp("2024-03-05", tz="UTC")
NOON = MIDNIGHT + pd.Timedelta(hours=12)
INSTANT = pd.Timedelta(microseconds=1)
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
WEEK = 7 * DAY
USER = "user-00042"
DRIFT_START = date(2024, 6, 1)


def payment(received_at: pd.Timestamp, number: int = 0, **changes: Any) -> dict[str, Any]:
    """A payment of 10 USD by one user at home; ``number`` makes its id."""
    row = {
        "event_id": f"01HM5ZC9V7Q8R3N2K1J0G4{number:04d}",
        "event_at": received_at,
        "received_at": received_at,
        "user_id": USER,
        "transaction_amount": 10.0,
        "country": "US",
        "device": "ios",
        "merchant_id": "merchant-001",
        "merchant_category": "grocery",
    }
    return row | changes


def chargeback(of: dict[str, Any], received_at: pd.Timestamp, number: int = 0) -> dict[str, Any]:
    """The payment is taken back; booked an hour before the platform hears of it."""
    return {
        "event_id": f"chargeback-{number}-{of['event_id']}",
        "event_at": received_at - HOUR,
        "received_at": received_at,
        "transaction_id": of["event_id"],
        "user_id": of["user_id"],
        "chargeback_amount": of["transaction_amount"],
    }


def tables(payments: list[dict[str, Any]], chargebacks: list[dict[str, Any]] | None = None) -> Tables:
    """Event tables of the rows given; a row that breaks its schema fails the test."""
    made: Tables = {}
    for kind, rows in zip(FRAUD.events, (payments, chargebacks or []), strict=True):
        made[kind.name], failures = validated(kind, rows)
        assert failures.empty, failures
    return made


def rows_of(view_name: str, events: Tables, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Feature rows of a view, by ``user_id`` and ``event_at``."""
    view = next(view for view in FRAUD.views if view.name == view_name)
    return run(view.sql, events, start=start, end=end).set_index(["user_id", "event_at"]).sort_index()


def row_at(view_name: str, events: Tables, stamp: pd.Timestamp, user: str = USER) -> "pd.Series[Any] | None":
    """The row of a user that is stamped so; ``None`` if there is none."""
    rows = rows_of(view_name, events, stamp - INSTANT, stamp)
    own = rows[rows.index.get_level_values("user_id") == user]
    return None if own.empty else own.iloc[0]


def world(kind: DriftKind | None = None, n_entities: int = 1_000) -> Recorded:
    """A world of half the usual size: without drift, or with one at full strength from ``DRIFT_START`` on."""
    drifts = () if kind is None else (DriftInjection(kind=kind, start=DRIFT_START, size=1.0),)
    return recorded(SimulationPlan(n_entities=n_entities, drifts=drifts))
