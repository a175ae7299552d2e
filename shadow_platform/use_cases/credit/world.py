"""The simulated world of loans: who begins an application, what is true of them, who is approved and who defaults.

Belongs here: the truth, one row a case. Does not belong here: what of it becomes an event and when it is received
(simulator). Upstream: a simulation plan. Downstream: simulator.

A case is an application that was begun: the bureau is asked at once, and most cases are submitted some hours or days
later. Every draw is made whatever the plan's drifts are, so that two plans of one seed tell the same story up to the
first day of a drift.
"""

from datetime import date
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.simulation import DriftKind, SimulationPlan
from shadow_platform.use_case_kit.simulating import Floats, generator, intensities

FIRST_DAY = date(2023, 1, 1)
N_DAYS = 600
CASES_PER_APPLICANT_DAY = 1 / 250
WEEKDAY = np.array([1.25, 1.2, 1.1, 1.1, 1.0, 0.75, 0.6])
"""Monday to Sunday, relative number of cases."""
SEASON = 0.15
"""Height of the yearly wave of cases, which peaks in mid-January when the bills of the holidays come."""
ACTIVE_DAYS = 365
"""Days in which a person may apply: people come and go, so that the crowd as a whole does not grow older."""
SUBMITTED_SHARE = 0.85
LEAD_MIN_S, LEAD_MEAN_S, LEAD_MAX_S = 3_600, 15 * 3_600, 14 * 86_400
"""From the beginning of a case to its submission."""
SCORE_MEAN, SCORE_SD = 665.0, 70.0
STATUSES = np.array(["no_accounts", "current", "late_30", "late_60", "charge_off"])
EARLY_DAYS, LATE_DAYS = (32.0, 80.0), (96.0, 240.0)
"""Days from submission to a default within the horizon and behind it; between them lies the time of its report."""
DAY_S = 86_400

Bools = npt.NDArray[np.bool_]


@lru_cache(maxsize=2)
def cases(plan: SimulationPlan) -> pd.DataFrame:
    """Every case of the world in order of its beginning, one row a case. Callers must not change the frame.

    Times are naive UTC at whole seconds. Columns: people's traits, what they state, what the bureau holds;
    ``is_approved`` by the lender; ``probability`` of a default within the horizon, given all of this and what nobody
    sees; ``has_default``, also where the lender rejects; ``defaulted_at``, NaT if never.
    """
    frame = _begun(plan)
    frame = frame.join(_people(plan).iloc[frame["applicant"]].reset_index(drop=True))
    frame = frame.join(_stated(plan, frame))
    frame = frame.join(_reported(plan, frame))
    frame["is_approved"] = _is_approved(plan, frame)
    frame["probability"] = _sigmoid(_log_odds(plan, frame))
    return frame.join(_outcome(plan, frame))


def strength(plan: SimulationPlan, kind: DriftKind, times: "pd.Series[pd.Timestamp]") -> Floats:
    """Strength of one kind of drift at each time."""
    of_day = intensities(plan, kind, FIRST_DAY, N_DAYS + LEAD_MAX_S // DAY_S + 2)
    result: Floats = of_day[(times - pd.Timestamp(FIRST_DAY)).dt.days.to_numpy()]
    return result


def _sigmoid(log_odds: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-log_odds))
    return result


def _begun(plan: SimulationPlan) -> pd.DataFrame:
    rng = generator(plan, "cases")
    assert plan.n_entities is not None
    days = pd.date_range(FIRST_DAY, periods=N_DAYS)
    wave = 1 + SEASON * np.cos(2 * np.pi * (days.dayofyear.to_numpy() - 15) / 365.25)
    n_of_day = rng.poisson(plan.n_entities * CASES_PER_APPLICANT_DAY * WEEKDAY[days.dayofweek.to_numpy()] * wave)
    n = int(n_of_day.sum())
    second = (DAY_S * rng.beta(4.5, 3.6, n)).astype(np.int64)
    begun_at = np.repeat(days.to_numpy(), n_of_day) + second.astype("timedelta64[s]")
    place = (np.repeat(np.arange(N_DAYS), n_of_day) + ACTIVE_DAYS * rng.random(n)) / (N_DAYS + ACTIVE_DAYS)
    lead_s = np.minimum(LEAD_MIN_S + rng.exponential(LEAD_MEAN_S, n), LEAD_MAX_S).astype("timedelta64[s]")
    frame = pd.DataFrame(
        {
            "applicant": (plan.n_entities * place).astype(np.int64),
            "begun_at": begun_at.astype("datetime64[us]"),
            "submitted_at": (begun_at + lead_s).astype("datetime64[us]"),
            "is_submitted": rng.random(n) < SUBMITTED_SHARE,
        }
    )
    return frame.sort_values(["begun_at", "applicant"], kind="stable", ignore_index=True)


def _people(plan: SimulationPlan) -> pd.DataFrame:
    """Traits that a person keeps; ``discipline`` is seen by nobody, and shows in the score and the bureau's file."""
    rng = generator(plan, "people")
    n = plan.n_entities or 0
    age = 18 + 57 * rng.beta(1.6, 2.6, n)
    discipline = rng.normal(size=n)
    career = np.minimum(age - 18, 25) / 25
    job_years = np.minimum(np.exp(rng.normal(2.2, 0.8, n)), age - 17.5)
    return pd.DataFrame(
        {
            "active_from": np.arange(n) / max(n, 1) * (N_DAYS + ACTIVE_DAYS) - ACTIVE_DAYS,
            "first_age": age,
            "discipline": discipline,
            "job_years": job_years,
            "first_job_place": rng.random(n),
            "usual_income": np.exp(rng.normal(10.45, 0.42, n)) * (0.75 + 0.5 * career) * np.exp(0.08 * discipline),
            "score_place": 0.72 * discipline + 0.69 * rng.normal(size=n),
        }
    )


def _stated(plan: SimulationPlan, frame: pd.DataFrame) -> pd.DataFrame:
    """What the applicant states: all of it true."""
    rng, n = generator(plan, "stated"), len(frame)
    worse = strength(plan, "covariate", frame["submitted_at"])
    years = ((frame["submitted_at"] - pd.Timestamp(FIRST_DAY)).dt.days - frame["active_from"]) / 365.25
    income = frame["usual_income"] * np.exp(rng.normal(0, 0.06, n)) * (1 - 0.35 * worse)
    score = SCORE_MEAN + SCORE_SD * frame["score_place"] + rng.normal(0, 8, n)
    return pd.DataFrame(
        {
            "age": np.floor(frame["first_age"] + years).astype("int64"),
            "income": np.maximum(income.round(-2), 3_000.0),
            "credit_score": score.round().clip(300, 850).astype("int64"),
            "employment_years": (
                (frame["first_job_place"] + years / frame["job_years"]) % 1 * frame["job_years"]
            ).round(1),
        }
    )


def _reported(plan: SimulationPlan, frame: pd.DataFrame) -> pd.DataFrame:
    """What the bureau holds when the case is begun."""
    rng, n = generator(plan, "bureau"), len(frame)
    worse, care = strength(plan, "covariate", frame["begun_at"]), frame["discipline"].to_numpy()
    age = frame["first_age"].to_numpy()
    accounts = rng.poisson(1.5 + 0.09 * (age - 18))
    used = 100 * _sigmoid(-0.5 - 0.6 * care + 1.0 * worse + rng.normal(0, 0.9, n))
    utilisation = np.where(accounts > 0, used, 0.0).round(1)
    delinquencies = np.where(accounts > 0, rng.poisson(np.exp(-1.3 - 0.8 * care)), 0)
    burden = np.exp(rng.normal(-1.0, 0.6, n)) * (0.5 + utilisation / 60) * (1 + 0.8 * worse)
    worst = 1 + np.minimum(delinquencies, 2) + ((delinquencies > 1) & (rng.random(n) < 0.3))
    months = 12 * np.maximum(age - 18, 0.5) * rng.beta(2.0, 1.6, n)
    return pd.DataFrame(
        {
            "open_accounts": accounts,
            "utilisation": utilisation,
            "inquiries_6m": rng.poisson(np.exp(0.2 - 0.35 * care + 0.6 * worse)),
            "delinquencies_2y": delinquencies,
            "oldest_account_months": np.where(accounts > 0, months, 0).astype("int64"),
            "total_debt": np.where(accounts > 0, frame["usual_income"] * burden, 0.0).round(0),
            "worst_status": STATUSES[np.where(accounts > 0, worst, 0)],
        }
    )


def _is_approved(plan: SimulationPlan, frame: pd.DataFrame) -> Bools:
    """The lender's older scorecard: score and income, and a person's judgement."""
    judgement = generator(plan, "judgement").normal(0, 0.35, len(frame))
    points = (frame["credit_score"] - 620) / 60 + np.log(frame["income"] / 30_000) + judgement
    result: Bools = (points > 0).to_numpy(dtype=bool)
    return result


def _log_odds(plan: SimulationPlan, frame: pd.DataFrame) -> Floats:
    """Log odds of a default within the horizon, from what is stated, what is reported, and what nobody sees."""
    rng, at = generator(plan, "hidden"), frame["submitted_at"]
    burden = (frame["total_debt"] / frame["income"]).to_numpy()
    is_new = (frame["employment_years"] < 2).to_numpy()
    is_hungry = (frame["utilisation"] > 60).to_numpy() & (frame["inquiries_6m"] >= 2).to_numpy()
    age = frame["age"].to_numpy()
    result: Floats = (
        -2.75
        - 1.0 * np.tanh((frame["credit_score"].to_numpy() - 650) / 50)
        - 0.25 * frame["discipline"].to_numpy()
        + 1.5 * np.clip(burden - 0.5, 0.0, 1.0)
        + 1.3 * is_hungry
        + 1.1 * (is_new & (burden > 0.35))
        + 0.35 * np.minimum(frame["delinquencies_2y"].to_numpy(), 3)
        + 0.6 * (age < 25)
        + 0.3 * (age >= 60)
        - 0.4 * np.log(frame["income"].to_numpy() / 40_000)
        + rng.normal(0, 0.5, len(frame))
        + 1.2 * strength(plan, "label", at)
        + 2.5 * strength(plan, "concept", at) * is_new
    )
    return result


def _outcome(plan: SimulationPlan, frame: pd.DataFrame) -> pd.DataFrame:
    """Whether and when a loan defaults; half as many again default after the horizon, which is no positive label."""
    rng, n = generator(plan, "outcome"), len(frame)
    chance, probability = rng.random(n), frame["probability"].to_numpy()
    early = rng.uniform(*EARLY_DAYS, n)
    late = rng.uniform(*LATE_DAYS, n)
    has_default = chance < probability
    offset_s = np.where(has_default, early, late) * DAY_S
    defaulted_at = frame["submitted_at"] + pd.to_timedelta(offset_s.astype(np.int64), unit="s")
    return pd.DataFrame({"has_default": has_default, "defaulted_at": defaulted_at.where(chance < 1.5 * probability)})
