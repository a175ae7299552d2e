"""Profiles as rows of ``drift_profiles`` and ``drift_correlation_sums``, and back, without loss.

Belongs here: the shape of the rows. Does not belong here: files (adapters.lake), which hours are due (assets).
Upstream: profiles. Downstream: the asset ``drift_profiles``, and whoever reads its tables.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.tables import DRIFT_CORRELATION_SUMS, DRIFT_PROFILES
from shadow_platform.domain.drift.grid import Array, Codes, Grid
from shadow_platform.domain.drift.profiles import (
    HOURS,
    MOMENTS,
    ColumnCounts,
    Profiles,
    Times,
    absent_column,
    empty_profiles,
    named_levels,
)


def profile_rows(profiles: Profiles, use_case: str, fingerprints: Mapping[datetime, str]) -> pd.DataFrame:
    """Rows of ``drift_profiles``: of every hour, one a column of the grid.

    A column that no row brought has null for ``counts``, and all its rows are null.

    Args:
        fingerprints: ``input_fingerprint`` of each hour.
    """
    hours = _hours(profiles)
    parts = []
    for name in profiles.grid.cells:
        column = profiles.columns.get(name) or absent_column(profiles, name)
        counts = list(column.counts) if name in profiles.columns else [None] * len(hours)
        rows = pd.DataFrame({"hour_at": hours, "n": profiles.n.astype(np.int64)}).assign(
            n_null=column.null.astype(np.int64),
            n_foreign=column.foreign.astype(np.int64),
            unseen=_unseen(column),
            lowest=column.lowest,
            highest=column.highest,
        )
        parts.append(rows.assign(feature=name, counts=pd.Series(counts, dtype=object)))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(DRIFT_PROFILES.column_names))
    fingerprint = rows["hour_at"].map(lambda hour: fingerprints[hour.to_pydatetime()])
    rows = rows.assign(use_case=use_case, grid=profiles.grid.fingerprint, input_fingerprint=fingerprint)
    return rows[list(DRIFT_PROFILES.column_names)]


def correlation_rows(profiles: Profiles, use_case: str) -> pd.DataFrame:
    """Rows of ``drift_correlation_sums``, one an hour; none when no pair is watched."""
    if profiles.correlations is None:
        return pd.DataFrame(columns=list(DRIFT_CORRELATION_SUMS.column_names))
    hours = _hours(profiles)
    sums = [profiles.correlations[place].reshape(-1) for place in range(len(hours))]
    names = [list(profiles.grid.correlated)] * len(hours)
    rows = pd.DataFrame({"hour_at": hours, "features": names, "sums": pd.Series(sums, dtype=object)})
    rows = rows.assign(use_case=use_case, grid=profiles.grid.fingerprint)
    return rows[list(DRIFT_CORRELATION_SUMS.column_names)]


def from_rows(columns: pd.DataFrame, correlations: pd.DataFrame, grid: Grid) -> Profiles:
    """Profiles of the rows that were counted on the grid, whatever else is among them."""
    columns = columns[(columns["grid"] == grid.fingerprint) & (columns["n"] > 0)]
    correlations = correlations[correlations["grid"] == grid.fingerprint]
    if columns.empty:
        return empty_profiles(grid)
    times = columns["hour_at"].dt.tz_convert(None).to_numpy().astype(HOURS)
    starts, places = np.unique(times, return_inverse=True)
    n = np.zeros(len(starts))
    n[places] = columns["n"].to_numpy(np.float64)
    of_columns = {}
    for name, rows in columns.assign(place=places).groupby("feature", sort=False):
        if str(name) in grid.cells and rows["counts"].notna().any():
            of_columns[str(name)] = _column(rows, n, grid.cells[str(name)].n_cells)
    ordered = {name: of_columns[name] for name in grid.cells if name in of_columns}
    return Profiles(grid, starts, n, n, ordered, _sums(correlations, starts, grid))


def _hours(profiles: Profiles) -> "pd.Series[pd.Timestamp]":
    if np.isnat(profiles.starts).any():
        raise ValueError("profiles hold rows without a time, which belong to no hour; store rows with requested_at")
    return pd.Series(profiles.starts.astype("datetime64[us]")).dt.tz_localize("UTC")


def _unseen(column: ColumnCounts) -> "pd.Series[Any]":
    periods = range(len(column.null))
    told = [{name: int(rows[p]) for name, rows in column.unseen.items() if rows[p]} for p in periods]
    return pd.Series(told, dtype=object)


def _column(rows: pd.DataFrame, n: Array, n_cells: int) -> ColumnCounts:
    place: Codes = rows["place"].to_numpy()
    counts, nothing = np.zeros((len(n), n_cells)), np.zeros(len(n))
    for own, cells in zip(place, rows["counts"], strict=True):
        if cells is not None:
            counts[own] = cells
    unseen: dict[str, Array] = defaultdict(nothing.copy)
    for own, text in zip(place, rows["unseen"], strict=True):
        for level, n_rows in json.loads(text).items():
            unseen[level][own] = n_rows
    named = sorted(named_levels(sorted(unseen)))

    def spread(name: str, otherwise: Array) -> Array:
        values = otherwise.copy()
        values[place] = rows[name].to_numpy(np.float64)
        return values

    null = spread("n_null", n)
    nan = np.full(len(n), np.nan)
    return ColumnCounts(
        counts=counts,
        null=null,
        foreign=spread("n_foreign", nothing),
        unseen={level: unseen[level] for level in named},
        unnamed=n - null - counts.sum(axis=1) - sum((unseen[level] for level in named), start=nothing),
        lowest=spread("lowest", nan),
        highest=spread("highest", nan),
    )


def _sums(correlations: pd.DataFrame, starts: Times, grid: Grid) -> Array | None:
    n_features = len(grid.correlated)
    if n_features < 2:
        return None
    sums = np.zeros((len(starts), len(MOMENTS), n_features, n_features))
    places = {start: place for place, start in enumerate(starts.tolist())}
    for hour, own in zip(correlations["hour_at"].dt.tz_convert(None), correlations["sums"], strict=True):
        if hour.to_pydatetime() in places:
            sums[places[hour.to_pydatetime()]] = np.asarray(own).reshape(sums.shape[1:])
    return sums
