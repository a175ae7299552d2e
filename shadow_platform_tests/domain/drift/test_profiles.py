"""Profiles add up: however rows are split, ordered and merged, they say the same to the last bit."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.grid import NumericCells, quantile_edges, reference_grid
from shadow_platform.domain.drift.profiles import (
    MAX_UNSEEN,
    MOMENTS,
    Profiles,
    empty_profiles,
    ks_error,
    merge,
    profiles_of,
)
from shadow_platform_tests.domain.drift.rows import FEATURES, awkward_rows, grid_of

SEEDS = st.integers(0, 10_000)
START = datetime(2024, 2, 28, tzinfo=UTC)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 300), st.integers(1, 6), st.booleans())
def test_profiles_of_any_split_in_any_order_are_those_of_the_whole(seed: int, n: int, parts: int, timed: bool) -> None:
    rows, grid = awkward_rows(seed, n, is_timed=timed), grid_of(awkward_rows(seed + 1, 500))
    rng = np.random.default_rng(seed)
    shuffled, place = rows.iloc[rng.permutation(n)], rng.integers(0, parts, n)
    counted = [profiles_of(shuffled[place == part], grid) for part in range(parts)]

    whole = profiles_of(rows, grid)
    one_by_one = empty_profiles(grid)
    for part in reversed(counted):
        one_by_one += part

    assert merge(counted).digest == whole.digest == one_by_one.digest


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 300))
def test_merging_hours_to_days_is_counting_by_day(seed: int, n: int) -> None:
    rows, grid = awkward_rows(seed, n), grid_of(awkward_rows(seed + 1, 500))
    by_day = profiles_of(rows.assign(requested_at=rows["requested_at"].dt.floor("D")), grid)

    assert profiles_of(rows, grid).by_day().digest == by_day.digest
    assert by_day.merged().digest == profiles_of(rows.drop(columns="requested_at"), grid).digest


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 60), st.integers(1, 40))
def test_a_window_is_what_was_requested_in_it(seed: int, first_hour: int, hours: int) -> None:
    rows, grid = awkward_rows(seed, 200), grid_of(awkward_rows(seed + 1, 500))
    start, end = START + timedelta(hours=first_hour), START + timedelta(hours=first_hour + hours)
    at = rows["requested_at"]

    counted = profiles_of(rows[(at >= start) & (at < end)], grid)
    assert profiles_of(rows, grid).window(start, end).digest == counted.digest


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 300))
def test_every_row_is_in_a_cell_of_an_unseen_level_or_null(seed: int, n: int) -> None:
    counted = profiles_of(awkward_rows(seed, n), grid_of(awkward_rows(seed + 1, 50)))

    assert counted.n.sum() == n
    for column in counted.columns.values():
        known = column.counts.sum(axis=1) + sum(column.unseen.values(), start=column.unnamed)
        assert (known + column.null == counted.n).all()
        assert (column.foreign <= column.null).all()


def test_what_is_null_foreign_and_unseen_is_told_apart() -> None:
    grid = grid_of(awkward_rows(10, 500))
    rows = pd.DataFrame(
        {
            "mixed": [1, "text", None, np.inf, {"a": 1}],
            "größe 🚀": ["ä", "neu", None, "neu", "山"],
            "coded": ["1", 1.0, 1, True, 7],
        }
    )
    columns = profiles_of(rows, grid).columns

    assert list(columns) == ["mixed", "größe 🚀", "coded"]
    assert (columns["mixed"].null.tolist(), columns["mixed"].foreign.tolist()) == ([4.0], [2.0])
    assert {name: count.tolist() for name, count in columns["größe 🚀"].unseen.items()} == {"neu": [2.0]}
    assert {name: count.tolist() for name, count in columns["coded"].unseen.items()} == {"7": [1.0], "True": [1.0]}
    assert columns["mixed"].lowest.tolist() == columns["mixed"].highest.tolist() == [1.0]


def test_thousands_of_unseen_levels_stay_counted_and_a_hundred_stay_named() -> None:
    grid = grid_of(awkward_rows(10, 500))
    rows = pd.DataFrame({"größe 🚀": [f"id {place % 2_000}" for place in range(5_000)]})
    whole = profiles_of(rows, grid)
    column = whole.columns["größe 🚀"]

    assert len(column.unseen) == MAX_UNSEEN
    assert sum(column.unseen.values(), start=column.unnamed).tolist() == [5_000]
    assert merge([profiles_of(rows.iloc[part::7], grid) for part in range(7)]).digest == whole.digest


def test_weights_count_as_so_many_rows() -> None:
    rows, grid = awkward_rows(12, 200), grid_of(awkward_rows(13, 500))
    times = np.random.default_rng(1).integers(1, 4, 200)
    repeated, weighted = (
        profiles_of(rows.loc[rows.index.repeat(times)], grid),
        profiles_of(rows.assign(weight=times), grid),
    )

    assert weighted.n.tolist() == repeated.n.tolist()
    assert weighted.squares.sum() == (times**2).sum()
    for name, column in weighted.columns.items():
        assert (column.counts == repeated.columns[name].counts).all()
        assert (column.null == repeated.columns[name].null).all()
    assert weighted.correlations is not None
    assert repeated.correlations is not None
    assert np.allclose(weighted.correlations, repeated.correlations)


def test_correlation_sums_are_moments_of_the_rank_scores_where_both_are_present() -> None:
    rows, grid = awkward_rows(12, 400), grid_of(awkward_rows(13, 500))
    sums = profiles_of(rows, grid).merged().correlations
    assert sums is not None
    first, second = grid.correlated.index("smooth"), grid.correlated.index("spiky")
    scores = []
    for name in ("smooth", "spiky"):
        cells = grid.cells[name]
        assert isinstance(cells, NumericCells)
        codes = cells.codes(rows[name].to_numpy())
        scores.append(np.where(codes < 0, np.nan, grid.rank_scores[name][codes]))

    both = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    for place, (p, q) in enumerate(MOMENTS):
        assert sums[0, place, first, second] == (scores[0] ** p * scores[1] ** q)[both].sum()


def test_profiles_on_different_grids_do_not_add_up() -> None:
    first, second = (profiles_of(awkward_rows(seed, 50), grid_of(awkward_rows(seed, 300))) for seed in (2, 4))

    with pytest.raises(ValueError, match=r"profiles of 2 grids \(.*\) cannot be added; count on one grid"):
        _ = first + second


def test_no_rows_make_no_periods() -> None:
    grid = grid_of(awkward_rows(2, 300))
    none = profiles_of(awkward_rows(2, 300).iloc[:0], grid)

    assert none.digest == empty_profiles(grid).digest
    assert (none.by_day().n.tolist(), none.window(START, START + timedelta(days=1)).n.tolist()) == ([], [])


def test_a_column_that_is_gone_is_absent_and_null_where_other_hours_have_it() -> None:
    rows, grid = awkward_rows(2, 300), grid_of(awkward_rows(2, 300))
    gone = profiles_of(rows.drop(columns="smooth"), grid)

    assert "smooth" not in gone.columns
    both = (gone + profiles_of(rows, grid)).merged().columns["smooth"]
    assert both.null.tolist() == [300 + rows["smooth"].isna().sum()]


SHAPES = st.sampled_from(["normal", "counts", "spike", "lognormal", "two values", "constant"])


def _numbers(shape: str, rng: np.random.Generator, n: int, shift: float) -> np.ndarray:
    return {
        "normal": lambda: rng.normal(shift, 1, n),
        "counts": lambda: rng.poisson(3 + shift, n).astype(float),
        "spike": lambda: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(1 + shift, n)),
        "lognormal": lambda: rng.lognormal(shift, 2, n),
        "two values": lambda: (rng.random(n) < 0.3 + shift / 10).astype(float),
        "constant": lambda: np.full(n, 1.0),
    }[shape]()


@settings(max_examples=80, deadline=None)
@given(SHAPES, SHAPES, SEEDS, st.integers(2, 3_000), st.floats(0, 2))
def test_counts_never_overstate_a_ks_distance_and_understate_it_within_the_bound(
    first: str, second: str, seed: int, n: int, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    reference, current = _numbers(first, rng, 2_000, 0), _numbers(second, rng, n, shift)
    cells = NumericCells(quantile_edges(reference))
    counts = [np.bincount(cells.codes(values), minlength=cells.n_cells) for values in (reference, current)]
    shares = [rows / rows.sum() for rows in counts]
    by_counts = np.abs(np.cumsum(shares[0] - shares[1])).max()

    exact = stats.ks_2samp(reference, current, method="asymp").statistic
    bound = ks_error(counts[0].astype(float), counts[1].astype(float), cells)
    assert by_counts - 1e-12 <= exact <= by_counts + bound + 1e-12
    assert bound <= np.minimum(*shares).max() + 1e-12


@pytest.mark.parametrize("shape", ["counts", "two values", "constant"])
def test_of_a_discrete_feature_the_counts_are_exact(shape: str) -> None:
    rng = np.random.default_rng(1)
    reference, current = _numbers(shape, rng, 5_000, 0), _numbers(shape, rng, 5_000, 0)
    cells = NumericCells(quantile_edges(reference))
    counts = [
        np.bincount(cells.codes(values), minlength=cells.n_cells).astype(float) for values in (reference, current)
    ]

    assert ks_error(counts[0], counts[1], cells) == 0


def test_two_thousand_features_are_counted_and_only_so_many_are_in_pairs() -> None:
    features = [Feature(f"f{place}", "one of many") for place in range(2_000)]
    values = np.random.default_rng(1).standard_normal((500, 2_000))
    rows = pd.DataFrame(values, columns=[feature.name for feature in features])
    counted = profiles_of(rows, reference_grid(features, rows, DriftPolicy(max_correlated=20)))

    assert len(counted.columns) == 2_000
    assert counted.correlations is not None
    assert counted.correlations.shape == (1, len(MOMENTS), 20, 20)


def test_the_score_is_one_more_column() -> None:
    rows = awkward_rows(2, 300)
    counted: Profiles = profiles_of(rows, grid_of(rows))

    assert list(counted.columns) == [*(feature.name for feature in FEATURES), SCORE]
    assert counted.columns[SCORE].null.sum() == rows["score"].isna().sum()
