"""The benchmark of decisions: its worlds are what they say, and every statistical part prints a table."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.decisions.__main__ import STATISTICS, main, part
from benchmarks.decisions.rules import (
    by_day,
    cohort_at,
    daily,
    first_day_above,
    first_day_below,
    is_ever_promoted,
    of_days,
)
from benchmarks.decisions.worlds import DAYS, HORIZON, PER_DAY, WORLDS


@pytest.mark.parametrize("name", list(WORLDS))
def test_both_models_of_a_world_are_equal(name: str) -> None:
    sums = np.concatenate([WORLDS[name](np.random.default_rng(seed), 20).gains.mean(axis=1) for seed in range(3)])

    assert abs(sums.mean()) < 3.5 * sums.std(ddof=1) / np.sqrt(len(sums))


def test_a_naive_gate_sees_labels_as_they_become_known() -> None:
    play = WORLDS["delayed labels, positives first"](np.random.default_rng(0), 2)
    n, mean, deviation = daily(play)

    known = play.known_on[0] <= 9
    assert n[0, 9] == known.sum() < 10 * PER_DAY
    assert mean[0, 9] == pytest.approx(play.naive[0][known].mean())
    assert deviation[0, 9] == pytest.approx(play.naive[0][known].std(ddof=1))


def test_the_gate_is_shown_matured_cohorts_in_prediction_order() -> None:
    play = WORLDS["delayed labels, positives first"](np.random.default_rng(0), 1)

    assert [len(cohort_at(play, 0, day)) for day in (0, HORIZON - 1, HORIZON, DAYS - 1)] == [
        0,
        0,
        PER_DAY,
        (DAYS - HORIZON) * PER_DAY,
    ]
    assert cohort_at(play, 0, 20).tolist() == list(range((21 - HORIZON) * PER_DAY))


def test_a_gate_that_does_not_wait_for_labels_to_mature_falls_for_the_world_of_delayed_ones() -> None:
    play = WORLDS["delayed labels, positives first"](np.random.default_rng(0), 8)
    waits, hurries = (
        [is_ever_promoted(of_days, shown, stream) for stream in range(8)] for shown in (play, replace(play, horizon=0))
    )

    assert not any(waits)
    assert all(hurries)


def test_a_verdict_is_dated_by_the_day_at_whose_end_it_was_reached() -> None:
    rng = np.random.default_rng(1)
    row = np.concatenate([rng.normal(0, 0.01, 19 * PER_DAY), rng.normal(0.5, 0.3, (DAYS - 19) * PER_DAY)])
    sequence = of_days(row, by_day(len(row)), None, 0.05)
    day = int(first_day_above(sequence, DAYS))

    assert day > 19
    assert sequence.lower[day - 1] > 0 >= sequence.lower[day - 2]
    assert first_day_below(sequence, DAYS) == np.inf
    assert first_day_below(of_days(-row, by_day(len(row)), None, 0.05), DAYS) == day


@pytest.mark.parametrize("name", list(STATISTICS))
def test_every_part_is_a_module_that_measures(name: str) -> None:
    assert callable(part(name).measure)


def test_the_command_prints_tables_and_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tables.json"
    names = ["family", "harm", "clusters", "arrival"]
    arguments = [argument for name in names for argument in ("--part", name)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.decisions", *arguments, "--scale", "0.001", "--json", str(path)])

    main()

    tables = json.loads(path.read_text())["tables"]
    assert set(names) <= set(STATISTICS)
    assert len(tables) == len(names)
    assert all(table["rows"] for table in tables)
    assert f"| {' | '.join(tables[0]['rows'][0])} |" in capsys.readouterr().out
