"""The little shop as a simulated use case, small enough to break each promise of its simulator by hand.

Belongs here: a simulator that keeps what it promises. Does not belong here: assertions. Upstream: the kit, tiny.
Downstream: tests of the rules of simulations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.simulation import DriftKind, Simulation, SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.use_case_kit.simulating import generator, intensities
from shadow_platform_tests.tiny import CHANNELS, FIRST_DAY, N_DAYS
from shadow_platform_tests.tiny import USE_CASE as TINY

KINDS: tuple[DriftKind, ...] = ("covariate", "label", "concept", "quality")
DELAY = timedelta(hours=2)


class Shop:
    """Visits of a day in a row, a minute apart; who has a dear cart buys two hours later, or as the drift has it."""

    def __init__(self, plan: SimulationPlan) -> None:
        self.plan = plan

    def first_day(self) -> date:
        return FIRST_DAY

    def last_day(self) -> date:
        return FIRST_DAY + timedelta(days=N_DAYS - 1)

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        visits = [{**_stamped("visit", row), **row} for row in self._visits(day)]
        bought = [row for row in self._visits(day) if row["has_bought"]]
        purchases = [{**_stamped("purchase", row, DELAY), **row, "amount": row["cart_value"]} for row in bought]
        return {
            "visits": [_without(row, "has_bought", "probability", "at") for row in visits],
            "purchases": [
                _without(row, "has_bought", "probability", "at", "channel", "cart_value") for row in purchases
            ],
        }

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        days = [start + timedelta(days=n) for n in range((end - start).days)]
        rows = [row for day in days for row in self._visits(day)]
        return pd.DataFrame(
            {
                "subject_id": [row["visit_id"] for row in rows],
                "requested_at": pd.to_datetime([row["at"] for row in rows], utc=True),
                "probability": [row["probability"] for row in rows],
                "label": [row["has_bought"] for row in rows],
            }
        )

    def _visits(self, day: date) -> list[dict[str, Any]]:
        if not self.first_day() <= day <= self.last_day():
            return []
        n = self.plan.n_entities or 0
        chance = generator(self.plan, day.toordinal())
        moved = {kind: intensities(self.plan, kind, day, 1)[0] for kind in KINDS}
        carts = np.round(chance.uniform(1, 100, n) + 20 * moved["covariate"], 2)
        probability = np.clip(carts / 150 + 0.2 * moved["label"], 0, 1)
        probability = probability * (1 - moved["concept"]) + (1 - probability) * moved["concept"]
        has_bought = chance.random(n) < probability
        carts = np.round(carts * (1 + 9 * moved["quality"]), 2)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return [
            {
                "visit_id": f"{day}-{place:03d}",
                "visitor_id": f"visitor-{place % 10}",
                "channel": CHANNELS[place % 3],
                "cart_value": float(carts[place]),
                "probability": float(probability[place]),
                "has_bought": bool(has_bought[place]),
                "at": midnight + timedelta(minutes=place + 1),
            }
            for place in range(n)
        ]


def _stamped(kind: str, row: Mapping[str, Any], delay: timedelta = timedelta(0)) -> dict[str, Any]:
    text = (row["at"] + delay).isoformat()
    return {"event_id": f"{kind}:{row['visit_id']}", "event_at": text, "received_at": text, "schema_version": 1}


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


DEFAULT = SimulationPlan(n_entities=200, drifts=())


def simulated(shop: type[Shop] = Shop) -> UseCase:
    """The use case, played by a simulator."""
    simulation = Simulation(shop, DEFAULT, "visitors", dict.fromkeys(KINDS, "what the shop sells"))
    return replace(TINY, source=lambda: shop(DEFAULT), simulation=simulation)
