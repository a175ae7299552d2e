"""The simulated lender: rates, delays and rhythms within stated bounds, the same bytes for a plan, and known drift."""

import hashlib
import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.simulation import DriftInjection, DriftKind, SimulationPlan
from shadow_platform.testing.tables import accepted
from shadow_platform.use_cases.credit.simulator import CreditSimulator, events
from shadow_platform.use_cases.credit.world import FIRST_DAY, N_DAYS, cases
from shadow_platform_tests.use_cases.credit.loans import CREDIT, DAY, HORIZON, HOUR

PLAIN = SimulationPlan(n_entities=15_000, drifts=())
SHIFT = date(2023, 9, 1)
SHIFTED = pd.Timestamp(SHIFT)


def _drifted(kind: DriftKind) -> SimulationPlan:
    return PLAIN.model_copy(update={"drifts": (DriftInjection(kind=kind, start=SHIFT, size=1.0),)})


def _of(plan: SimulationPlan, kind: str, *, is_later: bool = True) -> pd.DataFrame:
    frame = events(plan)[kind]
    return frame[(frame["event_at"] >= SHIFTED) == is_later]


def _digest() -> str:
    simulator = CreditSimulator(PLAIN)
    digest = hashlib.sha256()
    for n in (0, 40, 200, N_DAYS - 1):
        digest.update(json.dumps(simulator.received_on(FIRST_DAY + timedelta(days=n))).encode())
    return digest.hexdigest()


def test_the_same_plan_gives_the_same_bytes_in_another_process() -> None:
    code = f"from {__name__} import _digest; print(_digest())"
    root = Path(__file__).parents[3]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == _digest()


def test_sixty_to_a_hundred_applications_a_day_for_each_twenty_five_thousand_applicants() -> None:
    per_day = len(events(PLAIN)["applications"]) / N_DAYS * 25_000 / 15_000
    assert 60 < per_day < 100


def test_weeks_and_years_have_their_rhythm() -> None:
    begun = events(PLAIN)["bureau_reports"]["event_at"]
    of_weekday = begun.dt.dayofweek.value_counts() / len(begun)
    assert of_weekday[[5, 6]].sum() < 0.21 < 0.33 < of_weekday[[0, 1]].sum()
    winter = begun.between("2023-12-15", "2024-02-14").sum()
    summer = begun.between("2023-06-15", "2023-08-15").sum()
    assert 1.2 < winter / summer < 1.45


def test_a_quarter_is_rejected_and_the_rejected_would_default_far_more_often() -> None:
    submitted = cases(PLAIN)[cases(PLAIN)["is_submitted"]]
    rates = submitted.groupby("is_approved")["has_default"].mean()
    assert 0.20 < 1 - submitted["is_approved"].mean() < 0.27
    assert 0.09 < rates[True] < 0.13
    assert 0.33 < rates[False] < 0.42


def test_outcomes_happen_as_often_as_the_truth_says() -> None:
    truth = CreditSimulator(PLAIN).bayes(FIRST_DAY, FIRST_DAY + timedelta(days=N_DAYS))
    bins = pd.qcut(truth["probability"], 10, labels=False)
    table = truth.groupby(bins).agg(p=("probability", "mean"), y=("label", "mean"), n=("label", "size"))
    deviations: pd.Series[float] = (table["y"] - table["p"]) / np.sqrt(table["p"] * (1 - table["p"]) / table["n"])
    assert deviations.abs().max() < 4


def test_a_default_is_told_once_its_loan_is_approved_and_old_enough() -> None:
    frames = events(PLAIN)
    asked = frames["applications"].set_index("application_id")["received_at"].groupby(level=0).min()
    told = frames["defaults"].drop_duplicates("event_id")
    words = frames["decisions"].drop_duplicates("event_id").set_index("application_id")
    assert (words.loc[told["application_id"], "decision"] == "approved").all()
    assert (words["received_at"] > asked.loc[words.index]).all()
    age = told["received_at"] - asked.loc[told["application_id"]].to_numpy()
    assert age.min() > 27 * DAY
    assert not age.between(HORIZON - DAY, HORIZON + DAY).any()
    assert 0.2 < (age > HORIZON).mean() < 0.4


def test_a_report_is_there_before_nearly_every_request() -> None:
    frames = events(PLAIN)
    asked = frames["applications"][["applicant_id", "received_at"]].sort_values("received_at")
    reports = frames["bureau_reports"][["applicant_id", "received_at"]].sort_values("received_at")
    reports = reports.assign(stamped_at=reports["received_at"].dt.ceil("h")).sort_values("stamped_at")
    asked = asked[asked["received_at"] >= pd.Timestamp(FIRST_DAY) + 30 * DAY]
    seen = pd.merge_asof(
        asked,
        reports[["applicant_id", "stamped_at"]],
        left_on="received_at",
        right_on="stamped_at",
        by="applicant_id",
        tolerance=CREDIT.views[0].ttl,
    )
    assert 0.01 < seen["stamped_at"].isna().mean() < 0.03
    assert (reports["stamped_at"] - reports["received_at"] < HOUR).all()


def test_rows_are_received_after_they_happened_and_few_of_them_twice() -> None:
    for kind in CREDIT.events:
        frame = events(PLAIN)[kind.name]
        assert (frame["received_at"] >= frame["event_at"]).all()
        assert 0.0005 < frame.duplicated("event_id").mean() < 0.005


def test_every_row_meets_its_schema_under_every_drift() -> None:
    for kind in ("covariate", "label", "concept", "quality"):
        rows = CreditSimulator(_drifted(kind)).received_on(SHIFT + timedelta(days=120))
        for event_kind in CREDIT.events:
            valid = accepted(event_kind, rows[event_kind.name])
            assert len(valid) == len({row["event_id"] for row in rows[event_kind.name]}) > 0


@pytest.mark.parametrize("kind", ["covariate", "label", "concept", "quality"])
def test_nothing_that_happened_before_the_start_of_a_drift_moves(kind: DriftKind) -> None:
    for name in events(PLAIN):
        pd.testing.assert_frame_equal(
            _of(_drifted(kind), name, is_later=False), _of(PLAIN, name, is_later=False), check_exact=True
        )


def test_covariate_drift_makes_people_poorer_and_deeper_in_debt() -> None:
    plain, moved = (_of(plan, "bureau_reports") for plan in (PLAIN, _drifted("covariate")))
    for name in ("total_debt", "utilisation_pct", "inquiries_6m"):
        assert moved[name].mean() > 1.3 * plain[name].mean()
    for name in ("open_accounts", "delinquencies_2y", "oldest_account_months"):
        assert moved[name].mean() == plain[name].mean()
    stated, stated_moved = (_of(plan, "applications") for plan in (PLAIN, _drifted("covariate")))
    assert stated_moved["income"].median() < 0.7 * stated["income"].median()
    assert stated_moved["credit_score"].mean() == stated["credit_score"].mean()


def _odds_ratios(kind: DriftKind) -> "pd.Series[float]":
    """By whether the employment is new, how many times the odds of a default are those without the drift."""
    plain, moved = cases(PLAIN), cases(_drifted(kind))
    odds = (moved["probability"] / (1 - moved["probability"])) / (plain["probability"] / (1 - plain["probability"]))
    later = plain["submitted_at"] >= SHIFTED
    assert (odds[~later] == 1).all()
    return odds[later].groupby(plain["employment_years"] < 2).median()


def test_label_drift_raises_the_odds_of_everyone_alike_and_no_feature() -> None:
    ratios = _odds_ratios("label")
    assert ratios[False] == pytest.approx(np.exp(1.2))
    assert ratios[True] == pytest.approx(np.exp(1.2))
    _assert_same_features("label")


def test_concept_drift_raises_the_odds_of_the_newly_employed_alone_and_no_feature() -> None:
    ratios = _odds_ratios("concept")
    assert ratios[False] == pytest.approx(1.0)
    assert ratios[True] == pytest.approx(np.exp(2.5))
    _assert_same_features("concept")


def _assert_same_features(kind: DriftKind) -> None:
    for name in ("applications", "bureau_reports"):
        pd.testing.assert_frame_equal(_of(_drifted(kind), name), _of(PLAIN, name), check_exact=True)


def test_quality_drift_changes_what_is_recorded_and_not_what_is_true() -> None:
    plan = _drifted("quality")
    stated, reported = _of(plan, "applications"), _of(plan, "bureau_reports")
    assert 0.55 < (stated["income"] < 1_000).mean() < 0.65
    assert 0.27 < reported["utilisation_pct"].isna().mean() < 0.33
    assert set(reported["worst_status"]) == {"no_accounts", "current", "dpd_30", "dpd_60", "charge_off"}
    assert set(_of(PLAIN, "bureau_reports")["worst_status"]) >= {"late_30", "late_60"}
    pd.testing.assert_frame_equal(cases(plan), cases(PLAIN), check_exact=True)
    for name in ("decisions", "defaults"):
        pd.testing.assert_frame_equal(_of(plan, name), _of(PLAIN, name), check_exact=True)


def test_the_default_story_worsens_the_economy_while_the_demo_serves() -> None:
    assert CREDIT.simulation is not None
    assert CREDIT.demo is not None
    drifts = CREDIT.simulation.default.drifts
    assert drifts is not None
    assert {drift.kind for drift in drifts} == {"covariate", "concept"}
    assert all(CREDIT.demo.serve_from < drift.start < CREDIT.demo.serve_until for drift in drifts)
    assert CREDIT.demo.judged_at - CREDIT.demo.serve_until >= CREDIT.label.horizon
