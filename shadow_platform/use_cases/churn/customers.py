"""Who the simulated customers are: what they told when they signed up, and what nobody knows of them.

Belongs here: sign-ups, traits, and the calendar of the simulated days. Does not belong here: what becomes of customers
(``hazards``, ``world``). Upstream: a simulation plan. Downstream: hazards, world.

Days are numbered from the first day of the world; the simulation begins ``WARM_UP_DAYS`` before it, so that moods and
tenures have settled when the first event is delivered.
"""

from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.simulation import DriftKind, SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator, intensities
from shadow_platform.use_cases.churn.events import AGE_BANDS, CHANNELS, CONTRACTS, PAYMENT_METHODS, PLANS, REGIONS

FIRST_DAY = date(2024, 1, 1)
N_DAYS = 260
HISTORY_DAYS = 90
WARM_UP_DAYS = 150
# Beyond the last day, so that the true probability of the last request can be worked out.
DAYS_AHEAD = 31
BILLING_DAYS = 30

SIGNUPS_A_DAY = 0.0021
CAMPAIGN_SIGNUPS = 5.0
ENGAGEMENT, ENGAGEMENT_SPREAD = 0.30, 0.5
FRAILTY_SPREAD = 0.35
MEAN_TENURE_DAYS, MAX_TENURE_DAYS = 550, 3_650

Codes = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int64]

# Shares of the levels, as the base has them and as a campaign for young, unbound customers brings them.
_SHARES: dict[str, tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]] = {
    "age_band": (AGE_BANDS, (0.12, 0.24, 0.30, 0.22, 0.12), (0.50, 0.32, 0.12, 0.04, 0.02)),
    "region": (REGIONS, (0.22, 0.18, 0.25, 0.20, 0.15), (0.22, 0.18, 0.25, 0.20, 0.15)),
    "plan_type": (PLANS, (0.27, 0.30, 0.18, 0.25), (0.62, 0.26, 0.07, 0.05)),
    "contract_type": (CONTRACTS, (0.55, 0.28, 0.17), (0.90, 0.08, 0.02)),
    "payment_method": (PAYMENT_METHODS, (0.42, 0.28, 0.16, 0.14), (0.25, 0.08, 0.07, 0.60)),
    "acquisition_channel": (CHANNELS, (0.30, 0.22, 0.16, 0.22, 0.10), (0.05, 0.72, 0.16, 0.05, 0.02)),
}


@dataclass(frozen=True, slots=True)
class Customers:
    """Customers in order of their sign-up; one element each.

    Attributes:
        signed_up_on: day of the sign-up.
        age_band, region, plan_type, contract_type, payment_method, acquisition_channel: codes of levels.
        engagement: logins a day while content; never told.
        frailty: factor of the hazard to cancel; never told.
    """

    signed_up_on: Ints
    age_band: Codes
    region: Codes
    plan_type: Codes
    contract_type: Codes
    payment_method: Codes
    acquisition_channel: Codes
    engagement: Floats
    frailty: Floats

    def __len__(self) -> int:
        return len(self.signed_up_on)

    def take(self, who: "slice | Ints") -> "Customers":
        """Some of them."""
        return Customers(*(getattr(self, field.name)[who] for field in fields(self)))


class Calendar:
    """Strength of every drift on every simulated day, and where the day lies in its week and month."""

    def __init__(self, plan: SimulationPlan) -> None:
        self.first = -WARM_UP_DAYS
        self.n_days = plan.n_days or N_DAYS
        self.end = self.n_days + DAYS_AHEAD
        start = FIRST_DAY + timedelta(days=self.first)
        self._strength = {
            kind: intensities(plan, kind, start, self.end - self.first)
            for kind in ("covariate", "label", "concept", "quality")
        }

    def strength(self, kind: DriftKind, day: int) -> float:
        """Strength of a kind of drift on a day, 0 to 1."""
        return float(self._strength[kind][day - self.first])

    @staticmethod
    def is_weekend(day: int) -> bool:
        """Saturday or Sunday."""
        return (FIRST_DAY + timedelta(days=day)).weekday() >= 5

    @staticmethod
    def is_payday(day: int) -> bool:
        """The days around the turn of the month, when wages have come."""
        return not 3 < (FIRST_DAY + timedelta(days=day)).day < 25

    @staticmethod
    def is_month_end(day: int) -> bool:
        """The last days of a month, when people go through their bills."""
        return (FIRST_DAY + timedelta(days=day)).day >= 27


def sign_up(plan: SimulationPlan, calendar: Calendar) -> tuple[Customers, Ints]:
    """All customers of a world, and how many had signed up by the end of each day from ``calendar.first - 1`` on."""
    n_entities = plan.n_entities or 0
    chance = generator(plan, "customers")
    tenure = chance.exponential(MEAN_TENURE_DAYS, n_entities).astype(np.int64) % MAX_TENURE_DAYS + 1
    groups = [_cohort(chance, calendar.first - np.sort(tenure)[::-1], 0.0)]
    counts = [n_entities]
    for day in range(calendar.first, calendar.n_days):
        campaign = calendar.strength("covariate", day)
        rhythm = 0.6 if calendar.is_weekend(day) else 1.15
        rate = SIGNUPS_A_DAY * n_entities * rhythm * (1 + CAMPAIGN_SIGNUPS * campaign)
        of_day = generator(plan, "sign-ups", day - calendar.first)
        n_new = int(of_day.poisson(rate))
        # Of those who come in a campaign most come because of it.
        share = CAMPAIGN_SIGNUPS * campaign / (1 + CAMPAIGN_SIGNUPS * campaign)
        groups.append(_cohort(of_day, np.full(n_new, day), share))
        counts.append(counts[-1] + n_new)
    everybody = (np.concatenate([getattr(group, field.name) for group in groups]) for field in fields(Customers))
    return Customers(*everybody), np.array(counts)


def _cohort(chance: np.random.Generator, signed_up_on: Ints, campaign_share: float) -> Customers:
    n = len(signed_up_on)
    came_by_campaign = chance.random(n) < campaign_share
    codes: dict[str, Codes] = {}
    for name, (_, base, campaign) in _SHARES.items():
        draw = chance.random(n)
        normal, lured = (np.searchsorted(np.cumsum(shares)[:-1], draw, side="right") for shares in (base, campaign))
        codes[name] = np.where(came_by_campaign, lured, normal).astype(np.int8)
    engagement = chance.lognormal(np.log(ENGAGEMENT), ENGAGEMENT_SPREAD, n)
    frailty = chance.lognormal(0.0, FRAILTY_SPREAD, n)
    return Customers(signed_up_on=signed_up_on, engagement=engagement, frailty=frailty, **codes)
