"""What the benchmark of drift rests on: its shortcuts give what the long way gives.

Belongs here: draws of counts, bounds, day sums, one run of the command. Does not belong here: the figures themselves.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.drift.__main__ import main
from benchmarks.drift.judging import Setting, judge_counts, judge_rows, pairs
from benchmarks.drift.peers import judge_seed
from benchmarks.drift.performance import START, Concept, answered, by_day
from benchmarks.drift.tables import Rate
from benchmarks.drift.worlds import CHANGES, FEATURES, Change, World, days_of, population_grid, profiles, rows
from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift.profiles import profiles_of
from shadow_platform.domain.estimation import performance_by_day

MOVED = Change(shifts={"n0": 0.3, "n1": -0.2}, mix=0.05, null_rate=0.03)


@pytest.mark.parametrize("n", [2_000, 60_000])
@pytest.mark.parametrize("change", [Change(), MOVED])
def test_counts_drawn_without_rows_are_distributed_like_counted_rows(n: int, change: Change) -> None:
    rng, grid = np.random.default_rng(7), population_grid()
    world = World(day_effect=0.2, weekly=0.3)
    days = days_of(world, 7, rng)

    counted = profiles_of(rows(world, days, n, rng, change), grid).by_day()
    drawn = profiles(days, n, rng, grid, change)

    assert (counted.starts == drawn.starts).all()
    assert drawn.n.sum() == n
    for name in (*(feature.name for feature in FEATURES), SCORE):
        both = [_coarse(side.columns[name].counts.sum(axis=0)) for side in (counted, drawn)]
        assert stats.chi2_contingency(np.stack(both)).pvalue > 1e-4, name
        by_row, by_draw = (side.columns[name] for side in (counted, drawn))
        assert (by_draw.counts.sum(axis=1) + by_draw.null == drawn.n).all()
        assert by_draw.null.sum() == pytest.approx(by_row.null.sum(), abs=6 * np.sqrt(1 + by_row.null.sum()))


def _coarse(counts: np.ndarray) -> np.ndarray:
    return counts.reshape(16, -1).sum(axis=1) if len(counts) > 16 else counts


def test_rows_and_counts_of_one_shift_fail_both_and_without_one_pass_both() -> None:
    for change, outcome in ((Change(), Outcome.PASS), (CHANGES["one feature +0.2 sd"], Outcome.FAIL)):
        setting = Setting(10_000, change=change)
        rng = np.random.default_rng(3)
        before, after = setting.days(rng)
        grid = population_grid()
        reference, current = profiles(before, 10_000, rng, grid), profiles(after, 10_000, rng, grid, change)

        assert judge_counts(reference, current, after).outcome is outcome
        assert judge_rows(*next(pairs(setting, 1, seed=3))).outcome is outcome


@pytest.mark.parametrize(("hits", "windows"), [(0, 300), (7, 300), (300, 300)])
def test_the_bound_of_a_rate_is_that_of_clopper_and_pearson(hits: int, windows: int) -> None:
    exact = stats.binomtest(hits, windows, alternative="less").proportion_ci(0.95, "exact").high

    assert Rate(hits, windows).upper == pytest.approx(exact)


def test_day_sums_of_answers_are_what_performance_daily_holds() -> None:
    cohort = answered(Concept(day_effect=0.4), 60, 5, 0, np.random.default_rng(0))

    stored = performance_by_day(cohort, "champion", START + timedelta(days=30))

    columns = ["day_at", "role", "n", "n_labelled", "n_censored", "estimator", "log_loss", "estimated_log_loss"]
    pd.testing.assert_frame_equal(by_day(cohort)[columns], stored[columns], check_dtype=False)


def test_rules_by_hand_see_a_shift_of_one_sd_and_cry_wolf_without_one() -> None:
    large = Setting(1_000, change=Change(shifts={"n1": 1.0}))
    quiet = [judge_seed.judge(*pair) for pair in pairs(Setting(1_000), 8, seed=0)]

    assert judge_seed.judge(*next(pairs(large, 1, seed=0)))["any PSI > 0.25"]
    assert sum(found["any test p < 0.05"] for found in quiet) >= 3
    assert not any(found["any PSI > 0.25"] for found in quiet)


def test_the_command_prints_a_table_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tables.json"
    arguments = ["performance", "--scale", "0.001", "--cache", str(tmp_path), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.drift", *arguments])

    main()

    (table,) = json.loads(path.read_text())["tables"]
    assert len(table["rows"]) == len(table["figures"]) > 0
    assert f"| {' | '.join(table['rows'][0])} |" in capsys.readouterr().out
