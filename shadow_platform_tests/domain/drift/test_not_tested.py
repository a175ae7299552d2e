"""A rule that could not be tested is named with its reason, so that a pass does not say more than was looked at."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.policies.monitoring import DriftPolicy, Threshold
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift import evaluate_profiles
from shadow_platform.domain.drift.grid import reference_grid
from shadow_platform.domain.drift.profiles import profiles_of
from shadow_platform_tests.domain.drift.frames import END, ORIGIN, START, features, frame, judge

N = 3_000
CLASSIFIED = DriftPolicy(domain_classifier=Threshold(0.05, alpha=0.005))


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return frame(N, 1, n_days=60)


@pytest.fixture(scope="module")
def current() -> pd.DataFrame:
    return frame(N, 2)


@pytest.mark.parametrize(
    ("scored", "reason"),
    [
        (None, "the window has no scores"),
        (0, "the champion scored 0 of the window's 3,000 rows, 500 are needed"),
        (120, "the champion scored 120 of the window's 3,000 rows, 500 are needed"),
    ],
)
def test_a_pass_without_enough_scores_says_so(
    reference: pd.DataFrame, current: pd.DataFrame, scored: int | None, reason: str
) -> None:
    kept = current["score"].where(np.arange(N) < (scored or 0))
    verdict = judge(reference, current.drop(columns="score") if scored is None else current.assign(score=kept))
    assert verdict.outcome is Outcome.PASS
    assert verdict.not_tested == (f"score drift: {reason}",)
    assert verdict.headline.endswith("; not tested: score drift")
    assert verdict.explanation.endswith(f"- not tested: score drift: {reason}")


def test_nothing_is_missed_where_the_reference_has_no_scores(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    assert judge(reference, current).not_tested == ()
    assert judge(reference.drop(columns="score"), current.drop(columns="score")).not_tested == ()


def test_a_failure_says_what_was_not_tested_too(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    verdict = judge(reference, current.assign(n1=current["n1"] + 1, score=np.nan))
    assert verdict.outcome is Outcome.FAIL
    assert "- not tested: score drift: " in verdict.explanation


def test_profiles_cannot_tell_window_from_reference_and_say_so(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    grid = reference_grid(features(), reference, CLASSIFIED)
    counted = profiles_of(reference, grid), profiles_of(current, grid)
    verdict = evaluate_profiles("tests", features(), *counted, CLASSIFIED, START, END, ORIGIN)
    assert verdict.not_tested == ("domain classifier: it needs rows, and these were counted",)


def test_a_classifier_without_a_feature_in_order_is_not_fitted(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    quiet = [replace(feature, is_monitored=False) for feature in features()]
    verdict = judge(reference, current, CLASSIFIED, quiet)
    assert verdict.outcome is Outcome.PASS
    assert [reason.split(":")[0] for reason in verdict.not_tested] == ["domain classifier"]
    assert judge(reference, current.drop(columns=["n1", "n2"]), CLASSIFIED, features()[1:3]).rules_fired[0] == "schema"


def test_of_one_day_each_only_what_is_broken_counts() -> None:
    before, after = frame(1_000, 1, n_days=1), frame(1_000, 2, n_days=1)
    moved = after.assign(n0=after["n0"] + 1, n2=after["n2"] * np.nan, score=after["score"] / 2)
    verdict = judge(before, moved)
    assert verdict.rules_fired == ("schema",)
    assert verdict.drift_score == pytest.approx(1 / 6)
    assert {row.feature for row in verdict.features if row.is_drifted} == {"n2"}
    assert SCORE in {row.feature for row in verdict.features}
    assert verdict.correlations == ()
    assert "- not tested: all rules but schema: reference and window are one day each" in verdict.explanation
