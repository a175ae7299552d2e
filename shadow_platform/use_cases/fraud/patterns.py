"""Fraud and its innocent doubles: episodes of payments that a thief, or the user on an unusual day, makes alike.

Belongs here: the three patterns, who is behind them, and the true probability of fraud. Does not belong here: ordinary
payments (``world``), chargebacks and delivery (``simulator``). Upstream: world. Downstream: simulator.

An episode has a *boldness*, standard normal and never seen by anyone: it makes payments quicker, larger and farther
from home, and a thief likelier to be behind them, ``sigmoid(2 * boldness)``. That is the whole truth about an episode;
whether it is fraud is then decided by chance.

- ``burst`` (a stolen card, or shopping on a trip): many quick payments of rising amounts, mostly abroad.
- ``takeover`` (of an account, or a new phone): a small payment on a device that the user does not use, then large ones.
- ``testing`` (of a stolen number, or trial subscriptions): tiny payments on the web over days, then a large one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator
from shadow_platform.use_cases.fraud.world import (
    COUNTRIES,
    DAY_S,
    DEVICES,
    DIGITAL,
    WEB,
    Integers,
    Strengths,
    Users,
    merchants,
)

EPISODES_PER_USER_DAY = 0.00087
BURST, TAKEOVER, TESTING = 0, 1, 2
PATTERN_SHARES = np.array([0.40, 0.40, 0.20])
MOST_PAYMENTS = 12
BOLDNESS_EFFECT = 2.0
# At full strength of a label drift there are this many times more thieves, who behave as the others do.
THIEF_LIFT = 3.0


def sigmoid(x: Floats) -> Floats:
    """Logistic function."""
    result: Floats = 1.0 / (1.0 + np.exp(-x))
    return result


def episodes(plan: SimulationPlan, users: Users, strengths: Strengths, day: int) -> dict[str, npt.NDArray[Any]]:
    """Payments of the episodes that begin on a day, as columns like those of ordinary payments.

    ``suspicion`` is the true probability that a thief pays, given all that the world knows of the episode.
    """
    chance = generator(plan, "episodes", day)
    n = int(chance.poisson(len(users) * EPISODES_PER_USER_DAY * (1 + THIEF_LIFT)))
    user, pattern = chance.integers(0, len(users), n), chance.choice(3, n, p=PATTERN_SHARES)
    start_s, boldness = day * DAY_S + chance.random(n) * DAY_S, chance.normal(0.0, 1.0, n)
    suspicion, is_fraud, happens = _thieves(chance, boldness, strengths.label[day], strengths.concept[day])
    columns = _payments(chance, users, user, pattern, start_s, boldness)
    kept = columns.pop("exists") & happens[:, None]
    columns["suspicion"] = np.broadcast_to(suspicion[:, None], kept.shape)
    columns["is_fraud"] = np.broadcast_to(is_fraud[:, None], kept.shape)
    return {name: values[kept] for name, values in columns.items()}


def _thieves(
    chance: np.random.Generator, boldness: Floats, label: float, concept: float
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """True probability of fraud, whether it is, and which of the possible episodes happen at all.

    Episodes are drawn for the largest label drift and thinned, innocent ones always as much, so that thieves become
    ``1 + THIEF_LIFT * label`` times as many, and the odds of fraud rise by that factor.
    """
    lift = 1 + THIEF_LIFT * label
    usual = sigmoid(BOLDNESS_EFFECT * (1 - 2 * concept) * boldness)
    is_fraud = chance.random(len(boldness)) < usual
    happens = chance.random(len(boldness)) * (1 + THIEF_LIFT) < np.where(is_fraud, lift, 1.0)
    return lift * usual / (lift * usual + 1 - usual), is_fraud, happens


def _payments(
    chance: np.random.Generator, users: Users, user: Integers, pattern: Integers, start_s: Floats, boldness: Floats
) -> dict[str, npt.NDArray[Any]]:
    """Columns of shape (episodes, MOST_PAYMENTS); ``exists`` says which payments there are."""
    n, shape, z = len(user), (len(user), MOST_PAYMENTS), boldness[:, None]
    is_burst, is_takeover = (pattern == BURST)[:, None], (pattern == TAKEOVER)[:, None]
    step = np.arange(MOST_PAYMENTS)[None, :]
    extra = chance.poisson(np.where(pattern == BURST, 1.3, 0.6))
    count = np.minimum(np.array([3, 2, 4])[pattern] + extra, MOST_PAYMENTS)
    is_last = step == count[:, None] - 1

    usual_gap_s = np.where(is_burst, 300.0, np.where(is_takeover, 2_400.0, 12 * 3_600.0))
    gaps = chance.gamma(2.0, 0.5, shape) * usual_gap_s * np.exp(-0.4 * z) + 5.0
    gaps[:, 0] = 0.0

    own = np.exp(users.log_amount[user])[:, None] * np.exp(chance.normal(0.0, 0.4, shape))
    large = own * 5.0 * np.exp(0.5 * z)
    rising = own * (1.5 + 0.7 * step) * np.exp(0.4 * z)
    tiny, small = chance.uniform(0.5, 3.0, shape), chance.uniform(2.0, 20.0, shape)
    before = np.where(is_takeover, np.where(step == 0, small, large), tiny)
    amount = np.where(is_burst, rising, np.where(is_last, large, before))

    goes_abroad = chance.random(n) < sigmoid(np.array([0.8, -1.2, -2.0])[pattern] + boldness)
    abroad = (users.home[user] + chance.integers(1, len(COUNTRIES), n)) % len(COUNTRIES)
    country = np.where(goes_abroad, abroad, users.home[user])
    other_device = (users.main_device[user] + chance.integers(1, len(DEVICES), n)) % len(DEVICES)
    keeps_device = (pattern == BURST) & (chance.random(n) < 0.4)
    device = np.where(pattern == TESTING, WEB, np.where(keeps_device, users.main_device[user], other_device))
    category = np.where(is_burst | is_last, chance.choice(5, shape), DIGITAL)
    return {
        "user": np.broadcast_to(user[:, None], shape),
        "at_s": start_s[:, None] + np.cumsum(gaps, axis=1),
        "amount": amount,
        "country": np.broadcast_to(country[:, None], shape),
        "device": np.broadcast_to(device[:, None], shape),
        "category": category,
        "merchant": merchants(chance, category.ravel()).reshape(shape),
        "exists": np.broadcast_to(step < count[:, None], shape),
    }
