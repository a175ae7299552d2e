"""Why customers leave: moods that nobody sees, what sours them, and the chance to cancel; the truth of this world.

Belongs here: the Markov chain of moods and cancellation, and the probabilities that follow from it. Does not belong
here: drawing from them (``world``), and what moods do to behaviour (``behaviour``). Upstream: customers. Downstream:
world, and the ceiling of every model.

A customer is content, wavering or leaving. Failed payments and tickets that stay unresolved make a content one waver,
more so where nothing retries the payment or the customer is new. Those who leave are held by their contract until it
nears its end. Chance of one day depends on the mood and the day alone, so that the probability to cancel within any
period follows from the mood by multiplying matrices.
"""

import numpy as np

from shadow_platform.use_case_kit.simulating import Floats
from shadow_platform.use_cases.churn.customers import BILLING_DAYS, Calendar, Codes, Customers
from shadow_platform.use_cases.churn.events import PLANS

CONTENT, WAVERING, LEAVING = range(3)
N_MOODS = 3
BUSINESS = PLANS.index("business")
IS_COVETED = np.array([plan in {"premium", "business"} for plan in PLANS])

# By mood; by contract, plan and payment method in the order of their levels.
CANCEL = np.array([0.0002, 0.003, 0.032])
LOCK = np.array([1.0, 0.40, 0.15])
CONTRACT_DAYS = np.array([1, 365, 730])
MAX_HAZARD = 0.9
EXIT_WINDOW_DAYS, EXIT_FACTOR = 30, 2.5
NEWCOMER_FACTOR, NEWCOMER_DAYS = 1.2, 90
MONTH_END_FACTOR, WEEKEND_FACTOR = 1.3, 0.7
YEAR_DAYS = 365

WAVER = 0.0022
SOURED_BY_FAILURE = np.array([0.05, 0.40, 0.40, 0.15])
SOURED_BY_WAITING_NEW, SOURED_BY_WAITING = 0.45, 0.12
RECOVER, GIVE_UP, WIN_BACK = 0.03, 0.04, 0.004

FAILED_PAYMENT = np.array([0.04, 0.03, 0.06, 0.09])
FAILED_BY_MOOD = np.array([1.0, 1.3, 2.2])
TICKETS_A_DAY = 0.014
TICKETS_BY_MOOD = np.array([1.0, 1.7, 2.6])
SLOW_SHARE = 0.25

# What label and concept drift do at their full strength.
LABEL_FACTOR = 2.5
POACHED, CALMED = 0.008, 0.85


def cancel_hazard(customers: Customers, calendar: Calendar, day: int) -> Floats:
    """Probability to cancel on a day, shape ``(customers, moods)``."""
    tenure = day - customers.signed_up_on
    to_go = CONTRACT_DAYS[customers.contract_type] - tenure % CONTRACT_DAYS[customers.contract_type]
    lock = LOCK[customers.contract_type]
    is_bound = lock < 1
    factor = np.where(is_bound & (to_go <= EXIT_WINDOW_DAYS), EXIT_FACTOR, lock)
    factor *= customers.frailty * (1 + NEWCOMER_FACTOR * np.exp(-tenure / NEWCOMER_DAYS))
    factor *= MONTH_END_FACTOR if calendar.is_month_end(day) else 1.0
    factor *= WEEKEND_FACTOR if calendar.is_weekend(day) else 1.0
    factor *= 1 + LABEL_FACTOR * calendar.strength("label", day)
    concept = calendar.strength("concept", day)
    by_mood = CANCEL * np.array([1, 1 - CALMED * concept, 1 - CALMED * concept])
    hazard = factor[:, None] * by_mood
    is_poached = IS_COVETED[customers.plan_type] & (tenure > YEAR_DAYS)
    hazard[:, CONTENT] += is_poached * POACHED * concept
    result: Floats = np.minimum(hazard, MAX_HAZARD)
    return result


def failure_probability(customers: Customers, mood: Codes | int) -> Floats:
    """Probability that a monthly bill is not paid at the first try."""
    result: Floats = FAILED_PAYMENT[customers.payment_method] * FAILED_BY_MOOD[mood]
    return result


def is_billed(customers: Customers, day: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Whose monthly bill is due on a day."""
    tenure = day - customers.signed_up_on
    result: np.ndarray[tuple[int], np.dtype[np.bool_]] = (tenure > 0) & (tenure % BILLING_DAYS == 0)
    return result


def waver_probability(customers: Customers, day: int, failed: Floats, kept_waiting: Floats) -> Floats:
    """Probability that a content customer wavers from the next day on.

    Args:
        failed, kept_waiting: whether a payment failed and a ticket stays unresolved, or the probabilities of that:
            the result is linear in both, so that the expected shock gives the expected probability.
    """
    is_new = day - customers.signed_up_on < YEAR_DAYS
    waiting = np.where(is_new, SOURED_BY_WAITING_NEW, SOURED_BY_WAITING)
    result: Floats = WAVER + SOURED_BY_FAILURE[customers.payment_method] * failed + waiting * kept_waiting
    return result


def survive(moods: Floats, hazard: Floats) -> Floats:
    """Weights of the moods of those who did not cancel."""
    result: Floats = moods * (1 - hazard)
    return result


def change(moods: Floats, customers: Customers, day: int) -> Floats:
    """Weights of the moods on the next day, shape ``(customers, moods)``, whatever may happen on this one."""
    failed = is_billed(customers, day) * failure_probability(customers, CONTENT)
    waver = waver_probability(customers, day, failed, np.full(len(customers), TICKETS_A_DAY * SLOW_SHARE))
    content, wavering, leaving = moods.T
    return np.column_stack(
        [
            content * (1 - waver) + wavering * RECOVER + leaving * WIN_BACK,
            content * waver + wavering * (1 - RECOVER - GIVE_UP),
            wavering * GIVE_UP + leaving * (1 - WIN_BACK),
        ]
    )


def next_mood(mood: Codes, waver: Floats, draw: Floats) -> Codes:
    """Moods of the next day, by one uniform draw a customer."""
    soured = np.where(draw < waver, WAVERING, CONTENT)
    wavered = np.where(draw < RECOVER, CONTENT, np.where(draw < RECOVER + GIVE_UP, LEAVING, WAVERING))
    left = np.where(draw < WIN_BACK, CONTENT, LEAVING)
    return np.choose(mood, [soured, wavered, left]).astype(np.int8)


def cancels_within(
    customers: Customers,
    mood: Codes,
    calendar: Calendar,
    day: int,
    passed: Floats,
    n_days: int,
) -> Floats:
    """Probability to cancel within ``n_days`` of a moment, given the mood at the start of its day and no news since.

    Args:
        passed: share of a day's cancellations that come in before the moment, by customer.
    """
    weights = np.eye(N_MOODS)[mood]
    hazard = cancel_hazard(customers, calendar, day)
    alive = survive(weights, passed[:, None] * hazard).sum(axis=1)
    weights = change(survive(weights, hazard), customers, day)
    for later in range(day + 1, day + n_days):
        weights = change(survive(weights, cancel_hazard(customers, calendar, later)), customers, later)
    last = cancel_hazard(customers, calendar, day + n_days)
    result: Floats = 1 - survive(weights, passed[:, None] * last).sum(axis=1) / alive
    return result
