"""From tables to metrics, gate and fairness where positive decisions hide their labels, and some are explored."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.fairness import FAIRNESS_CHECK, build_fairness_assets
from shadow_platform.assets.gates import build_gate_assets
from shadow_platform.assets.performance import build_performance_assets
from shadow_platform.assets.performance.evaluated import calibrator_of, evaluated_rows
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import (
    FAIRNESS_GROUPS,
    GATE_DECISIONS,
    LABELS,
    PERFORMANCE_DAILY,
    PREDICTIONS,
    SHADOW_COMPARISONS,
)
from shadow_platform.contracts.use_case import DecisionCosts, FairnessAttribute, FairnessPolicy, GatePolicy, UseCase
from shadow_platform.definitions import build_definitions
from shadow_platform_tests.assets.served import FAR_OFF, FIRST_DAY, TRUTH, Home
from shadow_platform_tests.assets.served import USE_CASE as OPEN
from shadow_platform_tests.bento.bundles import line_bundle

DAYS, PER_DAY, SHARE = 9, 100, 0.25
AS_OF = {"as_of": (FIRST_DAY + timedelta(days=DAYS + 1)).isoformat()}
POLICY = FairnessPolicy(
    attributes=(FairnessAttribute("cart", "cart_value", (40, 80)), FairnessAttribute("channel", "channel")),
    min_rows=50,
)
USE_CASE = replace(
    OPEN,
    label=replace(OPEN.label, hidden_by="platform"),
    costs=DecisionCosts(false_positive=1.0, false_negative=4.0, currency="EUR"),
    fairness=POLICY,
    gate=GatePolicy(min_label_coverage=None),
)
GATE, PERFORMANCE = build_gate_assets(USE_CASE)[0], build_performance_assets(USE_CASE)[0]
FAIRNESS = build_fairness_assets(USE_CASE)[0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Nine days of traffic, in tables."""
    made = Home(Layout(tmp_path_factory.mktemp("hidden") / "home"))
    made.register(*FAR_OFF)
    made.register(*TRUTH)
    made.materialize(build_promotion_assets(OPEN)[0])
    made.serve(DAYS, PER_DAY, TRUTH)
    made.materialize(*build_comparison_assets(OPEN)[:2], days=DAYS + 1)
    return made


@pytest.fixture
def hide(template: Home, layout: Layout) -> Callable[[float], Home]:
    """A copy of the template in which positive decisions hide their labels, but for an explored share."""

    def served(share: float) -> Home:
        home = template.copied_to(layout)
        hidden = _explore(home, share)
        for day, rows in _by_day(home.lake.read_table(LABELS, USE_CASE), "known_at"):
            home.lake.write_table(LABELS, USE_CASE, day, rows[~rows["subject_id"].isin(hidden)])
        return home

    return served


def _explore(home: Home, share: float) -> set[str]:
    """Subjects whose outcome is hidden, once the share of the others is written to the predictions."""
    hidden: set[str] = set()
    rng = np.random.default_rng(1)
    for day, rows in _by_day(home.lake.read_table(PREDICTIONS, USE_CASE), "requested_at"):
        positive = rows["prediction"].astype(bool)
        explored = positive & (rng.random(len(rows)) < share)
        propensity = np.where(positive, share, 1.0)
        home.lake.write_table(
            PREDICTIONS, USE_CASE, day, rows.assign(is_explored=explored, label_propensity=propensity)
        )
        hidden |= set(rows.loc[positive & ~explored, "subject_id"])
    return hidden


def _by_day(rows: pd.DataFrame, column: str) -> Any:
    return rows.groupby(rows[column].dt.date)


def daily(home: Home) -> pd.DataFrame:
    home.materialize(PERFORMANCE, config={"performance_daily": AS_OF})
    return home.lake.read_table(PERFORMANCE_DAILY, USE_CASE)


def test_weighted_metrics_of_both_models_are_near_those_of_all_labels(
    template: Home, hide: Callable[[float], Home]
) -> None:
    everything = build_performance_assets(replace(USE_CASE, label=OPEN.label))[0]
    template.materialize(everything, config={"performance_daily": AS_OF})
    truth = template.lake.read_table(PERFORMANCE_DAILY, USE_CASE).groupby("role").mean(numeric_only=True)

    rows = daily(hide(SHARE))

    assert set(rows["estimator"]) == {"inverse_propensity"}
    assert (rows["n_labelled"] + rows["n_censored"] == rows["n"]).all()
    assert (rows["n_censored"] > 10).all()
    found = rows.groupby("role").mean(numeric_only=True)
    for name in ("log_loss", "cost_per_request", "base_rate"):
        assert found[name].to_numpy() == pytest.approx(truth[name].to_numpy(), rel=0.15)
    same_day = rows.groupby("day_at")[["n_labelled", "n_censored"]].nunique()
    assert (same_day == 1).all().all()


def test_without_exploration_no_metric_is_given(hide: Callable[[float], Home]) -> None:
    rows = daily(hide(0.0))

    assert set(rows["estimator"]) == {"not_identifiable"}
    assert (
        rows[["log_loss", "log_loss_low", "brier", "roc_auc", "f1", "cost_per_request", "base_rate"]].isna().all().all()
    )
    assert rows["estimated_f1"].notna().all()


def test_where_nothing_is_hidden_metrics_rest_on_all_labels(template: Home) -> None:
    plain = build_performance_assets(OPEN)[0]
    template.materialize(plain, config={"performance_daily": AS_OF})
    rows = template.lake.read_table(PERFORMANCE_DAILY, OPEN)

    assert set(rows["estimator"]) == {"all_labels"}
    assert rows["n_censored"].eq(0).all()
    assert rows["cost_per_request"].isna().all()
    assert ((rows["log_loss_low"] < rows["log_loss"]) & (rows["log_loss"] < rows["log_loss_high"])).all()


@pytest.mark.parametrize(
    ("share", "said"),
    [(SHARE, "explored in their place"), (0.0, "judged on labelled requests only, that neither model decides")],
)
def test_the_gate_says_what_hidden_labels_did_to_its_comparison(
    hide: Callable[[float], Home], share: float, said: str
) -> None:
    home = hide(share)
    home.materialize(GATE, config={"gate_decision": AS_OF})

    decision = home.lake.read_table(GATE_DECISIONS, USE_CASE).iloc[0]
    gain = next(c for c in json.loads(decision["criteria"]) if c["name"] == "log_loss_gain")
    assert said in gain["reason"]


@pytest.mark.parametrize(("share", "is_known"), [(0.25, True), (0.0, False)], ids=["some explored", "none explored"])
def test_estimates_are_calibrated_on_explored_labels_by_what_they_stand_for(
    template: Home, layout: Layout, share: float, is_known: bool
) -> None:
    """A decision that was right every time hid all positive labels but the explored ones."""
    home, n = template.copied_to(layout), DAYS * PER_DAY
    labels = home.lake.read_table(LABELS, USE_CASE).set_index("subject_id")["label"]
    for day, rows in _by_day(home.lake.read_table(PREDICTIONS, USE_CASE), "requested_at"):
        truth = rows["subject_id"].map(labels).astype(bool)
        explored = truth & (rows.index % 4 == 0) & (share > 0)
        decided = rows.assign(
            prediction=truth, is_explored=explored, label_propensity=np.where(truth, share or 1.0, 1.0)
        )
        home.lake.write_table(PREDICTIONS, USE_CASE, day, decided)
    answers = home.lake.read_table(PREDICTIONS, USE_CASE)
    seen = (~answers["prediction"] | answers["is_explored"]).astype(bool)
    frame = answers[["subject_id", "requested_at"]].assign(
        label=answers["subject_id"].map(labels).astype("boolean").where(seen),
        **pd.DataFrame([json.loads(features) for features in answers["features"]]),
    )
    path = layout.frame(USE_CASE.name, "evaluated")
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    end = FIRST_DAY + timedelta(days=DAYS)
    digest = line_bundle(home.layout.bundles, *TRUTH, fingerprints={"data": "evaluated"}, evaluation_end=end)
    version = home.platform.registry().register(USE_CASE.name, home.layout.bundles / digest, "run", {}).version

    evaluated = evaluated_rows(home.platform, USE_CASE, version)

    assert (evaluated is not None) == is_known
    if evaluated is not None:
        calibrator = calibrator_of(evaluated)
        bundle = home.platform.bundle(USE_CASE, version)
        expected = float(calibrator(bundle.predict(bundle.encode_frame(frame)[0])).mean())
        assert len(frame) == n
        assert expected == pytest.approx(float(labels.mean()), abs=0.05)
        assert float(frame["label"].mean()) < float(labels.mean()) - 0.15


def test_a_request_that_a_canary_failed_to_answer_does_not_count_as_the_champions(
    template: Home, layout: Layout
) -> None:
    home = template.copied_to(layout)
    for day, rows in _by_day(home.lake.read_table(PREDICTIONS, USE_CASE), "requested_at"):
        home.lake.write_table(PREDICTIONS, USE_CASE, day, rows.assign(is_fallback=rows.index % 2 == 0))

    performance = daily(home).groupby("role")["n"].sum()
    _, rows = groups(home)
    decisions = rows[rows["attribute"].eq("cart")].groupby("role")["n"].sum()

    half, whole = DAYS * PER_DAY / 2, DAYS * PER_DAY
    assert performance.to_dict() == decisions.to_dict() == {"champion": half, "challenger": whole}


def groups(home: Home) -> tuple[Any, pd.DataFrame]:
    result = home.materialize(FAIRNESS, config={"fairness_groups": AS_OF})
    return result, home.lake.read_table(FAIRNESS_GROUPS, USE_CASE)


def test_every_model_is_compared_over_every_group(hide: Callable[[float], Home]) -> None:
    _, rows = groups(hide(SHARE))

    assert rows.groupby(["role", "attribute"])["group_name"].apply(list).to_dict() == {
        (role, attribute): names
        for role in ("challenger", "champion")
        for attribute, names in (("cart", ["<40", "40-80", ">=80"]), ("channel", ["mail", "shop"]))
    }
    assert rows.groupby(["role", "attribute"])["n"].sum().eq(DAYS * PER_DAY).all()
    assert rows["equal_opportunity"].between(0, 1).all()


def test_a_group_far_below_the_best_fails_the_check_as_a_warning_and_is_named(hide: Callable[[float], Home]) -> None:
    result, rows = groups(hide(SHARE))
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == FAIRNESS_CHECK)

    assert (check.passed, check.severity.value) == (False, "WARN")
    flagged = rows[rows["is_flagged"].fillna(False).astype(bool)]
    assert set(flagged["attribute"]) == {"cart"}
    assert "champion 1, cart >=80: favourable decisions" in check.description
    assert len(check.description.splitlines()) == len(flagged)


def test_a_version_that_left_service_stays_in_the_report_and_no_longer_fails_the_check(
    hide: Callable[[float], Home],
) -> None:
    home = hide(SHARE)
    for day, rows in _by_day(home.lake.read_table(PREDICTIONS, USE_CASE), "requested_at"):
        home.lake.write_table(PREDICTIONS, USE_CASE, day, rows.assign(model_version="0"))
    for day, rows in _by_day(home.lake.read_table(SHADOW_COMPARISONS, USE_CASE), "requested_at"):
        home.lake.write_table(SHADOW_COMPARISONS, USE_CASE, day, rows.assign(challenger_version="0"))

    result, rows = groups(home)
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == FAIRNESS_CHECK)

    assert rows["is_flagged"].fillna(False).any()
    assert set(rows["model_version"]) == {"0"}
    assert check.metadata["flagged"].value == 0


def test_the_report_shows_its_picture_and_says_what_label_columns_rest_on(hide: Callable[[float], Home]) -> None:
    result, rows = groups(hide(0.0))
    metadata = result.asset_materializations_for_node(f"{USE_CASE.name}__fairness_groups")[0].metadata

    assert str(metadata["plot"].value).count("data:image/png;base64,iVBOR") == 1
    assert str(metadata["groups"].value).count("\n") == len(rows) + 2
    assert "could not be seen" in str(metadata["basis_of_label_columns"].value)
    assert rows.loc[rows["attribute"].eq("channel"), "equal_opportunity"].isna().all()


def test_judging_again_at_the_same_time_replaces_the_report(hide: Callable[[float], Home]) -> None:
    home = hide(SHARE)
    _, first = groups(home)
    _, again = groups(home)

    pd.testing.assert_frame_equal(first, again)


def test_too_few_decisions_are_no_verdict(hide: Callable[[float], Home]) -> None:
    home = hide(SHARE)
    demanding = replace(USE_CASE, fairness=replace(POLICY, min_rows=10_000))
    result = home.materialize(build_fairness_assets(demanding)[0], config={"fairness_groups": AS_OF})
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == FAIRNESS_CHECK)

    assert not check.passed
    assert (check.description or "").startswith("not enough evidence")


def test_a_use_case_without_declared_groups_has_no_report() -> None:
    assert build_fairness_assets(OPEN) == []


@pytest.mark.parametrize("use_case", [OPEN, USE_CASE], ids=["without groups", "with groups"])
def test_the_deciding_job_reports_on_groups_where_there_are_some(use_case: UseCase) -> None:
    job = build_definitions([use_case]).resolve_job_def(f"{use_case.name}_decide")
    names = {key.path[-1] for key in job.asset_layer.selected_asset_keys}

    assert ("fairness_groups" in names) == (use_case.fairness is not None)
    assert {"performance_daily", "gate_decision", "warehouse"} <= names
