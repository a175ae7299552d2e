"""A grid is fixed by its reference alone, cuts it evenly, and gives frequent values and levels a cell of their own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.grid import (
    MAX_LEVELS,
    N_CELLS,
    POOLED,
    RANK_STEP,
    LevelCells,
    NumericCells,
    exact_grid,
    quantile_edges,
    reference_grid,
)
from shadow_platform.domain.drift.profiles import profiles_of
from shadow_platform_tests.domain.drift.rows import FEATURES, awkward_rows, grid_of

NUMBERS = arrays.arrays(np.float64, st.integers(1, 400), elements=st.floats(allow_nan=False, allow_infinity=False))
NUMBER, LEVEL = Feature("x", "a number"), Feature("x", "a level", kind="categorical")


def _numeric(values: object, policy: DriftPolicy | None = None) -> NumericCells:
    cells = reference_grid([NUMBER], pd.DataFrame({"x": values}), policy or DriftPolicy()).cells["x"]
    assert isinstance(cells, NumericCells)
    return cells


def _levels(values: object) -> LevelCells:
    cells = reference_grid([LEVEL], pd.DataFrame({"x": values}), DriftPolicy()).cells["x"]
    assert isinstance(cells, LevelCells)
    return cells


@settings(max_examples=100, deadline=None)
@given(NUMBERS)
def test_cells_hold_what_lies_between_their_edges(numbers: np.ndarray) -> None:
    cells = NumericCells(quantile_edges(numbers))
    bounds = np.concatenate([[-np.inf], cells.edges, [np.inf]])
    codes = cells.codes(numbers)

    assert (np.diff(cells.edges) > 0).all()
    assert ((bounds[codes] < numbers) & (numbers <= bounds[codes + 1])).all()


@settings(max_examples=100, deadline=None)
@given(NUMBERS, st.integers(2, 40))
def test_no_cell_of_several_values_holds_much_more_than_its_share(numbers: np.ndarray, n_cells: int) -> None:
    cells = NumericCells(quantile_edges(numbers, n_cells))
    counts = np.bincount(cells.codes(numbers), minlength=cells.n_cells)

    assert cells.n_cells <= 3 * n_cells
    assert counts[~cells.is_single_value].max(initial=0) <= 2 * max(len(numbers) / n_cells, 1)


def test_a_continuous_feature_has_as_many_cells_as_declared() -> None:
    assert _numeric(np.random.default_rng(1).standard_normal(10_000)).n_cells == N_CELLS


@pytest.mark.parametrize("values", [range(100), [0.0] * 900 + list(range(100)), [True, False], [2**60, 2**60 + 2**12]])
def test_every_value_of_a_discrete_feature_has_a_cell_to_itself(values: list[float]) -> None:
    cells, known = _numeric(values), np.unique(np.asarray(values, dtype=np.float64))
    codes = cells.codes(known)

    assert len(set(codes)) == len(known)
    assert cells.is_single_value[codes].all()


def test_an_atom_among_many_values_has_a_cell_to_itself() -> None:
    rng = np.random.default_rng(1)
    cells = _numeric(np.where(rng.random(10_000) < 0.6, 7.0, rng.normal(7, 1, 10_000)))
    (place,) = cells.codes(np.array([7.0]))

    assert cells.is_single_value[place]
    assert cells.codes(np.array([np.nextafter(7, -np.inf), np.nextafter(7, np.inf)])).tolist() == [place - 1, place + 1]


@pytest.mark.parametrize("values", [[None] * 5, [np.inf, -np.inf, np.nan], ["text", "text"]])
def test_a_reference_without_a_number_has_one_cell(values: list[object]) -> None:
    assert _numeric(values).n_cells == 1


def test_a_constant_tells_what_is_less_equal_and_more() -> None:
    assert _numeric([3.0] * 10).codes(np.array([2.0, 3.0, 4.0, np.nan])).tolist() == [0, 1, 2, -1]


def test_both_zeros_are_one_value() -> None:
    cells = _numeric([0.0, -0.0, 1.0])

    assert len(set(cells.codes(np.array([0.0, -0.0])))) == 1


def test_levels_are_named_from_the_most_frequent_on() -> None:
    assert _levels(["ß", "山", "山", None, "🚀", 1.0]).names == ("山", "1", "ß", "🚀")


def test_of_thousands_of_levels_the_rare_ones_share_a_cell_and_are_no_unseen_ones() -> None:
    values = [f"often {place % 900}" for place in range(9_000)] + [f"rare {place}" for place in range(3_000)]
    cells = _levels(values)

    assert (cells.n_cells, cells.names[-1], len(cells.pooled)) == (MAX_LEVELS, POOLED, 3_900 - MAX_LEVELS + 1)
    assert {cells.place(level) for level in cells.pooled} == {MAX_LEVELS - 1}
    assert cells.place(POOLED) == -1
    counted = profiles_of(
        pd.DataFrame({"x": values}), reference_grid([LEVEL], pd.DataFrame({"x": values}), DriftPolicy())
    )
    assert not counted.columns["x"].unseen
    assert counted.columns["x"].counts.sum() == 12_000


def test_an_exact_grid_has_a_cell_for_every_value_of_both_samples() -> None:
    rng = np.random.default_rng(1)
    first, second = (pd.DataFrame({"x": rng.standard_normal(n)}) for n in (300, 500))
    counted = profiles_of(second, exact_grid([NUMBER], first, second, DriftPolicy()))

    assert counted.columns["x"].counts.shape == (1, 800)
    assert counted.columns["x"].counts.max() == 1


def test_an_exact_grid_knows_the_levels_of_both_samples() -> None:
    first, second = pd.DataFrame({"x": ["a", "b"]}), pd.DataFrame({"x": ["b", "c"]})
    cells = exact_grid([LEVEL], first, second, DriftPolicy()).cells["x"]

    assert isinstance(cells, LevelCells)
    assert cells.names == ("b", "a", "c")


def test_rank_scores_are_standard_ranks_of_the_reference() -> None:
    rows = awkward_rows(2, 4_000)
    grid = grid_of(rows)
    cells = grid.cells["smooth"]
    assert isinstance(cells, NumericCells)
    scores = grid.rank_scores["smooth"][cells.codes(rows["smooth"].dropna().to_numpy())]

    assert abs(scores.mean()) < RANK_STEP
    assert abs(scores.std() - 1) < RANK_STEP
    assert (scores / RANK_STEP == np.round(scores / RANK_STEP)).all()
    assert (np.diff(grid.rank_scores["smooth"]) >= 0).all()


def test_only_the_first_monitored_numeric_features_are_in_pairs() -> None:
    rows = awkward_rows(2, 200)

    assert grid_of(rows).correlated == ("smooth", "counted", "spiky", "flag", "mixed")
    assert grid_of(rows, DriftPolicy(max_correlated=2)).correlated == ("smooth", "counted")
    unwatched = [Feature(f.name, f.description, kind=f.kind, is_monitored=f.name != "smooth") for f in FEATURES]
    assert "smooth" not in reference_grid(unwatched, rows, DriftPolicy()).correlated


def test_columns_are_in_declared_order_and_the_score_is_last_if_the_reference_has_it() -> None:
    rows = awkward_rows(2, 200)

    assert list(grid_of(rows[rows.columns[::-1]]).cells) == [*(feature.name for feature in FEATURES), SCORE]
    assert SCORE not in grid_of(rows.drop(columns="score")).cells


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000))
def test_the_fingerprint_is_that_of_the_cells_whatever_the_order_of_rows(seed: int) -> None:
    rows = awkward_rows(seed, 300)
    shuffled = rows.sample(frac=1, random_state=seed)

    assert grid_of(rows).fingerprint == grid_of(shuffled).fingerprint
    assert grid_of(rows).fingerprint != grid_of(rows.iloc[:200]).fingerprint


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    told = (
        "from shadow_platform_tests.domain.drift.rows import awkward_rows, grid_of; "
        "print(grid_of(awkward_rows(3, 300)).fingerprint)"
    )
    root = Path(__file__).parents[3]
    other = subprocess.run([sys.executable, "-c", told], cwd=root, capture_output=True, text=True, check=True)

    assert other.stdout.strip() == grid_of(awkward_rows(3, 300)).fingerprint
