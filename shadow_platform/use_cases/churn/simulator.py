"""The telecom company as an event source: raw rows day by day, and the truth about every request.

Belongs here: rows in the words of the event schemas, and the simulation's declaration. Does not belong here: what
happens (``world``) and why (``hazards``). Upstream: world. Downstream: the UseCase value.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.simulation import DriftInjection, DriftKind, Simulation, SimulationPlan
from shadow_platform.use_case_kit.simulating import json_rows
from shadow_platform.use_cases.churn import events
from shadow_platform.use_cases.churn.behaviour import DAY_S
from shadow_platform.use_cases.churn.customers import FIRST_DAY, N_DAYS, Customers, Ints
from shadow_platform.use_cases.churn.delivery import CANCELLATION_DELAY_S, MICROSECONDS, day_number
from shadow_platform.use_cases.churn.hazards import cancels_within
from shadow_platform.use_cases.churn.world import CANCELS_FROM_S, CANCELS_UNTIL_S, World, play, signup_second

HORIZON_DAYS = 30
WEEK_DAYS = 7
RENAMED = ("credit_card", "card")
ORIGIN = np.datetime64(FIRST_DAY, "us")
NEVER_US = np.iinfo(np.int64).max // 2

EFFECTS: Mapping[DriftKind, str] = {
    "covariate": "a campaign brings many young customers on monthly contracts and cheap plans: age_band, "
    "contract_type, plan_type, payment_method, acquisition_channel and subscription_tenure_days shift; what makes a "
    "customer leave stays",
    "label": "a rival's offer makes every customer more likely to cancel, at full strength 3.5 times: no feature moves "
    "before the customers are gone",
    "concept": "a rival poaches content customers of more than a year on premium and business plans, and those who "
    "show displeasure stay: no feature moves, what it means does",
    "quality": "page counters are blocked (pages_per_session_30d has nulls), some payments come in cents "
    "(transaction_value_avg and transaction_value_sum_90d jump), and billing calls credit_card card (payment_method)",
}


class ChurnSimulator:
    """Plays a plan; rows are made when they are asked for."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan

    @property
    def plan(self) -> SimulationPlan:
        """The plan it plays, complete."""
        return self._plan

    @property
    def world(self) -> World:
        """The world played; made at the first use, the latest two are remembered."""
        return play(self._plan)

    def first_day(self) -> date:
        """First day with events."""
        return FIRST_DAY

    def last_day(self) -> date:
        """Last day with events."""
        return FIRST_DAY + timedelta(days=(self._plan.n_days or N_DAYS) - 1)

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, as JSON-ready mappings."""
        world, number = self.world, day_number(day)
        return {
            kind.name: json_rows(_rows(kind.name, world.deliveries[kind.name].received_on(number), world))
            for kind in events.EVENTS
        }

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        """True probability to cancel within 30 days of every request of ``[start, end)``, and whether it happened.

        The probability is given the mood at the start of the request's day, which sums up all that ever happened.
        """
        days = range(max(0, day_number(start)), min(self._plan.n_days or N_DAYS, day_number(end)))
        spine = _Spine(self.world)
        parts = [spine.of_day(day) for day in days]
        frame = pd.concat(
            [pd.DataFrame({"subject_id": [], "requested_us": [], "probability": [], "label": []}), *parts]
        )
        frame["requested_at"] = pd.to_datetime(_moments(frame["requested_us"].to_numpy(np.int64))).tz_localize("UTC")
        frame = frame.astype({"label": bool})[["subject_id", "requested_at", "probability", "label"]]
        return frame.sort_values(["requested_at", "subject_id"], ignore_index=True)


class _Spine:
    """The requests that ``requests.sql`` makes, with what only the world knows."""

    def __init__(self, world: World) -> None:
        self.world = world
        # The lower half of the digest, as DuckDB's md5_number_lower reads it.
        digests = (hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:] for text in world.ids)
        number = np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)
        self.weekday = (number % np.uint64(WEEK_DAYS)).astype(np.int64)
        self.second = (number // np.uint64(WEEK_DAYS) % np.uint64(DAY_S)).astype(np.int64)
        self.known_us = self._first_receipt("subscriptions")
        self.ended_us = self._first_receipt("cancellations")

    def of_day(self, day: int) -> pd.DataFrame:
        """Requests of one day."""
        start_us = day * DAY_S * MICROSECONDS
        requested_us = start_us + self.second * MICROSECONDS
        weekday = (day + (FIRST_DAY - date(1970, 1, 1)).days) % WEEK_DAYS
        is_asked = (self.weekday == weekday) & (self.known_us <= start_us) & (self.ended_us > requested_us)
        who = np.flatnonzero(is_asked)
        horizon_us = HORIZON_DAYS * DAY_S * MICROSECONDS
        # A cancellation comes in half its longest delay after it happens, on average.
        since = self.second[who] - CANCELLATION_DELAY_S / 2 - CANCELS_FROM_S
        probability = cancels_within(
            self.world.customers.take(who),
            self.world.moods[day, who],
            self.world.calendar,
            day,
            np.clip(since / (CANCELS_UNTIL_S - CANCELS_FROM_S), 0.0, 1.0),
            HORIZON_DAYS,
        )
        return pd.DataFrame(
            {
                "subject_id": self.world.ids[who],
                "requested_us": requested_us[who],
                "probability": probability,
                "label": self.ended_us[who] <= requested_us[who] + horizon_us,
            }
        )

    def _first_receipt(self, kind: str) -> Ints:
        frame = self.world.deliveries[kind].frame
        first = np.full(len(self.world.customers), NEVER_US)
        np.minimum.at(first, frame["customer"].to_numpy(), frame["received_us"].to_numpy())
        return first


def _moments(microseconds: Ints) -> "np.ndarray[Any, np.dtype[np.datetime64]]":
    moments: np.ndarray[Any, np.dtype[np.datetime64]] = ORIGIN + microseconds.astype("timedelta64[us]")
    return moments


def _levels(codes: "pd.Series[int] | np.ndarray[Any, Any]", levels: Sequence[str]) -> "np.ndarray[Any, Any]":
    named: np.ndarray[Any, Any] = np.array(levels, dtype=object)[np.asarray(codes)]
    return named


def _rows(kind: str, part: pd.DataFrame, world: World) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_id": [f"{kind}-{number}" for number in part["number"].tolist()],
            "event_at": _moments(part["event_us"].to_numpy()),
            "received_at": _moments(part["received_us"].to_numpy()),
            "customer_id": world.ids[part["customer"]],
            **_PAYLOADS[kind](part, world.customers),
            "schema_version": 1,
        }
    )


def _subscription(part: pd.DataFrame, customers: Customers) -> dict[str, Any]:
    who = part["customer"].to_numpy().astype(np.int64)
    signed_up_us = (customers.signed_up_on[who] * DAY_S + signup_second(who)) * MICROSECONDS
    method = _levels(customers.payment_method[who], events.PAYMENT_METHODS)
    method[part["is_renamed"].to_numpy() & (method == RENAMED[0])] = RENAMED[1]
    return {
        "change": _levels(part["change"], events.CHANGES),
        "signed_up_at": _moments(signed_up_us),
        "age_band": _levels(customers.age_band[who], events.AGE_BANDS),
        "region": _levels(part["region"], events.REGIONS),
        "plan_type": _levels(customers.plan_type[who], events.PLANS),
        "contract_type": _levels(customers.contract_type[who], events.CONTRACTS),
        "payment_method": method,
        "acquisition_channel": _levels(customers.acquisition_channel[who], events.CHANNELS),
    }


def _ticket(part: pd.DataFrame, _customers: Customers) -> dict[str, Any]:
    hours = part["resolution_hours"]
    return {
        "ticket_id": [f"ticket-{number}" for number in part["ticket"].tolist()],
        "status": np.where(hours.isna(), "opened", "resolved").astype(object),
        "resolution_hours": hours.to_numpy(),
    }


_PAYLOADS: dict[str, Callable[[pd.DataFrame, Customers], dict[str, Any]]] = {
    "subscriptions": _subscription,
    "cancellations": lambda part, _: {"reason": _levels(part["reason"], events.REASONS)},
    "logins": lambda part, _: {"is_mobile": part["is_mobile"].to_numpy()},
    "sessions": lambda part, _: {name: part[name].to_numpy() for name in ("duration_min", "pages")},
    "transactions": lambda part, _: {
        "amount": part["amount"].to_numpy(),
        "status": _levels(part["is_failed"].astype(np.int8), events.STATUSES),
    },
    "support_tickets": _ticket,
    "surveys": lambda part, _: {"score": part["score"].to_numpy()},
}

SIMULATION = Simulation(
    open=ChurnSimulator,
    default=SimulationPlan(
        n_entities=2_000,
        drifts=(DriftInjection(kind="covariate", start=date(2024, 6, 24), size=0.5, shape="sudden"),),
    ),
    entities="customers",
    effects=EFFECTS,
    can_go_on=True,
)
