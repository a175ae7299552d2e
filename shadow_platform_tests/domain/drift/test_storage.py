"""What is stored of profiles is all of them: rows come back as the profiles they were made of, to the last bit."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_CORRELATION_SUMS, DRIFT_PROFILES
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.domain.drift.profiles import Profiles, empty_profiles, profiles_of
from shadow_platform.domain.drift.storage import correlation_rows, from_rows, profile_rows
from shadow_platform_tests.domain.drift.rows import awkward_rows, grid_of
from shadow_platform_tests.tiny import USE_CASE


def _stored(home: Path, profiles: Profiles) -> Profiles:
    """The profiles after a way through the files of a lake."""
    lake = Lake(Layout(home))
    hours = dict.fromkeys(pd.to_datetime(profiles.starts, utc=True).to_pydatetime(), "requests")
    rows = profile_rows(profiles, USE_CASE.name, hours), correlation_rows(profiles, USE_CASE.name)
    for table, own in zip((DRIFT_PROFILES, DRIFT_CORRELATION_SUMS), rows, strict=True):
        for path in lake.files(table, USE_CASE):
            path.unlink()
        lake.append_rows(table, USE_CASE, [{str(k): v for k, v in row.items()} for row in own.to_dict("records")])
    columns, sums = (lake.read_table(table, USE_CASE) for table in (DRIFT_PROFILES, DRIFT_CORRELATION_SUMS))
    return from_rows(columns, sums, profiles.grid)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 200))
def test_profiles_come_back_to_the_last_bit(tmp_path: Path, seed: int, n: int) -> None:
    profiles = profiles_of(awkward_rows(seed, n), grid_of(awkward_rows(seed + 1, 300)))

    assert _stored(tmp_path, profiles).digest == profiles.digest


def test_levels_that_nobody_knew_come_back_when_there_are_more_than_are_named(tmp_path: Path) -> None:
    rows = awkward_rows(5, 2_000).assign(**{"größe 🚀": [f"🚀 {place}" for place in range(2_000)]})
    profiles = profiles_of(rows, grid_of(awkward_rows(5, 300))).by_day()

    assert _stored(tmp_path, profiles).digest == profiles.digest


def test_a_column_without_a_single_cell_comes_back(tmp_path: Path) -> None:
    grid = grid_of(awkward_rows(5, 300).assign(coded=None))
    profiles = profiles_of(awkward_rows(6, 300), grid)

    assert grid.cells["coded"].n_cells == 0
    assert _stored(tmp_path, profiles).digest == profiles.digest


def test_without_pairs_no_sums_are_stored(tmp_path: Path) -> None:
    profiles = profiles_of(awkward_rows(5, 100), grid_of(awkward_rows(5, 300), DriftPolicy(max_correlated=1)))

    assert correlation_rows(profiles, "tiny").empty
    assert _stored(tmp_path, profiles).digest == profiles.digest


def test_rows_of_other_grids_and_of_hours_that_lost_their_requests_are_left_out() -> None:
    grid, hour = grid_of(awkward_rows(5, 300)), datetime(2024, 3, 1, tzinfo=UTC)
    emptied = profile_rows(empty_profiles(grid, [hour]), "tiny", {hour: ""})
    sums = correlation_rows(empty_profiles(grid, [hour]), "tiny")

    assert emptied["n"].eq(0).all()
    assert from_rows(emptied, sums, grid).digest == empty_profiles(grid).digest
    assert from_rows(emptied, sums, grid_of(awkward_rows(9, 300))).n.tolist() == []


def test_rows_without_a_time_cannot_be_stored() -> None:
    profiles = profiles_of(awkward_rows(5, 100, is_timed=False), grid_of(awkward_rows(5, 300)))

    with pytest.raises(ValueError, match=r"rows without a time, which belong to no hour; store rows with requested_at"):
        profile_rows(profiles, "tiny", {})
