"""From answers and labels to proxies, a verdict on performance and the timeline, on a served home."""

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.performance import build_performance_assets
from shadow_platform.assets.performance.evaluated import Evaluated, evaluated_rows
from shadow_platform.assets.performance.verdict import VERDICT_CHECK
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.monitoring_verdicts import DriftReference, DriftVerdict
from shadow_platform.contracts.tables import LABELS, PERFORMANCE_DAILY, PERFORMANCE_VERDICTS, PREDICTIONS, PROXY_DAILY
from shadow_platform.contracts.use_case import DriftPolicy, HiddenBy, PerformancePolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift import evaluate_drift
from shadow_platform_tests.assets.served import FAR_OFF, FIRST_DAY, TRUTH, USE_CASE, Home
from shadow_platform_tests.bento.bundles import line_bundle

DAYS, PER_DAY = 9, 120
AS_OF = {"as_of": (FIRST_DAY + timedelta(days=DAYS + 1)).isoformat()}
CHANGED = (-0.06, 3.0)
"""Slope and intercept of a world that answers every request the other way round."""
CHAMPION = replace(USE_CASE.models[0], name="line {} {}".format(*TRUTH))
JUDGED = replace(
    USE_CASE, models=(CHAMPION, USE_CASE.models[1]), performance=PerformancePolicy(window=timedelta(days=7))
)
DAILY, PROXY, VERDICT, TIMELINE = build_performance_assets(JUDGED)


def made(folder: Layout, truth: tuple[float, float]) -> Home:
    """A champion that was right on its evaluation rows, and nine days that the world answers by this truth."""
    home = Home(folder)
    start, rng = FIRST_DAY - timedelta(days=10), np.random.default_rng(3)
    carts = rng.uniform(0, 120, 1_500).round(2)
    frame = pd.DataFrame(
        {
            "subject_id": [f"e{i}" for i in range(len(carts))],
            "requested_at": pd.date_range(start, periods=len(carts), freq="9min", unit="us"),
            "cart_value": carts,
            "channel": "mail",
            "label": rng.random(len(carts)) < 1 / (1 + np.exp(-(TRUTH[0] * carts + TRUTH[1]))),
        }
    )
    path = folder.frame(USE_CASE.name, "evaluated")
    path.parent.mkdir(parents=True)
    frame.to_parquet(path)
    digest = line_bundle(
        folder.bundles, *TRUTH, fingerprints={"data": "evaluated"}, evaluation_start=start, evaluation_end=FIRST_DAY
    )
    home.platform.registry().register(USE_CASE.name, folder.bundles / digest, "run", {})
    home.register(*FAR_OFF)
    home.materialize(build_promotion_assets(JUDGED)[0])
    home.serve(DAYS, PER_DAY, truth)
    home.materialize(*build_comparison_assets(USE_CASE)[:2], days=DAYS)
    return home


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return made(Layout(tmp_path_factory.mktemp("steady") / "home"), TRUTH)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return made(Layout(tmp_path_factory.mktemp("changed") / "home"), CHANGED)


@pytest.fixture
def copy(steady: Home, layout: Layout) -> Home:
    """The steady home, which a test may change."""
    return steady.copied_to(layout)


def judge(home: Home, *, afresh: bool = True) -> tuple[Any, dict[str, Any], pd.DataFrame]:
    """Check, metadata and rows of a verdict."""
    if afresh:
        home.materialize(DAILY, config={"performance_daily": AS_OF})
    result = home.materialize(VERDICT, config={"performance_verdict": AS_OF})
    check = next(e for e in result.get_asset_check_evaluations() if e.check_name == VERDICT_CHECK)
    found = result.asset_materializations_for_node(f"{USE_CASE.name}__performance_verdict")[0].metadata
    return (
        check,
        {name: value.value for name, value in found.items()},
        home.lake.read_table(PERFORMANCE_VERDICTS, USE_CASE),
    )


def test_a_steady_world_passes(copy: Home) -> None:
    check, facts, rows = judge(copy)

    assert check.passed, check.description
    assert facts["outcome"] == "pass"
    row = rows.iloc[-1]
    assert (row["n_reference"], row["n_current"]) == (1_500, 7 * PER_DAY)
    assert (row["window_end"] - row["window_start"]) == timedelta(days=7)
    assert row["window_end"] == FIRST_DAY + timedelta(days=DAYS)


def test_a_world_that_answers_otherwise_fails_although_no_drift_rule_sees_it(changed: Home) -> None:
    check, facts, rows = judge(changed)

    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert facts["outcome"] == rows.iloc[0]["outcome"] == "fail"
    assert facts["evaluation_id"] == rows.iloc[0]["evaluation_id"]
    assert facts["window_end"] == (FIRST_DAY + timedelta(days=DAYS)).isoformat()
    assert rows.iloc[0]["increase_low"] > 0.5
    assert "P(y|x)" in check.description
    drift = _drift(changed, evaluated_rows(changed.platform, JUDGED, "1"))
    assert drift.outcome is Outcome.PASS, drift.explanation


def _drift(home: Home, evaluated: Evaluated | None) -> DriftVerdict:
    """Verdict of the drift rules on the requests served, against those the champion was evaluated on."""
    assert evaluated is not None
    frame = pd.read_parquet(home.layout.frame(USE_CASE.name, "evaluated"))
    served = home.lake.read_table(PREDICTIONS, USE_CASE)
    features = pd.DataFrame(list(map(json.loads, served["features"]))).assign(channel="mail")
    return evaluate_drift(
        USE_CASE.name,
        [feature for feature in USE_CASE.features if feature.name in features],
        frame[["cart_value", "channel", "requested_at"]].assign(score=evaluated.cohort["probability"]),
        features.assign(score=served["probability"], requested_at=served["requested_at"]),
        DriftPolicy(),
        FIRST_DAY,
        FIRST_DAY + timedelta(days=DAYS),
        DriftReference(kind="frozen", fingerprint="evaluated"),
    )


def test_without_days_to_judge_there_is_a_warning_and_no_failed_run(copy: Home) -> None:
    check, facts, _ = judge(copy, afresh=False)

    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "0 labelled requests of version 1 on 0 days in its window" in str(facts["explanation"])


def test_a_time_whose_days_were_made_again_since_is_refused_until_they_are_made_as_of_then(copy: Home) -> None:
    earlier = {"as_of": (FIRST_DAY + timedelta(days=DAYS)).isoformat()}
    both = {"performance_daily": earlier, "performance_verdict": earlier}
    copy.materialize(DAILY, VERDICT, config=both)
    before = copy.lake.read_table(PERFORMANCE_VERDICTS, USE_CASE)
    copy.materialize(DAILY, config={"performance_daily": AS_OF})

    with pytest.raises(dg.Failure, match=r"7 days .* materialize performance_daily with this as_of first"):
        copy.materialize(VERDICT, config={"performance_verdict": earlier})

    pd.testing.assert_frame_equal(copy.lake.read_table(PERFORMANCE_VERDICTS, USE_CASE), before)
    copy.materialize(DAILY, VERDICT, config=both)
    after = copy.lake.read_table(PERFORMANCE_VERDICTS, USE_CASE)
    same = ["evaluation_id", "outcome", "n_current", "window_end"]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert after["n_current"].tolist() == [7 * PER_DAY]


def test_a_verdict_without_as_of_rests_on_the_days_as_they_stand(copy: Home) -> None:
    copy.materialize(DAILY, config={"performance_daily": AS_OF})
    result = copy.materialize(VERDICT)

    facts = result.asset_materializations_for_node(f"{USE_CASE.name}__performance_verdict")[0].metadata
    assert (facts["outcome"].value, facts["window_end"].value) == (
        "pass",
        (FIRST_DAY + timedelta(days=DAYS)).isoformat(),
    )


def test_an_evaluation_that_is_gone_is_a_warning(copy: Home) -> None:
    copy.layout.frame(USE_CASE.name, "evaluated").unlink()
    check, facts, _ = judge(copy)

    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert facts["outcome"] == "insufficient"
    assert "are gone" in check.description


def test_the_log_says_why_an_evaluation_cannot_be_read(copy: Home, caplog: pytest.LogCaptureFixture) -> None:
    path = copy.layout.frame(USE_CASE.name, "evaluated")
    path.unlink()
    caplog.set_level(logging.WARNING, "dagster")

    assert evaluated_rows(copy.platform, JUDGED, "1") is None
    assert "the rows version 1 was evaluated on cannot be read" in caplog.text
    assert str(path) in caplog.text


@pytest.mark.parametrize(("hidden_by", "is_known"), [(None, True), ("others", False)])
def test_labels_that_others_hid_leave_no_sample_to_calibrate_on(
    copy: Home, hidden_by: HiddenBy | None, is_known: bool
) -> None:
    path = copy.layout.frame(USE_CASE.name, "evaluated")
    frame = pd.read_parquet(path)
    frame.assign(label=frame["label"].astype("boolean").mask(frame["cart_value"] > 80)).to_parquet(path)

    use_case = replace(JUDGED, label=replace(JUDGED.label, hidden_by=hidden_by))

    assert (evaluated_rows(copy.platform, use_case, "1") is not None) == is_known


def test_judging_again_changes_nothing(copy: Home) -> None:
    _, first, _ = judge(copy)
    _, again, rows = judge(copy)

    assert first["evaluation_id"] == again["evaluation_id"]
    assert len(rows) == 1
    assert rows["replaces"].isna().all()


def test_a_verdict_that_labels_changed_names_the_one_it_replaces(copy: Home) -> None:
    _, first, _ = judge(copy)
    labels = copy.lake.read_table(LABELS, USE_CASE)
    for day, rows in labels.groupby(labels["known_at"].dt.date):
        copy.lake.write_table(LABELS, USE_CASE, day, rows.assign(label=~rows["label"].astype(bool)))
    _, second, _ = judge(copy)
    _, third, rows = judge(copy)

    assert (first["outcome"], second["outcome"], third["outcome"]) == ("pass", "fail", "fail")
    replaced = rows.set_index("evaluation_id")["replaces"]
    assert replaced[second["evaluation_id"]] == first["evaluation_id"]
    assert pd.isna(replaced[first["evaluation_id"]])


def test_days_that_the_model_was_trained_before_labels_of_do_not_count(copy: Home) -> None:
    """A version that was evaluated until the fifth day served is judged on the others alone."""
    end = FIRST_DAY + timedelta(days=5)
    digest = line_bundle(
        copy.layout.bundles,
        *TRUTH,
        fingerprints={"data": "evaluated"},
        evaluation_start=FIRST_DAY - timedelta(days=10),
        evaluation_end=end,
    )
    copy.platform.registry().register(USE_CASE.name, copy.layout.bundles / digest, "run", {})
    copy.materialize(DAILY, config={"performance_daily": AS_OF})
    rows = copy.lake.read_table(PERFORMANCE_DAILY, USE_CASE)
    champion = rows[rows["role"].eq("champion")].assign(model_version="3")
    copy.lake.append_rows(
        PERFORMANCE_DAILY,
        USE_CASE,
        [{str(name): value for name, value in row.items()} for row in champion.to_dict("records")],
    )
    copy.platform.deploy(USE_CASE, "promote", version="3", actor="test", reason="test")

    _, facts, _ = judge(copy, afresh=False)

    assert "version 3 on 4 days in its window" in str(facts["explanation"])


def proxies(home: Home) -> pd.DataFrame:
    home.materialize(PROXY, days=DAYS)
    return home.lake.read_table(PROXY_DAILY, USE_CASE)


def test_proxies_are_those_of_the_answers(copy: Home) -> None:
    rows, answers = proxies(copy), copy.lake.read_table(PREDICTIONS, USE_CASE)
    day = answers[answers["requested_at"].dt.date == FIRST_DAY.date()]
    found = rows[rows["role"].eq("champion") & rows["day_at"].eq(FIRST_DAY)].iloc[0]
    p = day["probability"].clip(1e-12, 1 - 1e-12)

    assert (found["n"], found["model_version"]) == (PER_DAY, "1")
    assert found["probability_mean"] == pytest.approx(p.mean())
    quantiles = [found[f"probability_{name}"] for name in ("p05", "p50", "p95")]
    assert quantiles == pytest.approx(np.quantile(p, [0.05, 0.5, 0.95]).tolist())
    assert found["positive_rate"] == pytest.approx(day["prediction"].mean())
    assert found["near_threshold_share"] == pytest.approx(((p - 0.5).abs() <= 0.05).mean())
    assert found["entropy_mean"] == pytest.approx((-p * np.log(p) - (1 - p) * np.log(1 - p)).mean())
    assert found["imputed_share"] == 0
    assert pd.isna(found["agreement_rate"])


def test_challengers_are_watched_beside_the_champion(copy: Home) -> None:
    rows = proxies(copy)
    challenger = rows[rows["role"].eq("challenger")]

    assert len(challenger) == DAYS
    assert challenger["agreement_rate"].between(0.2, 0.99).all()
    assert challenger["imputed_share"].isna().all()


def test_a_certain_answer_has_no_entropy_and_a_failed_canary_no_part(copy: Home) -> None:
    answers = copy.lake.read_table(PREDICTIONS, USE_CASE)
    for day, rows in answers.groupby(answers["requested_at"].dt.date):
        sure = rows.assign(probability=[0.0, 1.0] * (len(rows) // 2), is_fallback=rows.index % 2 == 0)
        copy.lake.write_table(PREDICTIONS, USE_CASE, day, sure)

    champion = proxies(copy).query("role == 'champion'")

    assert champion["n"].eq(PER_DAY // 2).all()
    assert champion["entropy_mean"].abs().max() < 1e-9


def test_a_day_without_requests_has_no_row_and_ends_no_run(copy: Home) -> None:
    copy.lake.write_table(PREDICTIONS, USE_CASE, FIRST_DAY.date(), copy.lake.read_table(PREDICTIONS, USE_CASE).head(0))

    rows = proxies(copy)

    assert rows[rows["role"].eq("champion")]["day_at"].min() == FIRST_DAY + timedelta(days=1)


@pytest.mark.parametrize(
    "prepare", [lambda home: None, lambda home: (judge(home), proxies(home))], ids=["empty", "full"]
)
def test_the_timeline_is_a_picture_of_whatever_there_is(copy: Home, prepare: Callable[[Home], Any]) -> None:
    prepare(copy)
    result = copy.materialize(TIMELINE)

    facts = result.asset_materializations_for_node(f"{USE_CASE.name}__performance_timeline")[0].metadata
    text = str(facts["timeline"].value)
    assert base64.b64decode(text.rsplit("base64,", 1)[1].rstrip(")")).startswith(b"\x89PNG")
    assert facts["days"].value in (0, DAYS)
