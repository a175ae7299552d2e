"""How often a clean stream raises an alarm, counted by simulation: days that differ, small days, rare events."""

from collections import Counter
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.use_case import DataQualityPolicy, Feature, FeatureView
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.quality import (
    Finding,
    count_frame,
    judge_duplicates,
    judge_event_silence,
    judge_features,
    judge_views,
    judge_volume,
)

POLICY = DataQualityPolicy()
VIEW = FeatureView("history", "user_id", timedelta(days=3), timedelta(days=7), "SELECT 1", "What they did")
FEATURES = (
    Feature("amount", "What is paid", low=0, high=1_000),
    Feature("country", "Where", kind="categorical"),
    Feature("visits_7d", "Visits", view="history", low=0),
    Feature("basket_7d", "Mean basket", view="history", low=0),
)
FIRST, N_DAYS, N_STREAMS = date(2024, 1, 1), 60, 17
WEEK = np.array([1.1, 1.0, 1.0, 1.05, 1.3, 0.6, 0.5])
HOURS = np.clip(np.sin(np.linspace(-0.6, np.pi + 0.6, 24)), 0.05, None)
MAX_RATE = 0.01


def requests(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Requests of a clean day; what is missing differs from day to day by more than chance."""
    is_missing = rng.random((n, 2)) < rng.beta([4, 10], [96, 90])
    out = rng.random(n) < 0.0003
    countries = rng.choice(["ES", "FR", "PT", "AD"], n, p=(0.5, 0.3, 0.19, 0.01)).astype(object)
    return pd.DataFrame(
        {
            "amount": np.where(is_missing[:, 0], np.nan, np.where(out, -1.0, 10.0)),
            "country": np.where(rng.random(n) < 0.02, "XX", countries),
            "visits_7d": np.where(is_missing[:, 1], np.nan, 2.0),
            "basket_7d": np.where(is_missing[:, 1] | (np.arange(n) % 3 == 0), np.nan, 2.0),
        }
    )


def stream(seed: int, per_day: float) -> list[Finding]:
    """Every finding of sixty clean days."""
    rng = np.random.default_rng(seed)
    trained_on = requests(rng, 3_000)
    usual = count_frame(trained_on[trained_on["country"] != "XX"], FEATURES)
    hours, findings = [], []
    for offset in range(N_DAYS):
        day = FIRST + timedelta(days=offset)
        expected = per_day * WEEK[day.weekday()] * rng.lognormal(0, 0.1)
        hours.append(rng.poisson(expected * HOURS / HOURS.sum()).tolist())
        earlier = [hours[offset - 7 * week] for week in range(1, 5) if offset >= 7 * week]
        n = sum(hours[offset])
        counts = count_frame(requests(rng, n), FEATURES)
        findings += judge_features(FEATURES, counts, usual, POLICY)
        findings += judge_views([VIEW], counts, usual, POLICY)
        findings += judge_duplicates(n, n - int(rng.binomial(n, 0.003)), POLICY)
        findings += judge_volume("volume", "", day, n, [sum(before) for before in earlier], POLICY)
        findings += judge_event_silence("visits", day, hours[offset], earlier, POLICY)
    return findings


@pytest.mark.parametrize("per_day", [8, 80, 250])
def test_a_check_alarms_on_at_most_one_clean_day_in_a_hundred(per_day: float) -> None:
    alarms, judged = Counter[str](), Counter[str]()
    for seed in range(N_STREAMS):
        for finding in stream(seed, per_day):
            judged[finding.check] += finding.outcome is not Outcome.INSUFFICIENT
            alarms[finding.check] += finding.outcome is Outcome.FAIL

    n_days = N_STREAMS * N_DAYS
    assert len(judged) == 8
    assert min(judged.values()) > 0.7 * n_days
    assert {check: n / n_days for check, n in alarms.items() if n > MAX_RATE * n_days} == {}
