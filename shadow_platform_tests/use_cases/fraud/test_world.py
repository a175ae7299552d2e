"""The simulated world within stated bounds: rates, rhythms, patterns, delays, and the same bytes for the same seed."""

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_cases.fraud import patterns
from shadow_platform.use_cases.fraud.simulator import ulids
from shadow_platform.use_cases.fraud.world import (
    DEVICES,
    FIRST_DAY,
    LAST_DAY,
    N_DAYS,
    UTC_OFFSETS_H,
    WEB,
    Strengths,
    ordinary_payments,
    users_of,
    whereabouts,
)
from shadow_platform_tests.use_cases.fraud.payments import DAY, FRAUD, world

CALM = Strengths(*(np.zeros(N_DAYS) for _ in range(4)))
MANY = SimulationPlan(n_entities=20_000, drifts=())
HASH_OF_DAYS = """
import hashlib, json
from datetime import date
from shadow_platform.use_cases import load_use_case
source = load_use_case("fraud").source()
rows = [source.received_on(date(2024, month, 17)) for month in (1, 6, 11)]
print(hashlib.sha256(json.dumps(rows).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def paid() -> pd.DataFrame:
    """Payments of a calm world, each once, with the chargeback that came or none, and the truth."""
    made = world(n_entities=2_000)
    once = made.events["transactions"].drop_duplicates("event_id")
    charged = made.events["chargebacks"][["transaction_id", "event_at", "received_at"]]
    frame = once.merge(charged, left_on="event_id", right_on="transaction_id", how="left", suffixes=("", "_charged"))
    truth = made.truth.assign(received_at=made.truth["requested_at"].dt.tz_localize(None))
    return frame.merge(truth, left_on=["user_id", "received_at"], right_on=["subject_id", "received_at"])


@pytest.fixture(scope="module")
def an_evening() -> pd.DataFrame:
    """Ordinary payments of 20,000 users on one day."""
    users = users_of(MANY)
    return pd.DataFrame(ordinary_payments(MANY, users, np.repeat(users.home[:, None], N_DAYS, axis=1), CALM, 10))


@pytest.fixture(scope="module")
def an_episode_each() -> pd.DataFrame:
    """Payments of the episodes of 20,000 users over 20 days."""
    users = users_of(MANY)
    parts = [pd.DataFrame(patterns.episodes(MANY, users, CALM, day)) for day in range(20)]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(home=users.home[frame["user"]], main_device=users.main_device[frame["user"]])


def test_the_same_seed_gives_the_same_bytes_in_two_processes() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", HASH_OF_DAYS], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len(runs[0].stdout.strip()) == 64
    assert runs[0].stdout == runs[1].stdout


def test_one_payment_in_two_hundred_is_charged_back(paid: pd.DataFrame) -> None:
    assert paid["label"].mean() == pytest.approx(0.005, abs=0.0007)
    assert paid["label"].mean() == pytest.approx(paid["probability"].mean(), abs=0.0003)


def test_users_pay_about_ten_times_a_month_and_not_all_alike(paid: pd.DataFrame) -> None:
    per_day = paid.groupby("user_id").size() / N_DAYS
    assert 30 * per_day.mean() == pytest.approx(9.6, abs=0.5)
    assert per_day.quantile(0.9) > 3 * per_day.quantile(0.1)


def test_fridays_are_busier_than_sundays_and_evenings_than_nights(paid: pd.DataFrame, an_evening: pd.DataFrame) -> None:
    by_weekday = paid.groupby(paid["event_at"].dt.dayofweek).size()
    assert 1.25 < by_weekday[4] / by_weekday[6] < 1.60
    local_hour = (an_evening["at_s"] / 3_600 + UTC_OFFSETS_H[an_evening["country"]]) % 24
    assert local_hour.between(17, 20).sum() > 6 * local_hour.between(1, 4).sum()


def test_users_are_mostly_at_home_and_mostly_keep_to_their_device(paid: pd.DataFrame) -> None:
    places = whereabouts(MANY, users_of(MANY), CALM)
    assert np.mean(places != users_of(MANY).home[:, None]) == pytest.approx(0.042, abs=0.01)
    usual = paid.groupby("user_id")["device"].agg(lambda values: values.value_counts(normalize=True).iloc[0])
    assert usual.mean() == pytest.approx(0.89, abs=0.03)


def test_every_pattern_has_its_marks(an_episode_each: pd.DataFrame, an_evening: pd.DataFrame) -> None:
    first = an_episode_each.groupby("suspicion").first()
    last = an_episode_each.groupby("suspicion").last()
    length_s = last["at_s"] - first["at_s"]
    is_testing = (first["device"] == WEB) & (first["amount"] < 3.0) & (length_s > 36_000)
    is_takeover = (first["device"] != first["main_device"]) & first["amount"].between(2.0, 20.0) & ~is_testing
    is_quick = length_s < 7_200
    usual = an_evening["amount"].median()
    assert 0.12 < is_testing.mean() < 0.25
    assert 0.30 < is_takeover.mean() < 0.50
    assert last["amount"][is_testing | is_takeover].median() > 4 * usual
    is_abroad = first["country"] != first["home"]
    assert is_abroad[is_quick & ~is_takeover].mean() > 2 * is_abroad[is_testing].mean()


def test_half_of_the_episodes_are_innocent_and_suspicion_is_calibrated(an_episode_each: pd.DataFrame) -> None:
    episodes = an_episode_each.groupby("suspicion", as_index=False)["is_fraud"].first()
    assert episodes["is_fraud"].mean() == pytest.approx(0.5, abs=0.05)
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        part = episodes[episodes["suspicion"].between(low, high)]
        assert part["is_fraud"].mean() == pytest.approx(part["suspicion"].mean(), abs=0.06)


def test_fraud_is_worth_what_the_costs_say(paid: pd.DataFrame) -> None:
    assert FRAUD.costs is not None
    fraud_usd = paid.loc[paid["label"], "transaction_amount"].mean()
    assert 10 < FRAUD.costs.false_negative - fraud_usd < 35


def test_payments_are_received_at_once_but_for_the_few_of_offline_terminals(paid: pd.DataFrame) -> None:
    delay = (paid["received_at"] - paid["event_at"]).dt.total_seconds()
    assert delay.min() >= 0.05
    assert delay.median() < 0.5
    is_late = delay > 60
    assert is_late.mean() == pytest.approx(0.003, abs=0.001)
    assert delay[is_late].between(600, 6 * 3_600 + 10).all()


def test_few_payments_are_delivered_twice_and_the_second_time_unchanged() -> None:
    sent = world(n_entities=2_000).events["transactions"]
    copies = sent[sent.duplicated("event_id")]
    assert len(copies) / len(sent) == pytest.approx(0.002, abs=0.0006)
    both = copies.merge(sent.drop_duplicates("event_id"), on="event_id", suffixes=("", "_first"))
    waited_s = (both["received_at"] - both["received_at_first"]).dt.total_seconds()
    assert waited_s.between(1, 601).all()
    assert (both["transaction_amount"] == both["transaction_amount_first"]).all()


def test_chargebacks_come_after_5_to_45_days_and_a_few_too_late_to_count(paid: pd.DataFrame) -> None:
    charged = paid.dropna(subset="transaction_id")
    waited = charged["received_at_charged"] - charged["received_at"]
    assert waited.min() >= 5 * DAY
    assert (charged["label"] == (waited <= 45 * DAY)).all()
    assert 0.01 < (waited > 45 * DAY).mean() < 0.06
    assert 14 <= waited.dt.days.median() < 28
    assert (charged["event_at_charged"] < charged["received_at_charged"]).all()
    assert (charged["event_at_charged"] > charged["received_at"]).all()


def test_no_user_has_two_requests_at_one_moment(paid: pd.DataFrame) -> None:
    assert not paid.duplicated(["user_id", "received_at"]).any()
    assert (paid["received_at"].dt.microsecond % 1_000 == 0).all()


def test_the_truth_of_a_period_is_that_of_its_requests() -> None:
    assert FRAUD.simulation is not None
    simulator = FRAUD.simulation.simulator()
    start = date(2024, 3, 4)
    rows = simulator.received_on(start)["transactions"]
    truth = simulator.bayes(start, start + timedelta(days=1))
    first = {row["event_id"]: (row["user_id"], pd.Timestamp(row["received_at"])) for row in reversed(rows)}
    asked = set(truth[["subject_id", "requested_at"]].itertuples(index=False, name=None))
    assert asked <= set(first.values())
    assert len(asked) > 0.99 * len(first)


def test_ids_sort_by_time_and_are_unique() -> None:
    ms = np.array([0, 1, 1_469_918_176_385, 1_469_918_176_385, (1 << 48) - 1])
    made = ulids(ms, np.random.default_rng(0))
    assert list(made) != sorted(made, reverse=True)
    assert [text[:10] for text in made[2:4]] == ["01ARYZ6S41"] * 2
    assert made[4].startswith("7ZZZZZZZZZ")
    assert len(set(made)) == len(made)


def test_the_world_lasts_as_long_as_its_partitions() -> None:
    assert FRAUD.first_partition == FIRST_DAY
    assert FRAUD.last_partition == LAST_DAY
    assert set(world(n_entities=2_000).events["transactions"]["device"]) == set(DEVICES)
