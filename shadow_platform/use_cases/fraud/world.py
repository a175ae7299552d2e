"""The simulated world of card payments: users with their habits, and what they pay on an ordinary day.

Belongs here: who the users are, how they live, the payments of one day as columns. Does not belong here: fraud and what
looks like it (``patterns``), how payments are recorded and delivered (``simulator``). Upstream: a simulation's plan.
Downstream: patterns, simulator.

Every day draws from a generator of its own, and draws as often whatever drifts: a change of the world never reaches
back, and two worlds with one seed are the same until the first drift that sets them apart.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator, intensities

Integers = npt.NDArray[np.int64]

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2024, 12, 15)
N_DAYS = (LAST_DAY - FIRST_DAY).days + 1
DAY_S = 86_400

COUNTRIES = np.array(["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "MX", "BR", "IN", "JP"])
HOME_SHARES = np.array([0.42, 0.12, 0.09, 0.08, 0.06, 0.05, 0.03, 0.04, 0.04, 0.04, 0.02, 0.01])
DESTINATION_SHARES = np.array([0.12, 0.12, 0.06, 0.13, 0.15, 0.13, 0.05, 0.03, 0.11, 0.04, 0.02, 0.04])
UTC_OFFSETS_H = np.array([-6, 0, 1, 1, 1, 1, 1, 1, -6, -3, 5, 9])

DEVICES = np.array(["android", "ios", "web", "terminal"])
MAIN_DEVICE_SHARES = np.array([0.34, 0.30, 0.16, 0.20])
WEB = 2
HABIT_SHARE = 0.85

CATEGORIES = np.array(["grocery", "restaurant", "clothing", "electronics", "travel", "digital"])
CATEGORY_SHARES = np.array([0.34, 0.21, 0.14, 0.06, 0.05, 0.20])
CATEGORY_PRICES = np.array([1.0, 0.8, 2.0, 4.0, 5.0, 0.35])
DIGITAL = 5
MERCHANTS_PER_CATEGORY = 40

# Monday first: people pay most on Fridays and Saturdays.
WEEKDAY_RATES = np.array([0.90, 0.90, 0.95, 1.00, 1.20, 1.20, 0.85])
HOUR_RATES = np.array([3, 2, 1, 1, 1, 2, 5, 9, 12, 14, 15, 18, 20, 17, 15, 15, 17, 20, 22, 20, 15, 11, 8, 5], float)
PAYMENTS_PER_DAY = 0.31
LOWEST_USD, HIGHEST_USD = 0.5, 9_000.0
TRIPS_PER_DAY = 1 / 150
TRIP_DAYS = (3, 12)

# At full strength of a covariate drift: trips begin this much more often, amounts and the web's share rise.
MORE_TRIPS_PER_DAY = 1 / 20
AMOUNT_LIFT = 0.8
WEB_LIFT = 0.35


@dataclass(frozen=True, slots=True)
class Users:
    """Habits of every user, one value a user: position in ``COUNTRIES``, in ``DEVICES``, payments a day, log USD."""

    home: Integers
    main_device: Integers
    rate: Floats
    log_amount: Floats
    sigma: Floats

    def __len__(self) -> int:
        """Number of users."""
        return len(self.home)


def user_ids(numbers: Integers) -> npt.NDArray[np.str_]:
    """Ids of users: ``user-00042``."""
    return np.char.add("user-", np.char.zfill(numbers.astype(str), 5))


def users_of(plan: SimulationPlan) -> Users:
    """Users of a world; the same seed and number give the same people."""
    n, chance = int(plan.n_entities or 0), generator(plan, "users")
    return Users(
        home=chance.choice(len(COUNTRIES), n, p=HOME_SHARES),
        main_device=chance.choice(len(DEVICES), n, p=MAIN_DEVICE_SHARES),
        rate=PAYMENTS_PER_DAY * chance.gamma(2.0, 0.5, n),
        log_amount=chance.normal(np.log(26.0), 0.45, n),
        sigma=chance.uniform(0.5, 0.9, n),
    )


@dataclass(frozen=True, slots=True)
class Strengths:
    """Strength of each kind of drift on every day of the world, shape ``(N_DAYS,)``."""

    covariate: Floats
    label: Floats
    concept: Floats
    quality: Floats


def strengths_of(plan: SimulationPlan) -> Strengths:
    """Strengths of a plan's drifts."""
    return Strengths(
        covariate=intensities(plan, "covariate", FIRST_DAY, N_DAYS),
        label=intensities(plan, "label", FIRST_DAY, N_DAYS),
        concept=intensities(plan, "concept", FIRST_DAY, N_DAYS),
        quality=intensities(plan, "quality", FIRST_DAY, N_DAYS),
    )


def whereabouts(plan: SimulationPlan, users: Users, strengths: Strengths) -> Integers:
    """Country each user is in on each day, shape ``(users, N_DAYS)``: at home, or abroad for 3 to 12 days."""
    country = np.repeat(users.home[:, None], N_DAYS, axis=1)
    for day in range(N_DAYS):
        chance = generator(plan, "trips", day)
        begins = chance.random(len(users)) < TRIPS_PER_DAY + MORE_TRIPS_PER_DAY * strengths.covariate[day]
        destination = chance.choice(len(COUNTRIES), len(users), p=DESTINATION_SHARES)
        length = chance.integers(TRIP_DAYS[0], TRIP_DAYS[1] + 1, len(users))
        for user in np.flatnonzero(begins):
            country[user, day : day + length[user]] = destination[user]
    return country


def ordinary_payments(
    plan: SimulationPlan, users: Users, countries: Integers, strengths: Strengths, day: int
) -> dict[str, npt.NDArray[Any]]:
    """Payments that users make on a UTC day, at their local hours; times are seconds since the world began."""
    chance, strength = generator(plan, "payments", day), strengths.covariate[day]
    weekday = (FIRST_DAY.weekday() + day) % 7
    payer = np.repeat(np.arange(len(users)), chance.poisson(users.rate * WEEKDAY_RATES[weekday]))
    n = len(payer)
    country = countries[payer, day]
    local_s = chance.choice(24, n, p=HOUR_RATES / HOUR_RATES.sum()) * 3_600 + chance.random(n) * 3_600
    category = chance.choice(len(CATEGORIES), n, p=CATEGORY_SHARES)
    scatter = chance.normal(0.0, 1.0, n) * users.sigma[payer]
    amount = np.exp(users.log_amount[payer] + scatter) * CATEGORY_PRICES[category]
    is_habit, is_moved = chance.random(n) < HABIT_SHARE, chance.random(n) < WEB_LIFT * strength
    device = np.where(is_habit, users.main_device[payer], chance.choice(len(DEVICES), n))
    return {
        "user": payer,
        "at_s": day * DAY_S + (local_s - UTC_OFFSETS_H[country] * 3_600) % DAY_S,
        "amount": amount * (1 + AMOUNT_LIFT * strength),
        "country": country,
        "device": np.where(is_moved, WEB, device),
        "category": category,
        "merchant": merchants(chance, category),
        "suspicion": np.zeros(n),
        "is_fraud": np.zeros(n, dtype=bool),
    }


def merchants(chance: np.random.Generator, category: Integers) -> Integers:
    """Merchant of each payment, within its category; a few are visited most."""
    rank = np.minimum(chance.zipf(1.6, len(category)), MERCHANTS_PER_CATEGORY) - 1
    merchant: Integers = category * MERCHANTS_PER_CATEGORY + rank
    return merchant


def assembled(parts: list[dict[str, npt.NDArray[Any]]]) -> pd.DataFrame:
    """Payments of all parts within the world, in order of time."""
    frame = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    within = frame[frame["at_s"] < (N_DAYS - 1) * DAY_S]
    return within.sort_values(["at_s", "user"], kind="stable", ignore_index=True)
