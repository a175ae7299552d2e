"""The six rules on frames with a known truth, and everything a file can do wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.monitoring_verdicts import SCORE, DriftVerdict, FeatureDrift
from shadow_platform.contracts.use_case import DriftPolicy, Feature, Threshold
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift import simulate_drift
from shadow_platform_tests.domain.drift.frames import features, frame, judge

N = 6_000


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return frame(N, 1, n_days=60)


@pytest.fixture
def current() -> pd.DataFrame:
    return frame(N, 2)


def _row(verdict: DriftVerdict, feature: str) -> FeatureDrift:
    return next(row for row in verdict.features if row.feature == feature)


def test_same_distribution_passes_with_every_feature_reported(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current)
    assert verdict.outcome is Outcome.PASS
    assert verdict.drift_score == 0.0
    assert verdict.rules_fired == ()
    assert [row.feature for row in verdict.features] == [*(f.name for f in features()), SCORE]
    assert "does not differ" in verdict.explanation


def test_one_shifted_feature_fails_by_feature_drift_alone(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current.assign(n1=current["n1"] + 0.3))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.rules_fired == ("feature_drift",)
    assert verdict.drift_score == pytest.approx(1 / 6)
    assert _row(verdict, "n1").is_drifted
    assert "n1: median" in verdict.explanation


def test_small_shifts_of_many_features_fail_by_broad_drift(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    moved = current.assign(**{name: current[name] + 0.09 for name in ("n1", "n2", "n3")})
    assert "broad_drift" in judge(reference, moved).rules_fired


def test_a_shift_below_the_floor_passes_however_many_rows_prove_it() -> None:
    before, after = (frame(60_000, seed, correlation=0.0) for seed in (1, 2))
    verdict = judge(before, after.assign(n1=after["n1"] + 0.08), DriftPolicy(cluster=None))
    assert (_row(verdict, "n1").p_value or 0.0) < 1e-10
    assert verdict.outcome is Outcome.PASS


def test_shifted_scores_fail_by_score_drift_alone(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current.assign(score=current["score"] * 0.9))
    assert verdict.rules_fired == ("score_drift",)
    assert _row(verdict, SCORE).is_drifted


def test_scores_of_another_model_are_not_judged(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current.assign(score=np.nan))
    assert verdict.outcome is Outcome.PASS
    assert SCORE not in {row.feature for row in verdict.features}
    assert "not tested: score drift" in verdict.headline


def test_a_broken_correlation_fails_though_no_feature_moved(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    shuffled = current["n2"].sample(frac=1, random_state=0).to_numpy()
    verdict = judge(reference, current.assign(n2=shuffled))
    assert verdict.rules_fired == ("correlation_break",)
    assert "rank correlation of n1 and n2 went from" in verdict.explanation


def test_size_alone_decides_on_correlations_without_an_alpha(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    shuffled = current.sample(600, random_state=0).assign(n2=lambda rows: rows["n2"].to_numpy()[::-1])
    few = reference.sample(600, random_state=0)
    unsure = DriftPolicy(correlation=Threshold(0.05, alpha=1e-300))
    assert judge(few, shuffled, unsure).correlations == ()
    by_size = judge(few, shuffled, replace(unsure, correlation=Threshold(0.05)))
    assert all(abs(pair.current - pair.reference) >= 0.05 for pair in by_size.correlations)
    assert max(pair.p_value for pair in by_size.correlations) * 6 > 1


def test_drift_score_above_the_threshold_is_a_rule_of_its_own(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    moved = simulate_drift(current, 0.5)
    assert "drift_score" in judge(reference, moved).rules_fired
    assert "drift_score" not in judge(reference, moved, DriftPolicy(drift_threshold=1.0)).rules_fired


@pytest.mark.parametrize("reference_days", [60, 28])
def test_a_step_amid_the_window_does_not_pass_for_a_mood_of_its_days(reference_days: int) -> None:
    before, after = frame(200 * reference_days, 1, n_days=reference_days), frame(200 * 28, 2)
    is_late = after["requested_at"] >= after["requested_at"].min() + pd.Timedelta(days=14)
    verdict = judge(before, after.assign(n1=after["n1"] + is_late))
    assert verdict.rules_fired == ("feature_drift",)
    assert _row(verdict, "n1").is_drifted


def test_more_nulls_fail_by_feature_drift(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    missing = np.random.default_rng(0).random(N) < 0.03
    verdict = judge(reference, current.assign(n1=current["n1"].mask(missing)))
    assert verdict.rules_fired == ("feature_drift",)
    assert "nulls 0.0% -> 3" in verdict.explanation


def test_a_moved_category_mix_fails(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    swapped = (current["c0"] == "a") & (np.random.default_rng(0).random(N) < 0.2)
    verdict = judge(reference, current.assign(c0=current["c0"].mask(swapped, "c")))
    assert verdict.rules_fired == ("feature_drift",)


def test_unmonitored_features_are_measured_but_do_not_count(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    quiet = [replace(f, is_monitored=f.name != "n1") for f in features()]
    verdict = judge(reference, current.assign(n1=current["n1"] + 1), of_features=quiet)
    assert verdict.outcome is Outcome.PASS
    assert _row(verdict, "n1").is_drifted
    assert verdict.drift_score == 0.0


def test_new_levels_of_an_unmonitored_feature_do_not_count_but_another_type_does(
    reference: pd.DataFrame, current: pd.DataFrame
) -> None:
    quiet = [replace(f, is_monitored=f.name != "c0") for f in features()]
    newer = current.assign(c0=current["c0"].replace({"b": "new"}))
    assert judge(reference, newer).rules_fired[0] == "schema"
    assert judge(reference, newer, of_features=quiet).outcome is Outcome.PASS
    numbers = current.assign(c0=current["c0"].map(dict(zip("abcde", range(5), strict=True))))
    assert "c0: type changed from text to number" in judge(reference, numbers, of_features=quiet).explanation


@pytest.mark.parametrize("outlier", [1e6, -1e6, 1e300])
def test_one_outlier_does_not_move_the_verdict(reference: pd.DataFrame, current: pd.DataFrame, outlier: float) -> None:
    for name in ("n0", "n1"):
        spoilt = current.copy()
        spoilt.loc[spoilt.index[17], name] = outlier
        before, after = judge(reference, current), judge(reference, spoilt)
        assert (after.outcome, after.drift_score) == (before.outcome, before.drift_score)
        assert _row(after, name).statistic == pytest.approx(_row(before, name).statistic, abs=2 / N)
        assert judge(spoilt, current).outcome is Outcome.PASS


def test_infinities_count_as_nulls(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    spoilt = current.assign(n1=current["n1"].mask(np.random.default_rng(0).random(N) < 0.03, np.inf))
    verdict = judge(reference, spoilt)
    assert _row(verdict, "n1").null_rate_current == pytest.approx(0.03, abs=0.01)
    assert verdict.rules_fired == ("feature_drift",)


def test_the_order_of_the_rows_changes_nothing(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    shuffled = current.sample(frac=1, random_state=3)
    assert judge(reference, shuffled) == judge(reference, current)


def test_the_evaluation_id_is_that_of_the_inputs(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    first = judge(reference, current).evaluation_id
    assert judge(reference.copy(), current.copy()).evaluation_id == first
    changed = current.copy()
    changed.loc[changed.index[0], "n1"] += 1e-9
    others = [
        judge(reference, changed),
        judge(reference, current, DriftPolicy(q=0.02)),
        judge(reference, current, of_features=features()[:-1]),
        judge(current, reference),
    ]
    assert len({first, *(other.evaluation_id for other in others)}) == 5


@pytest.mark.parametrize(("n_reference", "n_current"), [(N, 0), (N, 499), (499, N), (0, 0)])
def test_too_few_rows_are_insufficient_and_say_so(n_reference: int, n_current: int) -> None:
    verdict = judge(frame(max(n_reference, 1), 1)[:n_reference], frame(max(n_current, 1), 2)[:n_current])
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.drift_score is None
    assert verdict.features == ()
    assert "at least 500 are needed" in verdict.explanation


def test_an_empty_window_without_columns_is_insufficient(reference: pd.DataFrame) -> None:
    verdict = judge(reference, pd.DataFrame())
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "the window has 0 rows, at least 500 are needed" in verdict.headline


def test_one_day_against_one_day_is_insufficient_unless_rows_are_declared_independent() -> None:
    before, after = frame(1000, 1, n_days=1), frame(1000, 2, n_days=1)
    assert "one day each" in judge(before, after).explanation
    assert judge(before, after).outcome is Outcome.INSUFFICIENT
    assert judge(before, after, DriftPolicy(cluster=None)).outcome is Outcome.PASS


def test_rows_without_times_count_as_independent(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference.drop(columns="requested_at"), current)
    assert {row.design_effect for row in verdict.features} == {1.0}


def test_a_missing_column_fails_by_the_schema_rule(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current.drop(columns="n2"))
    assert verdict.rules_fired == ("schema",)
    assert "n2: missing from the window" in verdict.explanation
    assert _row(verdict, "n2").statistic is None


def test_a_column_the_reference_lacks_fails_by_the_schema_rule(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    assert "train a model that knows it" in judge(reference.drop(columns="n2"), current).explanation


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("n1", lambda c: c.map("{:.3f}".format), "n1: type changed: 100% of the values are no numbers"),
        ("n1", lambda c: pd.to_datetime(c, unit="D"), "n1: type changed"),
        ("c0", lambda c: c.map({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}), "c0: type changed from text to number"),
        (
            "c0",
            lambda c: c.replace({"b": "new", "d": "newer"}),
            "levels the reference does not know, e.g. 'new', 'newer'",
        ),
        ("n1", lambda c: c * np.nan, "n1: null in every row of the window"),
        ("c0", lambda c: c.map(lambda _: None), "c0: null in every row of the window"),
    ],
)
def test_broken_columns_fail_by_the_schema_rule(
    reference: pd.DataFrame, current: pd.DataFrame, name: str, change: Callable[[Any], Any], message: str
) -> None:
    verdict = judge(reference, current.assign(**{name: change(current[name])}))
    assert verdict.outcome is Outcome.FAIL
    assert "schema" in verdict.rules_fired
    assert message in verdict.explanation
    assert _row(verdict, name).is_drifted


def test_a_few_strings_among_numbers_count_as_nulls(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    mixed = current["n1"].astype(object)
    mixed.iloc[:20] = "broken"
    verdict = judge(reference, current.assign(n1=mixed))
    assert verdict.outcome is Outcome.PASS
    assert _row(verdict, "n1").null_rate_current == pytest.approx(20 / N)


def test_an_empty_text_is_a_level_of_its_own(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    numbers = {level: str(place) for place, level in enumerate("abcde")}
    before, after = (rows.assign(c0=rows["c0"].map(numbers)) for rows in (reference, current))
    verdict = judge(before, after.assign(c0=after["c0"].mask(np.arange(N) % 5 == 0, "")))
    assert "c0: type changed from number to text, e.g. ''" in verdict.explanation
    known = after.assign(c0=after["c0"].replace({"0": ""}))
    assert judge(before.assign(c0=before["c0"].replace({"0": ""})), known).outcome is Outcome.PASS


def test_a_rare_unseen_level_passes(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    rare = current["c0"].mask(np.arange(N) < 30, "unseen")
    assert judge(reference, current.assign(c0=rare)).outcome is Outcome.PASS


def test_levels_are_equal_whatever_type_carries_them(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    numbers = {level: place for place, level in enumerate("abcde")}
    as_text = reference.assign(c0=reference["c0"].map(numbers).astype(str))
    as_float = current.assign(c0=current["c0"].map(numbers).astype(float), c1=current["c1"].astype("category"))
    assert judge(as_text, as_float).outcome is Outcome.PASS


def test_constants_and_nulls_on_both_sides_pass(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    dull: dict[str, Any] = {"n1": 3.0, "n2": np.nan, "c0": "only", "c1": None}
    verdict = judge(reference.assign(**dull), current.assign(**dull))
    assert verdict.outcome is Outcome.PASS
    assert (_row(verdict, "n1").statistic, _row(verdict, "n1").p_value) == (0.0, 1.0)
    assert _row(verdict, "n2").statistic is None
    assert _row(verdict, "c0").statistic == 0.0


def test_another_constant_fails(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    policy = DriftPolicy(cluster=None)
    verdict = judge(reference.assign(n1=3.0), current.assign(n1=4.0), policy)
    assert _row(verdict, "n1").statistic == 1.0
    assert verdict.outcome is Outcome.FAIL


def test_heavily_tied_counts_pass_and_their_shift_fails() -> None:
    rng = np.random.default_rng(5)
    before = frame(N, 1, n_days=60).assign(n1=rng.poisson(0.3, N))
    after = frame(N, 2).assign(n1=rng.poisson(0.3, N))
    assert judge(before, after).outcome is Outcome.PASS
    assert judge(before, after.assign(n1=rng.poisson(0.5, N))).outcome is Outcome.FAIL


def test_booleans_are_numbers(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference.assign(n1=reference["n1"] > 0), current.assign(n1=current["n1"] > 1))
    assert verdict.outcome is Outcome.FAIL
    assert _row(verdict, "n1").test == "ks"


def test_no_monitored_feature_leaves_score_and_schema_to_decide(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    quiet = [replace(feature, is_monitored=False) for feature in features()]
    verdict = judge(reference, current.drop(columns="n1"), of_features=quiet)
    assert verdict.drift_score is None
    assert verdict.rules_fired == ("schema",)
    assert judge(reference, current, of_features=[]).outcome is Outcome.PASS


def test_simulated_drift_is_reproducible_grows_and_keeps_its_input(
    reference: pd.DataFrame, current: pd.DataFrame
) -> None:
    kept = current.copy()
    scores = [judge(reference, simulate_drift(current, strength)).drift_score or 0.0 for strength in (0.0, 0.1, 1.0)]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 1.0)
    assert simulate_drift(current.assign(weight=1.0), 0.5)["weight"].tolist() == [1.0] * N
    pd.testing.assert_frame_equal(current, kept)
    pd.testing.assert_frame_equal(simulate_drift(current, 0.5, 3), simulate_drift(current, 0.5, 3))


def test_explanation_of_many_findings_stays_short() -> None:
    many = [Feature(f"x{i}", "") for i in range(40)]
    rng = np.random.default_rng(0)
    before, after = (pd.DataFrame(rng.standard_normal((1000, 40)), columns=[f.name for f in many]) for _ in range(2))
    lines = judge(before, after + 1, of_features=many).explanation.splitlines()
    assert len(lines) < 16
    assert lines[-1].startswith("- and ")
