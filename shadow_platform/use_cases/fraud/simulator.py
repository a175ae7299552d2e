"""The simulated payment gateway: what it records of the world and when, chargebacks included, and the truth behind it.

Belongs here: ids, units, nulls, delays, duplicates, chargebacks; the true probability of every label. Does not belong
here: who pays what (``world``), who steals (``patterns``). Upstream: world, patterns. Downstream: raw events.

The recorded world is not interactive: it holds the chargeback of a fraudulent payment whatever a champion would have
done about it. The platform hides the label of a payment that it blocked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator, rows_received
from shadow_platform.use_cases.fraud.events import CHARGEBACKS, TRANSACTIONS
from shadow_platform.use_cases.fraud.patterns import episodes
from shadow_platform.use_cases.fraud.world import (
    CATEGORIES,
    COUNTRIES,
    DAY_S,
    DEVICES,
    FIRST_DAY,
    HIGHEST_USD,
    LAST_DAY,
    LOWEST_USD,
    N_DAYS,
    WEB,
    Integers,
    Strengths,
    assembled,
    ordinary_payments,
    strengths_of,
    user_ids,
    users_of,
    whereabouts,
)

SCHEMA_VERSION = 1
MEAN_DELAY_S, SHORTEST_DELAY_S = 0.25, 0.05
OFFLINE_SHARE, OFFLINE_S = 0.003, (600.0, 6 * 3_600.0)
DUPLICATE_SHARE, DUPLICATE_WITHIN_S = 0.002, 600.0

CHARGED_BACK_SHARE = 0.90
FRIENDLY_SHARE = 0.0003
SLOW_SHARE, SLOW_DAYS = 0.03, (46.0, 60.0)
CHARGEBACK_DAYS = (5.0, 44.9)

# At full strength of a quality drift: every android is called otherwise, and these shares of the rest go wrong.
RENAMED = "android_app"
NULL_COUNTRY_SHARE = 0.3
CENTS_SHARE = 0.5
CENTS = 100.0

_CROCKFORD = np.array(list("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
_MARKS = ("delay", "offline", "offline_s", "twice", "twice_s", "charged", "slow", "days", "null", "cents", "renamed")
_EPOCH_MS = int(np.datetime64(FIRST_DAY, "ms").astype(np.int64))


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that one plan gives: events by kind, in order of receipt, and the truth about every payment."""

    events: Mapping[str, pd.DataFrame]
    truth: pd.DataFrame


class FraudSimulator:
    """Event source that plays a plan and knows its truth (``contracts.simulation.Simulator``)."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan

    @property
    def plan(self) -> SimulationPlan:
        """The plan it plays."""
        return self._plan

    def first_day(self) -> date:
        """First day with events."""
        return FIRST_DAY

    def last_day(self) -> date:
        """Last day with events."""
        return LAST_DAY

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind."""
        return {kind: rows_received(frame, day) for kind, frame in recorded(self._plan).events.items()}

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        """True probability of a chargeback within the horizon, and the true label, of every payment received.

        Whoever is behind an episode stays open: its boldness is known, the thief is not. No model can do better.
        """
        truth = recorded(self._plan).truth
        first, until = (pd.Timestamp(day, tz="UTC") for day in (start, end))
        return truth[(truth["requested_at"] >= first) & (truth["requested_at"] < until)].reset_index(drop=True)


@lru_cache(maxsize=2)
def recorded(plan: SimulationPlan) -> Recorded:
    """Everything a plan gives, made once a process. Callers must not change the frames."""
    users, strengths = users_of(plan), strengths_of(plan)
    countries = whereabouts(plan, users, strengths)
    parts = [ordinary_payments(plan, users, countries, strengths, day) for day in range(N_DAYS)]
    parts += [episodes(plan, users, strengths, day) for day in range(N_DAYS)]
    paid = assembled(parts)
    # One row of chances a payment, in order of time: what happens later draws later and changes nothing before.
    chances = generator(plan, "recording").random((len(paid), len(_MARKS)))
    marks = dict(zip(_MARKS, chances.T, strict=True))
    received_ms = _received_ms(paid, marks)
    transactions = _transactions(plan, paid, marks, received_ms, strengths)
    chargebacks, is_in_time = _chargebacks(paid, marks, received_ms, transactions)
    suspicion = paid["suspicion"].to_numpy()
    in_time = 1 - SLOW_SHARE
    truth = pd.DataFrame(
        {
            "subject_id": transactions["user_id"],
            "requested_at": transactions["received_at"].dt.tz_localize("UTC"),
            "probability": in_time * (suspicion * CHARGED_BACK_SHARE + (1 - suspicion) * FRIENDLY_SHARE),
            "label": is_in_time,
        }
    )
    delivered = _twice(transactions, marks).assign(schema_version=SCHEMA_VERSION)
    events = {TRANSACTIONS.name: _by_receipt(delivered), CHARGEBACKS.name: _by_receipt(chargebacks)}
    return Recorded(events, truth.sort_values(["requested_at", "subject_id"], kind="stable", ignore_index=True))


def _by_receipt(frame: pd.DataFrame) -> pd.DataFrame:
    within = frame[frame["received_at"] < np.datetime64(LAST_DAY, "us") + np.timedelta64(1, "D")]
    return within.sort_values(["received_at", "event_id"], kind="stable", ignore_index=True)


def _received_ms(paid: pd.DataFrame, marks: Mapping[str, Floats]) -> Integers:
    """Receipt of each payment; no two of one user in the same millisecond, since that names a request."""
    delay_s = SHORTEST_DELAY_S - MEAN_DELAY_S * np.log1p(-marks["delay"])
    offline_s = OFFLINE_S[0] + (OFFLINE_S[1] - OFFLINE_S[0]) * marks["offline_s"]
    delay_s += np.where(marks["offline"] < OFFLINE_SHARE, offline_s, 0.0)
    received = pd.DataFrame({"user": paid["user"], "ms": np.ceil((paid["at_s"] + delay_s) * 1_000).astype(np.int64)})
    while (again := received.duplicated()).any():
        received.loc[again, "ms"] += 1
    return received["ms"].to_numpy()


def _moment(ms: Integers) -> npt.NDArray[np.datetime64]:
    return (ms + _EPOCH_MS).astype("datetime64[ms]").astype("datetime64[us]")


def _transactions(
    plan: SimulationPlan, paid: pd.DataFrame, marks: Mapping[str, Floats], received_ms: Integers, strengths: Strengths
) -> pd.DataFrame:
    at_ms = np.floor(paid["at_s"].to_numpy() * 1_000).astype(np.int64)
    quality = strengths.quality[at_ms // (DAY_S * 1_000)]
    device, country = paid["device"].to_numpy(), COUNTRIES[paid["country"]].astype(object)
    name, amount = DEVICES[device].astype(object), np.clip(paid["amount"].to_numpy(), LOWEST_USD, HIGHEST_USD)
    country[marks["null"] < NULL_COUNTRY_SHARE * quality] = None
    name[(name == "android") & (marks["renamed"] < quality)] = RENAMED
    is_in_cents = (device == WEB) & (marks["cents"] < CENTS_SHARE * quality)
    return pd.DataFrame(
        {
            "event_id": ulids(at_ms + _EPOCH_MS, generator(plan, "ids")),
            "user_id": user_ids(paid["user"].to_numpy()),
            "transaction_amount": np.round(amount, 2) * np.where(is_in_cents, CENTS, 1.0),
            "country": country,
            "device": name,
            "merchant_id": np.char.add("merchant-", np.char.zfill(paid["merchant"].to_numpy().astype(str), 3)),
            "merchant_category": CATEGORIES[paid["category"]],
            "event_at": _moment(at_ms),
            "received_at": _moment(received_ms),
        }
    )


def ulids(ms: Integers, chance: np.random.Generator) -> npt.NDArray[np.str_]:
    """Lexicographically sortable ids: 48 bits of milliseconds since 1970, 80 bits of chance, in Crockford's base 32."""
    digits = np.empty((len(ms), 26), dtype=np.int64)
    digits[:, :10] = (ms[:, None] >> np.arange(45, -1, -5)) & 31
    digits[:, 10:] = chance.integers(0, 32, (len(ms), 16))
    return np.ascontiguousarray(_CROCKFORD[digits]).view("<U26").ravel()


def _chargebacks(
    paid: pd.DataFrame, marks: Mapping[str, Floats], received_ms: Integers, transactions: pd.DataFrame
) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Chargebacks of the payments that have one, and of which payments it comes within the label's horizon."""
    is_fraud, is_slow = paid["is_fraud"].to_numpy(), marks["slow"] < SLOW_SHARE
    is_charged = marks["charged"] < np.where(is_fraud, CHARGED_BACK_SHARE, FRIENDLY_SHARE)
    soon = CHARGEBACK_DAYS[0] + (CHARGEBACK_DAYS[1] - CHARGEBACK_DAYS[0]) * marks["days"] ** 1.7
    late = SLOW_DAYS[0] + (SLOW_DAYS[1] - SLOW_DAYS[0]) * marks["days"]
    charged_ms = received_ms + (np.where(is_slow, late, soon) * DAY_S * 1_000).astype(np.int64)
    booked_ms = charged_ms - (3_600_000 * (1 + 23 * marks["delay"])).astype(np.int64)
    of = transactions[is_charged]
    frame = pd.DataFrame(
        {
            "event_id": "chargeback-" + of["event_id"],
            "transaction_id": of["event_id"],
            "user_id": of["user_id"],
            "chargeback_amount": of["transaction_amount"],
            "event_at": _moment(booked_ms[is_charged]),
            "received_at": _moment(charged_ms[is_charged]),
            "schema_version": SCHEMA_VERSION,
        }
    )
    return frame, is_charged & ~is_slow


def _twice(transactions: pd.DataFrame, marks: Mapping[str, Floats]) -> pd.DataFrame:
    """The transactions and, below them, the few that are delivered a second time some minutes later."""
    is_twice = marks["twice"] < DUPLICATE_SHARE
    later_ms = (1_000 + 1_000 * DUPLICATE_WITHIN_S * marks["twice_s"][is_twice]).astype(np.int64)
    copies = transactions[is_twice]
    copies = copies.assign(received_at=copies["received_at"] + later_ms.astype("timedelta64[ms]"))
    return pd.concat([transactions, copies], ignore_index=True)
