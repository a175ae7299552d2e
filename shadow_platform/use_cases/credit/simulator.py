"""The simulated lender as a source of events: what a real one would know of its loans, when it would know it.

Belongs here: which part of the world becomes an event, delays, late rows, duplicates and bad recording. Does not belong
here: the world, validation (the events stage). Upstream: world. Downstream: landing of raw events; tests and benchmarks
for the truth.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator, rows_received
from shadow_platform.use_cases.credit.world import DAY_S, FIRST_DAY, N_DAYS, cases, strength

SCHEMA_VERSION = 1
END = pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=N_DAYS)
NO_REPORT_SHARE = 0.015
PAPER_SHARE = 0.02
LATE_REPORT_SHARE = 0.005
SENT_TWICE_SHARE = 0.002
THOUSANDS_SHARE = 0.6
"""Share of applications whose income is in thousands at full quality drift: those of one partner."""
UNREAD_SHARE = 0.3
"""Share of reports without utilisation at full quality drift."""
RENAMED = {"late_30": "dpd_30", "late_60": "dpd_60"}


class CreditSimulator:
    """Events of a plan by the UTC day on which they were received, and the truth behind them."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan

    @property
    def plan(self) -> SimulationPlan:
        """The plan it plays, complete."""
        return self._plan

    def first_day(self) -> date:
        """First day with events."""
        return FIRST_DAY

    def last_day(self) -> date:
        """Last day with events."""
        return FIRST_DAY + timedelta(days=N_DAYS - 1)

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, in order of receipt."""
        return {kind: rows_received(frame, day) for kind, frame in events(self._plan).items()}

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        """True probability of default and true outcome of every request of ``[start, end)``, also of rejected ones."""
        asked = _applications(self._plan)
        is_asked = (asked["received_at"] >= pd.Timestamp(start)) & (asked["received_at"] < pd.Timestamp(end))
        asked = asked[is_asked & (asked["received_at"] < END)].sort_values(["received_at", "applicant_id"])
        truth = cases(self._plan).loc[asked.index]
        return pd.DataFrame(
            {
                "subject_id": asked["applicant_id"],
                "requested_at": asked["received_at"].dt.tz_localize("UTC"),
                "probability": truth["probability"],
                "label": truth["has_default"],
            }
        ).reset_index(drop=True)


@lru_cache(maxsize=2)
def events(plan: SimulationPlan) -> Mapping[str, pd.DataFrame]:
    """Frames of all events of a plan by kind, sorted by ``received_at``; naive UTC. Callers must not change them."""
    frames = {
        "applications": _applications(plan),
        "bureau_reports": _bureau_reports(plan),
        "decisions": _decisions(plan),
        "defaults": _defaults(plan),
    }
    return {kind: _delivered(_some_sent_twice(plan, kind, frame)) for kind, frame in frames.items()}


def _delivered(frame: pd.DataFrame) -> pd.DataFrame:
    in_time = frame[frame["received_at"] < END]
    in_order = in_time.sort_values(["received_at", "event_id"], kind="stable", ignore_index=True)
    return in_order.assign(schema_version=SCHEMA_VERSION)


def _event(
    prefix: str,
    truth: pd.DataFrame,
    event_at: "pd.Series[pd.Timestamp]",
    delay_s: Floats,
    **payload: object,
) -> pd.DataFrame:
    received_at = event_at + pd.to_timedelta(delay_s.astype(np.int64), unit="s")
    ids = truth["applicant"].astype(str).str.zfill(5)
    times = {"event_at": event_at, "received_at": received_at.astype("datetime64[us]")}
    numbers = pd.Series(truth.index.astype(str), truth.index).str.zfill(7)
    return pd.DataFrame({"event_id": prefix + numbers, **times, "applicant_id": "APP_" + ids, **payload})


def _loan(truth: pd.DataFrame) -> "pd.Series[str]":
    return "LOAN_" + pd.Series(truth.index.astype(str), truth.index).str.zfill(7)


def _submitted(plan: SimulationPlan) -> pd.DataFrame:
    truth = cases(plan)
    return truth[truth["is_submitted"]]


@lru_cache(maxsize=2)
def _applications(plan: SimulationPlan) -> pd.DataFrame:
    """Applications as received, indexed as their cases; one a person and second."""
    truth, rng = _submitted(plan), generator(plan, "applications")
    delay_s = np.where(rng.random(len(truth)) < PAPER_SHARE, rng.uniform(1, 4, len(truth)) * DAY_S, 0.0)
    in_thousands = rng.random(len(truth)) < THOUSANDS_SHARE * strength(plan, "quality", truth["submitted_at"])
    frame = _event(
        "application:",
        truth,
        truth["submitted_at"],
        delay_s,
        application_id=_loan(truth),
        age=truth["age"],
        income=truth["income"].where(~in_thousands, truth["income"] / 1_000),
        credit_score=truth["credit_score"],
        employment_years=truth["employment_years"],
    )
    return frame.drop_duplicates(["applicant_id", "received_at"])


def _bureau_reports(plan: SimulationPlan) -> pd.DataFrame:
    truth, rng = cases(plan), generator(plan, "bureau reports")
    n, bad = len(truth), strength(plan, "quality", truth["begun_at"])
    is_late = rng.random(n) < LATE_REPORT_SHARE
    delay_s = np.where(is_late, rng.uniform(2, 10, n) * DAY_S, rng.exponential(90, n).clip(2, 1_800))
    is_unread, is_renamed = rng.random(n) < UNREAD_SHARE * bad, rng.random(n) < bad
    status = truth["worst_status"]
    frame = _event(
        "report:",
        truth,
        truth["begun_at"],
        delay_s,
        open_accounts=truth["open_accounts"],
        utilisation_pct=truth["utilisation"].mask(is_unread),
        inquiries_6m=truth["inquiries_6m"],
        delinquencies_2y=truth["delinquencies_2y"],
        oldest_account_months=truth["oldest_account_months"],
        total_debt=truth["total_debt"],
        worst_status=status.mask(is_renamed, status.replace(RENAMED)),
    )
    return frame[rng.random(n) >= NO_REPORT_SHARE]


def _decisions(plan: SimulationPlan) -> pd.DataFrame:
    truth, rng = _submitted(plan), generator(plan, "decisions")
    reached = _applications(plan)["received_at"]
    truth = truth.loc[reached.index]
    decided_at = reached + pd.to_timedelta((600 + rng.exponential(9 * 3_600, len(truth))).astype(np.int64), unit="s")
    words = pd.Series(np.where(truth["is_approved"], "approved", "rejected"), truth.index)
    delay_s = rng.uniform(1, 120, len(truth))
    return _event("decision:", truth, decided_at, delay_s, application_id=_loan(truth), decision=words)


def _defaults(plan: SimulationPlan) -> pd.DataFrame:
    truth, rng = cases(plan), generator(plan, "defaults")
    n = len(truth)
    reported = _event(
        "default:",
        truth,
        truth["defaulted_at"].fillna(END),
        rng.exponential(0.8, n).clip(0.01, 8) * DAY_S,
        application_id=_loan(truth),
        days_past_due=rng.integers(30, 60, n),
        outstanding=rng.lognormal(8.6, 0.7, n).round(2),
    )
    return reported[truth["is_submitted"] & truth["is_approved"] & truth["defaulted_at"].notna()]


def _some_sent_twice(plan: SimulationPlan, kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame and, for a few rows, the same message again some minutes or hours later."""
    rng, n = generator(plan, "sent twice", kind), len(cases(plan))
    is_twice, delay_s = rng.random(n) < SENT_TWICE_SHARE, 60 + rng.exponential(4 * 3_600, n).astype(np.int64)
    again = frame[is_twice[frame.index]]
    delay = pd.to_timedelta(delay_s[again.index], unit="s").astype("timedelta64[us]")
    return pd.concat([frame, again.assign(received_at=again["received_at"] + delay)], ignore_index=True)
