"""Drift on demand: each kind moves what it says and leaves alone what it does not, from its first day on."""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.simulation import DriftInjection, DriftKind, DriftShape, SimulationPlan
from shadow_platform.use_cases.churn import USE_CASE
from shadow_platform.use_cases.churn.customers import FIRST_DAY, HISTORY_DAYS, N_DAYS, Calendar, Customers, sign_up
from shadow_platform.use_cases.churn.events import AGE_BANDS, CONTRACTS, PLANS
from shadow_platform.use_cases.churn.hazards import CONTENT, LEAVING, WAVERING, cancel_hazard
from shadow_platform.use_cases.churn.simulator import EFFECTS, ChurnSimulator

START = 91
DAY_S = 86_400


def _plan(kind: DriftKind | None = None, size: float = 1.0, shape: DriftShape = "sudden") -> SimulationPlan:
    start = FIRST_DAY + timedelta(days=START)
    drift = () if kind is None else (DriftInjection(kind=kind, start=start, size=size, shape=shape, duration_days=60),)
    return SimulationPlan(seed=2, n_entities=800, drifts=drift)


@lru_cache(maxsize=2)
def _delivered(plan: SimulationPlan, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that happened before the start of the drift, and after."""
    frame = ChurnSimulator(plan).world.deliveries[kind].frame
    is_before = frame["event_us"] < START * DAY_S * 1_000_000
    return frame[is_before], frame[~is_before]


@pytest.fixture(scope="module")
def customers() -> Customers:
    """Customers of the world without drift."""
    plan = _plan()
    return sign_up(plan, Calendar(plan))[0]


def _hazard(
    customers: Customers, plan: SimulationPlan, day: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    known = customers.take(np.flatnonzero(customers.signed_up_on < START))
    return cancel_hazard(known, Calendar(plan), day)


def test_a_covariate_drift_brings_young_unbound_customers() -> None:
    plan = _plan("covariate")
    world = ChurnSimulator(plan).world
    before, after = (rows.query("change == 0")["customer"] for rows in _delivered(plan, "subscriptions"))
    assert len(after) / (N_DAYS - START) > 4 * len(before) / (START + HISTORY_DAYS)
    young, unbound = AGE_BANDS.index("18-24"), CONTRACTS.index("month_to_month")
    for codes, level, least in (
        (world.customers.age_band, young, 0.2),
        (world.customers.contract_type, unbound, 0.15),
        (world.customers.plan_type, PLANS.index("basic"), 0.15),
    ):
        assert (codes[after] == level).mean() - (codes[world.customers.signed_up_on < 0] == level).mean() > least


@pytest.mark.parametrize("kind", ["covariate", "quality"])
def test_drift_of_what_is_seen_leaves_alone_why_customers_leave(kind: DriftKind, customers: Customers) -> None:
    for day in (START, START + 40):
        np.testing.assert_array_equal(_hazard(customers, _plan(kind), day), _hazard(customers, _plan(), day))


def test_a_label_drift_makes_everybody_equally_more_likely_to_cancel(customers: Customers) -> None:
    ratio = _hazard(customers, _plan("label"), START) / _hazard(customers, _plan(), START)
    assert ratio == pytest.approx(3.5)
    half = _hazard(customers, _plan("label", size=0.5), START) / _hazard(customers, _plan(), START)
    assert half == pytest.approx(2.25)


def test_a_concept_drift_turns_what_leads_to_cancellations(customers: Customers) -> None:
    known = customers.take(np.flatnonzero(customers.signed_up_on < START))
    change = _hazard(customers, _plan("concept"), START) / _hazard(customers, _plan(), START)
    assert (change[:, [WAVERING, LEAVING]] < 0.2).all()
    is_coveted = np.isin(known.plan_type, [PLANS.index("premium"), PLANS.index("business")])
    is_coveted &= START - known.signed_up_on > 365
    assert 0.1 < is_coveted.mean() < 0.5
    assert (change[is_coveted, CONTENT] > 2).all()
    assert change[~is_coveted, CONTENT] == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["label", "concept"])
def test_drift_of_the_outcome_shows_in_cancellations_and_not_in_behaviour_before(kind: DriftKind) -> None:
    plan = _plan(kind)
    pages = {name: _delivered(plan, "sessions")[place]["pages"] for place, name in enumerate(("before", "after"))}
    assert pages["after"].mean() == pytest.approx(pages["before"].mean(), rel=0.1)
    assert pages["after"].notna().all()
    truth = ChurnSimulator(plan).bayes(date(2024, 4, 1), date(2024, 5, 1))
    still = ChurnSimulator(_plan()).bayes(date(2024, 4, 1), date(2024, 5, 1))
    if kind == "label":
        assert truth["label"].mean() > 1.6 * still["label"].mean()
    assert truth["label"].mean() == pytest.approx(truth["probability"].mean(), abs=0.025)


def test_a_concept_drift_makes_the_old_truth_worthless() -> None:
    """Who was likely to leave before is not any more: the order of the risks changes, not only their height."""
    start, end = date(2024, 4, 1), date(2024, 4, 15)
    old, new = (ChurnSimulator(plan).bayes(start, end) for plan in (_plan(), _plan("concept")))
    both = old.merge(new, on=["subject_id", "requested_at"], suffixes=("_old", "_new"))
    assert len(both) > 500
    assert both["probability_old"].corr(both["probability_new"], method="spearman") < 0.6


def test_a_quality_drift_changes_what_is_told_and_nothing_that_happens() -> None:
    wrong, right = ChurnSimulator(_plan("quality")), ChurnSimulator(_plan())
    np.testing.assert_array_equal(wrong.world.moods, right.world.moods)
    span = (date(2024, 4, 1), date(2024, 6, 1))
    pd.testing.assert_frame_equal(wrong.bayes(*span), right.bayes(*span))
    for kind in USE_CASE.events:
        told, happened = (source.world.deliveries[kind.name].frame for source in (wrong, right))
        names = ["number", "customer", "event_us", "received_us"]
        pd.testing.assert_frame_equal(told[names], happened[names])


def test_a_quality_drift_blanks_pages_multiplies_amounts_and_renames_a_payment_method() -> None:
    plan = _plan("quality")
    before, after = _delivered(plan, "sessions")
    assert before["pages"].notna().all()
    assert 0.57 < after["pages"].isna().mean() < 0.63
    before, after = _delivered(plan, "transactions")
    largest = before["amount"].max()
    assert 0.3 < (after["amount"] > largest).mean() < 0.6
    source = ChurnSimulator(plan)
    methods = {
        day: {row["payment_method"] for row in source.received_on(FIRST_DAY + timedelta(days=day))["subscriptions"]}
        for day in (START - 1, START + 1)
    }
    assert {"credit_card"} == methods[START - 1] - methods[START + 1]
    assert {"card"} == methods[START + 1] - methods[START - 1]


def test_a_gradual_drift_comes_step_by_step() -> None:
    _, after = _delivered(_plan("quality", shape="gradual"), "sessions")
    month = (after["event_us"] // (DAY_S * 1_000_000) - START) // 30
    shares = after["pages"].isna().groupby(month).mean().tolist()
    assert 0.05 < shares[0] < 0.25 < shares[1] < 0.57 < shares[2]


def test_the_effects_name_features_that_exist() -> None:
    named = {word.strip(",.;:()") for text in EFFECTS.values() for word in text.split()}
    features = {word for word in named if "_" in word} - {"credit_card"}
    assert features <= set(USE_CASE.feature_names)
    assert len(features) >= 9
