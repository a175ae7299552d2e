"""What customers do on a day: how often, when and how long, by mood, plan and calendar.

Belongs here: drawing the happenings of one day. Does not belong here: why moods change (``hazards``), how happenings
are told to the platform (``delivery``). Upstream: customers, moods. Downstream: world.

Behaviour falls off before a cancellation, except on business plans: who leaves there logs in more often, to take the
data along. So the same numbers mean different things on different plans.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shadow_platform.use_case_kit.simulating import Floats
from shadow_platform.use_cases.churn.customers import Calendar, Codes, Customers, Ints
from shadow_platform.use_cases.churn.hazards import (
    BUSINESS,
    SLOW_SHARE,
    TICKETS_A_DAY,
    TICKETS_BY_MOOD,
    failure_probability,
    is_billed,
)

DAY_S = 86_400
Columns = dict[str, npt.NDArray[np.generic]]

LOGINS_BY_MOOD = np.array([[1.0, 0.6, 0.15], [1.0, 1.7, 3.0]])
MINUTES_BY_MOOD = np.array([[1.0, 0.8, 0.5], [1.0, 1.3, 1.9]])
MINUTES, MINUTES_SPREAD, MAX_MINUTES = 16.0, 0.7, 600.0
SESSION_SHARE = 0.85
MOBILE_SHARE = 0.7
PRICES = np.array([19.0, 35.0, 60.0, 95.0])
TOP_UPS_A_DAY = np.array([0.06, 0.04, 0.03, 0.02])
TOP_UPS_BY_MOOD = np.array([1.0, 0.75, 0.4])
PAYDAY_FACTOR, OTHER_DAY_FACTOR = 1.8, 0.65
TOP_UP, TOP_UP_SPREAD = 14.0, 0.5
QUICK_HOURS, SLOW_HOURS = (1.0, 36.0), (72.0, 240.0)
SURVEYS_A_DAY = 0.016
SCORE_BY_MOOD, SCORE_SPREAD = np.array([8.0, 6.3, 4.2]), 1.7
MOVES_A_DAY = 0.0004


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day.

    Attributes:
        rows: by event kind, columns ``customer`` (position), ``second`` of the day, and the payload.
        failed, kept_waiting: by customer, whether a bill was not paid and a ticket stays unresolved for days.
    """

    rows: dict[str, Columns]
    failed: Floats
    kept_waiting: Floats


def play_day(
    customers: Customers,
    mood: Codes,
    is_subscribed: npt.NDArray[np.bool_],
    calendar: Calendar,
    day: int,
    chance: np.random.Generator,
) -> Day:
    """Happenings of a day; equal numbers are drawn whoever is still subscribed."""
    is_business = (customers.plan_type == BUSINESS).astype(np.int8)
    logins, sessions = _visits(customers, mood, is_business, is_subscribed, calendar, day, chance)
    payments, failed = _payments(customers, mood, is_subscribed, calendar, day, chance)
    tickets, kept_waiting = _tickets(mood, is_subscribed, chance)
    answers = np.flatnonzero((chance.random(len(mood)) < SURVEYS_A_DAY) & is_subscribed)
    score = chance.normal(SCORE_BY_MOOD[mood[answers]], SCORE_SPREAD)
    surveys: Columns = {
        "customer": answers,
        "second": _daytime(chance, len(answers)),
        "score": np.clip(np.rint(score), 0, 10).astype(np.int8),
    }
    rows = {
        "logins": logins,
        "sessions": sessions,
        "transactions": payments,
        "support_tickets": tickets,
        "surveys": surveys,
    }
    return Day(rows, failed, kept_waiting)


def _visits(
    customers: Customers,
    mood: Codes,
    is_business: Codes,
    is_subscribed: npt.NDArray[np.bool_],
    calendar: Calendar,
    day: int,
    chance: np.random.Generator,
) -> tuple[Columns, Columns]:
    weekday = np.array([1.15, 0.35] if calendar.is_weekend(day) else [0.94, 1.26])[is_business]
    counts = chance.poisson(customers.engagement * LOGINS_BY_MOOD[is_business, mood] * weekday) * is_subscribed
    who = np.repeat(np.arange(len(mood)), counts)
    second = _daytime(chance, len(who))
    is_session = chance.random(len(who)) < SESSION_SHARE
    logins: Columns = {"customer": who, "second": second, "is_mobile": chance.random(len(who)) < MOBILE_SHARE}
    visitor = who[is_session]
    middle = MINUTES * MINUTES_BY_MOOD[is_business[visitor], mood[visitor]]
    minutes = np.minimum(np.round(middle * chance.lognormal(0.0, MINUTES_SPREAD, len(visitor)), 1), MAX_MINUTES)
    sessions: Columns = {
        "customer": visitor,
        "second": second[is_session] + (minutes * 60).astype(np.int64),
        "duration_min": minutes,
        "pages": (1 + chance.poisson(minutes / 3)).astype(np.float64),
    }
    return logins, sessions


def _payments(
    customers: Customers,
    mood: Codes,
    is_subscribed: npt.NDArray[np.bool_],
    calendar: Calendar,
    day: int,
    chance: np.random.Generator,
) -> tuple[Columns, Floats]:
    draw = chance.random(len(mood))
    is_due = is_billed(customers, day) & is_subscribed
    failed = is_due & (draw < failure_probability(customers, mood))
    billed = np.flatnonzero(is_due)
    rhythm = PAYDAY_FACTOR if calendar.is_payday(day) else OTHER_DAY_FACTOR
    rate = TOP_UPS_A_DAY[customers.plan_type] * TOP_UPS_BY_MOOD[mood] * rhythm
    topped_up = np.flatnonzero((chance.random(len(mood)) < rate) & is_subscribed)
    top_up = np.round(chance.lognormal(np.log(TOP_UP), TOP_UP_SPREAD, len(topped_up)), 2)
    rows: Columns = {
        "customer": np.concatenate([billed, topped_up]),
        "second": np.concatenate([chance.integers(2 * 3600, 5 * 3600, len(billed)), _daytime(chance, len(topped_up))]),
        "amount": np.concatenate([PRICES[customers.plan_type[billed]], top_up]),
        "is_failed": np.concatenate([failed[billed], np.zeros(len(topped_up), dtype=bool)]),
    }
    return rows, failed.astype(np.float64)


def _tickets(mood: Codes, is_subscribed: npt.NDArray[np.bool_], chance: np.random.Generator) -> tuple[Columns, Floats]:
    is_opened = (chance.random(len(mood)) < TICKETS_A_DAY * TICKETS_BY_MOOD[mood]) & is_subscribed
    is_slow = (chance.random(len(mood)) < SLOW_SHARE) & is_opened
    opened = np.flatnonzero(is_opened)
    low, high = np.where(is_slow[opened, None], SLOW_HOURS, QUICK_HOURS).T
    rows: Columns = {
        "customer": opened,
        "second": _daytime(chance, len(opened)),
        "resolution_hours": np.round(low + (high - low) * chance.random(len(opened)) ** 2, 1),
    }
    return rows, is_slow.astype(np.float64)


def _daytime(chance: np.random.Generator, n: int) -> Ints:
    """Seconds of the day; most things happen in the early evening."""
    return (chance.triangular(5 * 3600, 18 * 3600, DAY_S, n)).astype(np.int64)
