"""Rule 7: a model that tells the window from the reference."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.policies.monitoring import DriftPolicy, Threshold
from shadow_platform.domain.drift.classifier import separation
from shadow_platform_tests.domain.drift.frames import features, frame, judge

POLICY = replace(DriftPolicy(correlation=Threshold(2.0)), domain_classifier=Threshold(0.05, alpha=0.005))


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """A column that is, in its size, a function of another, which no correlation of ranks shows."""
    rng = np.random.default_rng(len(rows))
    return rows.assign(n2=np.abs(rows["n1"]) * rng.choice([-1.0, 1.0], len(rows)))


def test_a_changed_dependence_that_no_other_rule_sees_is_found() -> None:
    reference, current = _paired(frame(4_000, 1, n_days=60)), _paired(frame(4_000, 2))
    broken = current.assign(n2=current["n2"].sample(frac=1, random_state=0).to_numpy())
    assert judge(reference, broken, DriftPolicy()).rules_fired == ()
    verdict = judge(reference, broken, POLICY)
    assert verdict.rules_fired == ("domain_classifier",)
    assert "a model tells window from reference: ROC-AUC" in verdict.explanation
    assert judge(reference, current, POLICY).rules_fired == ()


def test_rows_of_a_day_that_are_alike_do_not_betray_the_window() -> None:
    found = []
    for seed in range(0, 12, 2):
        reference = frame(1_500, seed, n_days=30, day_effect=1.0, correlation=0.0)
        current = frame(1_500, seed + 1, day_effect=1.0, correlation=0.0)
        found.append(separation(features(), reference, current, is_clustered=True))
    assert sum(one is not None and one.p_value < 0.01 for one in found) <= 1


def test_a_window_of_one_day_cannot_be_cross_validated() -> None:
    assert separation(features(), frame(800, 1), frame(800, 2, n_days=1), is_clustered=True) is None


def test_rows_without_times_are_folded_one_by_one() -> None:
    moved = frame(1_500, 2).assign(n1=lambda rows: rows["n1"] + 1.0)
    found = separation(features(), frame(1_500, 1), moved, is_clustered=False)
    assert found is not None
    assert found.auc == pytest.approx(0.76, abs=0.06)
    assert found.p_value < 1e-6
