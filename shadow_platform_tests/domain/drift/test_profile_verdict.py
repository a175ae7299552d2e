"""The verdict from profiles: that of the rows, whatever hours and parts they were counted in."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.monitoring_verdicts import DriftVerdict, ScoreShift
from shadow_platform.contracts.policies.monitoring import DriftPolicy, Threshold
from shadow_platform.contracts.use_case import Feature
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift import evaluate_drift, evaluate_profiles
from shadow_platform.domain.drift.grid import reference_grid
from shadow_platform.domain.drift.profiles import Profiles, empty_profiles, merge, profiles_of
from shadow_platform_tests.domain.drift.frames import END, ORIGIN, START, features, frame, judge

N = 5_000
POLICY = DriftPolicy()


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return _at_hours(frame(N, 1, n_days=60))


@pytest.fixture
def current() -> pd.DataFrame:
    return _at_hours(frame(N, 2))


def _at_hours(rows: pd.DataFrame) -> pd.DataFrame:
    hours = np.random.default_rng(0).integers(0, 24, len(rows))
    return rows.assign(requested_at=rows["requested_at"] + pd.to_timedelta(hours, unit="h"))


def _judge(
    reference: Profiles, current: Profiles, policy: DriftPolicy = POLICY, shift: ScoreShift | None = None
) -> DriftVerdict:
    return evaluate_profiles("tests", features(), reference, current, policy, START, END, ORIGIN, shift)


def _profiles(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[Profiles, Profiles]:
    grid = reference_grid(features(), reference, POLICY)
    return profiles_of(reference, grid), profiles_of(current, grid)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_profiles_and_rows_agree_within_the_stated_error(
    reference: pd.DataFrame, current: pd.DataFrame, shift: float
) -> None:
    moved = current.assign(n1=current["n1"] + shift)
    by_rows, by_profiles = judge(reference, moved), _judge(*_profiles(reference, moved))
    assert (by_rows.method, by_profiles.method) == ("exact", "profiles")
    assert by_rows.max_error == 0.0
    assert 0 < by_profiles.max_error < 0.01
    assert (by_rows.outcome, by_rows.rules_fired) == (by_profiles.outcome, by_profiles.rules_fired)
    for exact, close in zip(by_rows.features, by_profiles.features, strict=True):
        assert exact.statistic == pytest.approx(close.statistic, abs=by_profiles.max_error + 1e-12)
        assert exact.design_effect == pytest.approx(close.design_effect)
        assert exact.wasserstein_sd == pytest.approx(close.wasserstein_sd, abs=0.01)


def test_frames_above_the_limit_of_exact_rows_are_judged_by_profiles(
    reference: pd.DataFrame, current: pd.DataFrame
) -> None:
    verdict = judge(reference, current, DriftPolicy(exact_rows=N - 1))
    assert verdict.method == "profiles"
    assert verdict.features == _judge(*_profiles(reference, current)).features


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_any_split_of_the_rows_gives_the_same_verdict_byte_for_byte(
    reference: pd.DataFrame, current: pd.DataFrame, n_parts: int
) -> None:
    before, whole = _profiles(reference, current)
    shuffled = current.sample(frac=1, random_state=n_parts)
    parts = merge([profiles_of(shuffled.iloc[place::n_parts], before.grid) for place in range(n_parts)])
    assert _judge(before, parts).model_dump_json() == _judge(before, whole).model_dump_json()


def test_another_row_gives_another_evaluation(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    before, after = _profiles(reference, current)
    one_more = after + profiles_of(current[:1], after.grid)
    assert _judge(before, one_more).evaluation_id != _judge(before, after).evaluation_id


def test_profiles_of_different_grids_are_refused(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    first, second = _profiles(reference, current), _profiles(current, reference)
    with pytest.raises(ValueError, match="counted on different grids"):
        _judge(first[0], second[0])


def test_empty_profiles_at_all_are_insufficient(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    before, after = _profiles(reference, current)
    empty = empty_profiles(before.grid)
    for pair, text in (((before, empty), "window has 0 rows"), ((empty, after), "reference has 0 rows")):
        verdict = _judge(*pair)
        assert verdict.outcome is Outcome.INSUFFICIENT
        assert text in verdict.headline
    assert _judge(before, after.window(END + timedelta(days=9), END + timedelta(days=10))).n_current == 0


def test_profiles_without_times_count_rows_as_independent(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    before, after = _profiles(reference, current.drop(columns="requested_at"))
    assert {row.design_effect for row in _judge(before, after).features} == {1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n1": "text"}, "n1: type changed: 100% of the values are no numbers"),
        ({"c0": 7}, "c0: type changed from text to number, e.g. '7'"),
        ({"c0": "ünbekannt"}, "levels the reference does not know, e.g. 'ünbekannt'"),
        ({"n1": np.nan}, "n1: null in every row of the window, but not in the reference"),
    ],
)
def test_broken_columns_are_seen_in_profiles(
    reference: pd.DataFrame, current: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    verdict = _judge(*_profiles(reference, current.assign(**change)))
    assert "schema" in verdict.rules_fired
    assert message in verdict.headline


def test_a_column_gone_from_profiles_is_missing_from_the_window(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = _judge(*_profiles(reference, current.drop(columns="n2")))
    assert verdict.rules_fired == ("schema",)
    assert verdict.headline == "n2: missing from the window"


def test_weights_that_leave_too_few_rows_are_insufficient(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    heavy = np.where(np.arange(N) < 100, 1_000.0, 1.0)
    verdict = judge(reference, current.assign(weight=heavy))
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "at least 500 are needed" in verdict.headline


def test_a_statistic_is_reported_beyond_its_own_threshold_only(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    moved = current.assign(n1=current["n1"] + 1.0)
    strict, lax = (
        judge(reference, moved, DriftPolicy(psi=Threshold(floor), js=None)).features[1].beyond for floor in (0.1, 9.0)
    )
    assert strict == ("ks", "psi", "kl", "wasserstein_sd")
    assert lax == ("ks", "kl", "wasserstein_sd")


def test_the_headline_says_how_much_what_and_where(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    moved = current.assign(n1=current["n1"] - 0.5, score=current["score"] * 0.8)
    shift = ScoreShift(
        mean_reference=0.5,
        mean_current=0.4,
        by_feature={"n1": -0.09, "n2": -0.01},
        leading=("n2", "n1"),
        segments=(),
        moved_in={"n1": "c0=b"},
    )
    verdict = _judge(*_profiles(reference, moved), shift=shift)
    assert verdict.headline.startswith("1 of 6 features drifted; scores moved by D = 0.")
    assert verdict.headline.endswith("; n1 fell, mostly in c0 b")
    assert verdict.explanation.startswith(verdict.headline)
    assert next(row for row in verdict.features if row.feature == "n1").score_contribution == -0.09


def test_two_thousand_features_are_judged_in_one_go() -> None:
    many = [Feature(f"x{i}", "") for i in range(2_000)]
    rng = np.random.default_rng(0)
    names = [feature.name for feature in many]
    days = pd.Timestamp(START) + pd.to_timedelta(np.arange(600) % 20, unit="D")
    reference, current = (
        pd.DataFrame(rng.standard_normal((600, 2_000)), columns=names).assign(requested_at=days) for _ in range(2)
    )
    current["x7"] += 1.0
    verdict = evaluate_drift("tests", many, reference, current, DriftPolicy(max_correlated=20), START, END, ORIGIN)
    assert verdict.rules_fired == ("feature_drift",)
    assert [row.feature for row in verdict.features if row.is_drifted] == ["x7"]
