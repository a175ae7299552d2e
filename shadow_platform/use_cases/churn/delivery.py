"""What the platform gets to see of the world: rows with their times, late and twice at times, and at times wrong.

Belongs here: delays, duplicates, the first delivery, and quality drift. Does not belong here: what happened
(``world``). Upstream: world. Downstream: simulator.

The first delivery, on the first day, brings what the source holds of the customers subscribed then: the events of the
90 days before. From then on an event comes in as it happens: within minutes, except that phones that were offline
report a share of logins and sessions up to two days later, and that a share of sessions is sent twice.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import generator
from shadow_platform.use_cases.churn.behaviour import DAY_S, Columns
from shadow_platform.use_cases.churn.customers import FIRST_DAY, WARM_UP_DAYS, Calendar, Customers, Ints
from shadow_platform.use_cases.churn.events import EVENTS

FIRST_DELIVERY_S = 300
MEAN_DELAY_S = 90.0
CANCELLATION_DELAY_S = 600
OFFLINE_SHARE, OFFLINE_S = 0.01, 2 * DAY_S
TWICE_SHARE, TWICE_S = 0.002, 3_600
OFFLINE_KINDS = ("logins", "sessions")
MICROSECONDS = 1_000_000
EVENTS_A_DAY = 10_000_000

# What quality drift does at its full strength.
UNCOUNTED_SHARE, CENTS_SHARE, RENAMED_SHARE = 0.6, 0.5, 1.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Rows of one kind in order of receipt, as codes and numbers.

    Attributes:
        frame: ``number, customer, event_us, received_us`` (since the first day) and the payload.
        day_ends: position behind the last row received on each day.
    """

    frame: pd.DataFrame
    day_ends: npt.NDArray[np.intp]

    def received_on(self, day: int) -> pd.DataFrame:
        """Rows received on a day; none outside the world."""
        if not 0 <= day < len(self.day_ends):
            return self.frame.iloc[:0]
        return self.frame.iloc[0 if day == 0 else self.day_ends[day - 1] : self.day_ends[day]]


def delivered(
    plan: SimulationPlan,
    customers: Customers,
    calendar: Calendar,
    happened: dict[int, dict[str, Columns]],
    is_customer_at_start: npt.NDArray[np.bool_],
) -> dict[str, Delivery]:
    """Deliveries by event kind, of what happened on each day."""
    days = [_Told(plan, customers, calendar, day).tell(rows) for day, rows in happened.items()]
    result = {}
    for kind in EVENTS:
        parts = [rows.pop(kind.name) for rows in days]  # what is told is forgotten, so that a large world fits
        frame = pd.DataFrame({name: np.concatenate([rows[name] for rows in parts]) for name in parts[0]})
        frame = frame[is_customer_at_start[frame["customer"]]].sort_values(
            "received_us", kind="stable", ignore_index=True
        )
        ends = (np.arange(calendar.n_days) + 1) * DAY_S * MICROSECONDS
        result[kind.name] = Delivery(frame, np.searchsorted(frame["received_us"].to_numpy(), ends))
    return result


class _Told:
    """The rows of one day as they are told."""

    def __init__(self, plan: SimulationPlan, customers: Customers, calendar: Calendar, day: int) -> None:
        self.chance = generator(plan, "told", day - calendar.first)
        self.customers, self.day = customers, day
        self.wrong = calendar.strength("quality", day)

    def tell(self, rows: dict[str, Columns]) -> dict[str, Columns]:
        """Rows of every kind with their number and times."""
        told = {
            "subscriptions": self._subscriptions(rows["subscriptions"]),
            "transactions": self._transactions(rows["transactions"]),
            "sessions": self._sessions(rows["sessions"]),
            "support_tickets": self._opened_and_resolved(rows["support_tickets"]),
        }
        return {kind: self._timed(kind, columns) for kind, columns in (rows | told).items()}

    def _timed(self, kind: str, columns: Columns) -> Columns:
        n = len(columns["customer"])
        number = self._number(n)
        happened = (self.day * DAY_S + columns["second"].astype(np.int64)) * MICROSECONDS
        happened += self.chance.integers(0, MICROSECONDS, n)
        if kind == "cancellations":
            delay = self.chance.uniform(0, CANCELLATION_DELAY_S, n)
        else:
            delay = self.chance.exponential(MEAN_DELAY_S, n)
        if kind in OFFLINE_KINDS:
            delay += (self.chance.random(n) < OFFLINE_SHARE) * self.chance.uniform(0, OFFLINE_S, n)
        received = np.maximum(happened + (delay * MICROSECONDS).astype(np.int64), FIRST_DELIVERY_S * MICROSECONDS)
        payload = {name: values for name, values in columns.items() if name not in {"customer", "second"}}
        timed: Columns = {
            "number": number,
            "customer": columns["customer"].astype(np.int32),
            "event_us": happened,
            "received_us": received,
            **payload,
        }
        return self._twice(timed) if kind == "sessions" else timed

    def _number(self, n: int) -> Ints:
        return (self.day + WARM_UP_DAYS) * EVENTS_A_DAY + np.arange(n)

    def _twice(self, columns: Columns) -> Columns:
        again = np.flatnonzero(self.chance.random(len(columns["customer"])) < TWICE_SHARE)
        later = self.chance.integers(1, TWICE_S, len(again)) * MICROSECONDS
        repeated = {name: values[again] for name, values in columns.items()}
        repeated["received_us"] = repeated["received_us"].astype(np.int64) + later
        return {name: np.concatenate([values, repeated[name]]) for name, values in columns.items()}

    def _subscriptions(self, columns: Columns) -> Columns:
        draw = self.chance.random(len(columns["customer"]))
        return {**columns, "is_renamed": draw < RENAMED_SHARE * self.wrong}

    def _transactions(self, columns: Columns) -> Columns:
        draw = self.chance.random(len(columns["customer"]))
        amount = columns["amount"].astype(np.float64)
        return {**columns, "amount": np.where(draw < CENTS_SHARE * self.wrong, np.round(amount * 100), amount)}

    def _sessions(self, columns: Columns) -> Columns:
        draw = self.chance.random(len(columns["customer"]))
        return {**columns, "pages": np.where(draw < UNCOUNTED_SHARE * self.wrong, np.nan, columns["pages"])}

    def _opened_and_resolved(self, columns: Columns) -> Columns:
        """Two rows a ticket, which both name it."""
        hours = columns["resolution_hours"].astype(np.float64)
        second, ticket = columns["second"].astype(np.int64), self._number(len(hours))
        return {
            "customer": np.tile(columns["customer"], 2),
            "second": np.concatenate([second, second + np.round(hours * 3600).astype(np.int64)]),
            "ticket": np.tile(ticket, 2),
            "resolution_hours": np.concatenate([np.full(len(hours), np.nan), hours]),
        }


def day_number(day: date) -> int:
    """Number of a day of the world; the first is 0."""
    return (day - FIRST_DAY).days
