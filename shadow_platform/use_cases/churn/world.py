"""The simulated world, day by day: who subscribes, what they do, when they cancel.

Belongs here: the order of things within a day. Does not belong here: probabilities (``hazards``), what is drawn from
them (``behaviour``), how it is told (``delivery``). Upstream: a simulation plan. Downstream: simulator.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import generator
from shadow_platform.use_cases.churn.behaviour import DAY_S, MOVES_A_DAY, Columns, play_day
from shadow_platform.use_cases.churn.customers import HISTORY_DAYS, Calendar, Codes, Customers, Ints, sign_up
from shadow_platform.use_cases.churn.delivery import Delivery, delivered
from shadow_platform.use_cases.churn.events import REGIONS
from shadow_platform.use_cases.churn.hazards import (
    cancel_hazard,
    is_billed,
    next_mood,
    waver_probability,
)

NEVER = np.int64(1 << 40)
# By mood, in the order of REASONS; the last one takes the rest.
REASON_SHARES = np.array([[0.2, 0.1, 0.5], [0.4, 0.3, 0.15], [0.45, 0.4, 0.05]])
SETTLED = (0.90, 0.96)
CANCELS_FROM_S, CANCELS_UNTIL_S = 8 * 3600, 20 * 3600


@dataclass(frozen=True, slots=True)
class World:
    """A world that has been played.

    Attributes:
        ids: id of every customer.
        moods: mood of every customer at the start of each day from the first of the world on, shape
            ``(days, customers)``; of no meaning before the sign-up and after the cancellation.
        deliveries: what the source delivers, by event kind.
    """

    customers: Customers
    ids: npt.NDArray[np.object_]
    calendar: Calendar
    moods: npt.NDArray[np.int8]
    deliveries: dict[str, Delivery]


@lru_cache(maxsize=2)
def play(plan: SimulationPlan) -> World:
    """The world of a complete plan; equal plans give equal worlds."""
    calendar = Calendar(plan)
    customers, n_known = sign_up(plan, calendar)
    run = _Run(plan, customers, calendar)
    happened: dict[int, dict[str, Columns]] = {}
    moods = np.zeros((calendar.n_days, len(customers)), dtype=np.int8)
    for day in range(calendar.first, calendar.n_days):
        before, now = n_known[day - calendar.first], n_known[day - calendar.first + 1]
        if day >= 0:
            moods[day] = run.mood
        rows = run.day(day, int(before), int(now))
        if day >= -HISTORY_DAYS:
            happened[day] = rows
    is_customer_at_start = run.cancelled_at >= 0
    ids = np.array([f"CUST_{number:05d}" for number in range(1, len(customers) + 1)], dtype=object)
    told = delivered(plan, customers, calendar, happened, is_customer_at_start)
    return World(customers, ids, calendar, moods, told)


class _Run:
    """State of the world between two days."""

    def __init__(self, plan: SimulationPlan, customers: Customers, calendar: Calendar) -> None:
        self.plan, self.customers, self.calendar = plan, customers, calendar
        self.mood: Codes = np.zeros(len(customers), dtype=np.int8)
        self.region = customers.region.copy()
        self.cancelled_at = np.full(len(customers), NEVER)  # seconds since the first day

    def day(self, day: int, before: int, now: int) -> dict[str, Columns]:
        """Play one day: ``before`` customers had signed up when it began, ``now`` when it ended."""
        chance = generator(self.plan, "day", day - self.calendar.first)
        known = self.customers.take(slice(0, before))
        mood, is_subscribed = self.mood[:before], self.cancelled_at[:before] == NEVER
        if day == self.calendar.first:
            mood[:] = np.searchsorted(SETTLED, chance.random(before)).astype(np.int8)
        played = play_day(known, mood, is_subscribed, self.calendar, day, chance)
        cancellations = self._cancel(known, mood, is_subscribed, day, chance)
        rows = {kind: self._while_subscribed(columns, day) for kind, columns in played.rows.items()}
        rows["subscriptions"] = self._subscriptions(known, is_subscribed, day, now, chance)
        waver = waver_probability(known, day, played.failed, played.kept_waiting)
        self.mood[:before] = next_mood(mood, waver, chance.random(before))
        return rows | {"cancellations": cancellations}

    def _cancel(
        self, known: Customers, mood: Codes, is_subscribed: npt.NDArray[np.bool_], day: int, chance: np.random.Generator
    ) -> Columns:
        hazard = cancel_hazard(known, self.calendar, day)[np.arange(len(known)), mood]
        who = np.flatnonzero((chance.random(len(known)) < hazard) & is_subscribed)
        second = chance.integers(CANCELS_FROM_S, CANCELS_UNTIL_S, len(who))
        self.cancelled_at[who] = day * DAY_S + second
        shares = REASON_SHARES[mood[who]].cumsum(axis=1)
        reason = (chance.random(len(who))[:, None] >= shares).sum(axis=1)
        return {"customer": who, "second": second, "reason": reason.astype(np.int8)}

    def _while_subscribed(self, columns: Columns, day: int) -> Columns:
        ended = self.cancelled_at[columns["customer"]] < day * DAY_S + columns["second"]
        return {name: values[~ended] for name, values in columns.items()}

    def _subscriptions(
        self,
        known: Customers,
        is_subscribed: npt.NDArray[np.bool_],
        day: int,
        now: int,
        chance: np.random.Generator,
    ) -> Columns:
        billed = np.flatnonzero(is_billed(known, day) & is_subscribed)
        draw = chance.random(len(known))
        moved = np.flatnonzero((draw < MOVES_A_DAY) & is_subscribed)
        self.region[moved] = chance.integers(0, len(REGIONS), len(moved))
        new = np.arange(len(known), now)
        who = np.concatenate([new, billed, moved])
        change = np.repeat(np.array([0, 1, 2], dtype=np.int8), [len(new), len(billed), len(moved)])
        second: Ints = np.concatenate(
            [
                signup_second(new),
                chance.integers(2 * 3600, 5 * 3600, len(billed)),
                chance.integers(8 * 3600, 20 * 3600, len(moved)),
            ]
        )
        rows: Columns = {"customer": who, "second": second, "change": change, "region": self.region[who]}
        return self._while_subscribed(rows, day)


def signup_second(customer: Ints) -> Ints:
    """Second of the day at which a customer signed up: between 8 and 22 o'clock, by the number alone."""
    return 8 * 3600 + customer * 7_919 % (14 * 3600)
