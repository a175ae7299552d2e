"""The simulated telecom company: rates, delays, rhythms and truth within stated bounds, and the same each time."""

import hashlib
import json
import subprocess
import sys
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.testing.tables import validated
from shadow_platform.use_cases.churn import USE_CASE
from shadow_platform.use_cases.churn.customers import FIRST_DAY, HISTORY_DAYS, N_DAYS
from shadow_platform.use_cases.churn.simulator import SIMULATION, ChurnSimulator

PLAN = SimulationPlan(seed=3, n_entities=2_000, drifts=())
DAY_S = 86_400
KINDS = {kind.name: kind for kind in USE_CASE.events}


@cache
def events(kind: str) -> pd.DataFrame:
    """All rows of one kind of the world of ``PLAN``."""
    source = ChurnSimulator(PLAN)
    delivery = source.world.deliveries[kind].frame
    at = delivery["event_us"] / 1e6
    return delivery.assign(day=at // DAY_S, delay_s=delivery["received_us"] / 1e6 - at, date=_dates(at))


def _dates(seconds: "pd.Series[float]") -> "pd.Series[pd.Timestamp]":
    return pd.Timestamp(FIRST_DAY) + pd.to_timedelta(seconds // DAY_S, unit="D")


def _live(kind: str) -> pd.DataFrame:
    frame = events(kind)
    return frame[frame["day"] >= 0]


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    """Every request with a matured label."""
    return ChurnSimulator(PLAN).bayes(FIRST_DAY, FIRST_DAY + timedelta(days=N_DAYS - 31))


DIGEST = """
import hashlib, json, sys
from datetime import date, timedelta
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_cases.churn.simulator import SIMULATION
source = SIMULATION.simulator(SimulationPlan.model_validate_json(sys.argv[1]))
days = (date(2024, 1, 1) + timedelta(days=n) for n in (0, 1, 77, 259))
print(hashlib.sha256(json.dumps([source.received_on(day) for day in days]).encode()).hexdigest())
"""


def test_the_same_plan_gives_the_same_bytes_in_another_process() -> None:
    plan = SimulationPlan(seed=11, n_entities=150)
    days = [FIRST_DAY + timedelta(days=n) for n in (0, 1, 77, 259)]
    source = SIMULATION.simulator(plan)
    here = hashlib.sha256(json.dumps([source.received_on(day) for day in days]).encode()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST, plan.model_dump_json()], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


@pytest.mark.parametrize("day", [0, 1, 100, N_DAYS - 1])
def test_rows_keep_their_schema_and_come_in_order_of_receipt(day: int) -> None:
    rows = ChurnSimulator(PLAN).received_on(FIRST_DAY + timedelta(days=day))
    for name, kind in KINDS.items():
        assert rows[name]
        assert validated(kind, rows[name])[1].empty
        times = [row["received_at"] for row in rows[name]]
        assert times == sorted(times)
        assert all(row["event_at"] <= row["received_at"] for row in rows[name])


def test_the_number_of_customers_stays_within_a_tenth() -> None:
    bills = _live("subscriptions").query("change < 2")
    active = bills.groupby(bills["day"] // 30)["customer"].nunique().iloc[:8]
    assert active.between(0.9 * active.iloc[0], 1.1 * active.iloc[0]).all()
    assert 1_800 < active.iloc[0] < 2_500


def test_between_four_and_seven_of_a_hundred_requests_are_followed_by_a_cancellation(truth: pd.DataFrame) -> None:
    monthly = truth.groupby(truth["requested_at"].dt.month)["label"].mean()
    assert monthly.between(0.035, 0.075).all()
    assert 0.04 < truth["label"].mean() < 0.07


def test_the_truth_is_calibrated_and_neither_trivial_nor_hopeless(truth: pd.DataFrame) -> None:
    deciles = truth.groupby(pd.qcut(truth["probability"], 10, labels=False))[["probability", "label"]].mean()
    assert (deciles["probability"] - deciles["label"]).abs().max() < 0.025
    assert 0.82 < roc_auc_score(truth["label"], truth["probability"]) < 0.95


def test_the_truth_at_the_end_of_the_day_knows_more_than_the_last_day(truth: pd.DataFrame) -> None:
    """Who is asked about late in the day has survived that day's cancellations, which the truth accounts for."""
    hour = truth["requested_at"].dt.hour
    for part in (hour < 8, hour.between(8, 19), hour >= 20):
        asked = truth[part]
        assert asked["probability"].mean() == pytest.approx(asked["label"].mean(), abs=0.008)


def test_behaviour_declines_before_a_cancellation_except_on_business_plans() -> None:
    world = ChurnSimulator(PLAN).world
    ended = events("cancellations").set_index("customer")["day"]
    logins = _live("logins")
    before = ended.reindex(logins["customer"]).to_numpy() - logins["day"].to_numpy()
    is_business = world.customers.plan_type[logins["customer"]] == 3
    leavers = ended[ended > 100].index.to_numpy()
    for of_business in (False, True):
        rows = before[is_business == of_business]
        late, early = ((rows >= a) & (rows < b) for a, b in ((1, 8), (90, 97)))
        n_leavers = (world.customers.plan_type[leavers] == 3).sum()
        assert n_leavers > 20
        ratio = late.sum() / early.sum()
        assert ratio > 1.2 if of_business else ratio < 0.75


def _per_day(frame: pd.DataFrame) -> tuple["pd.Series[int]", pd.DatetimeIndex]:
    days = pd.date_range(FIRST_DAY, periods=N_DAYS)
    return frame.groupby("date").size().reindex(days, fill_value=0), days


def test_months_and_weeks_have_their_rhythm() -> None:
    top_ups, days = _per_day(_live("transactions").query("amount not in [19, 35, 60, 95]"))
    is_payday = (days.day >= 25) | (days.day <= 3)
    assert 2.2 < top_ups[is_payday].mean() / top_ups[~is_payday].mean() < 3.4
    logins = _live("logins")
    visits, _ = _per_day(logins[ChurnSimulator(PLAN).world.customers.plan_type[logins["customer"]] == 3])
    is_weekend = days.dayofweek >= 5
    assert 0.2 < visits[is_weekend].mean() / visits[~is_weekend].mean() < 0.4
    ends, _ = _per_day(_live("cancellations"))
    is_month_end = days.day >= 27
    assert 1.05 < ends[is_month_end].mean() / ends[~is_month_end].mean() < 1.7


def test_bills_come_every_30_days_and_some_fail() -> None:
    renewals = _live("subscriptions").query("change == 1").sort_values("day")
    assert set(renewals.groupby("customer")["day"].diff().dropna()) == {30}
    bills = _live("transactions").query("amount in [19, 35, 60, 95]")
    assert 0.03 < bills["is_failed"].mean() < 0.08


def test_delays_are_those_of_phones_and_a_few_rows_come_twice() -> None:
    for kind in ("logins", "sessions"):
        delay = _live(kind)["delay_s"]
        assert delay.min() >= 0
        assert 0.006 < (delay > 3_600).mean() < 0.014
        assert delay.max() < 3 * DAY_S
        assert 45 < delay.median() < 90
    sessions = _live("sessions")
    assert 0.0005 < sessions["number"].duplicated().mean() < 0.004
    cancellations = _live("cancellations")["delay_s"]
    assert cancellations.between(0, 600).all()
    others = set(KINDS) - {"sessions"}
    assert not any(events(kind)["number"].duplicated().any() for kind in others)


def test_the_first_delivery_holds_90_days_of_those_who_are_customers_then() -> None:
    source = ChurnSimulator(PLAN)
    first = source.world.deliveries["logins"].received_on(0)
    assert -HISTORY_DAYS * DAY_S * 1e6 <= first["event_us"].min() < -(HISTORY_DAYS - 1) * DAY_S * 1e6
    ended = events("cancellations")
    assert ended["event_us"].min() >= 0
    known = set(source.world.deliveries["subscriptions"].received_on(0)["customer"])
    assert set(first["customer"]) <= known
    assert source.received_on(FIRST_DAY - timedelta(days=1))["logins"] == []


def test_nothing_is_said_of_a_customer_before_the_sign_up_or_long_after_the_cancellation() -> None:
    world = ChurnSimulator(PLAN).world
    ended = events("cancellations").set_index("customer")["event_us"]
    for kind in ("logins", "transactions", "surveys", "subscriptions"):
        frame = events(kind)
        assert (frame["day"] >= world.customers.signed_up_on[frame["customer"]]).all()
        after = frame["event_us"].to_numpy() - ended.reindex(frame["customer"]).to_numpy()
        assert np.nanmax(after) < 1e6


def test_ids_look_like_the_documented_one() -> None:
    ids = ChurnSimulator(PLAN).world.ids
    assert ids[0] == "CUST_00001"
    assert len(set(ids)) == len(ids)


def test_the_world_lasts_long_enough_to_train_serve_and_wait_for_labels() -> None:
    source = ChurnSimulator(PLAN)
    assert (source.first_day(), source.last_day()) == (USE_CASE.first_partition, USE_CASE.last_partition)
    assert USE_CASE.demo is not None
    trained_on = USE_CASE.demo.serve_from - USE_CASE.training.window
    assert trained_on >= date(2024, 1, 2)
    assert USE_CASE.demo.judged_at >= USE_CASE.demo.serve_until + USE_CASE.label.horizon
