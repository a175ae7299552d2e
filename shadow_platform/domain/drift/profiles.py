"""Requests counted in the cells of a grid, period by period: profiles that add up, so that a window is a merge.

Belongs here: counting rows, merging counts, and how far a distance of counts can be from that of the values. Does not
belong here: what is concluded (measure, verdict), files (storage). Upstream: frames of requests, grid. Downstream:
storage, measure, correlation, verdict.

Counts and sums are whole multiples of powers of two below 2^53, so that adding them in any order gives the same bytes;
with weights, only up to rounding.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.domain.drift.columns import Flags, as_numbers, level_codes
from shadow_platform.domain.drift.grid import Array, Codes, Grid, LevelCells, NumericCells

Times = npt.NDArray[np.datetime64]
HOURS = "datetime64[h]"

MOMENTS = ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (2, 1), (3, 1), (2, 2))
"""Axis 1 of ``Profiles.correlations``: moment ``(p, q)`` at ``[i, j]`` is the sum of ``a^p b^q`` over rows where both
features have a value, where a is the rank score of feature i and b that of feature j (``Grid.correlated``,
``Grid.rank_scores``). ``(q, p)`` is its transpose. Scores are the reference's, so in another sample their mean is not 0
and their variance not 1; moments up to the fourth order tell a correlation and the variance of a row's influence on it.
"""
MAX_UNSEEN = 100


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """One column; every row is in one cell, of an unseen level, or null.

    Attributes:
        counts: rows in each cell, shape (periods, cells).
        null: rows without a value, shape (periods,).
        foreign: of these, rows whose value is not of the feature's kind.
        unseen: rows of levels that the grid does not know, by level; of at most 100 levels, in order of their names.
        unnamed: rows of further such levels.
        lowest, highest: least and greatest number; NaN without one.
    """

    counts: Array
    null: Array
    foreign: Array
    unseen: Mapping[str, Array]
    unnamed: Array
    lowest: Array
    highest: Array


@dataclass(frozen=True, slots=True)
class Profiles:
    """Counts of requests by period.

    Attributes:
        starts: hours in UTC, ascending, shape (periods,); NaT, at the end, for rows without a time.
        n: rows, or sum of weights.
        squares: sum of squared weights.
        columns: by name, in the grid's order; a column that no row brought is absent.
        correlations: sums over rows, shape (periods, len(MOMENTS), F, F); ``None`` with fewer than two correlated
            features.
    """

    grid: Grid
    starts: Times
    n: Array
    squares: Array
    columns: Mapping[str, ColumnCounts]
    correlations: Array | None

    def window(self, start: datetime, end: datetime) -> "Profiles":
        """Periods that start in ``[start, end)``."""
        first, last = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us") for moment in (start, end))
        kept = np.flatnonzero((self.starts >= first) & (self.starts < last))
        return _regrouped(self, self.starts[kept], kept, np.arange(len(kept)))

    def by_day(self) -> "Profiles":
        """Periods merged to UTC days."""
        days = self.starts.astype("datetime64[D]").astype(HOURS)
        starts, places = np.unique(days, return_inverse=True)
        return _regrouped(self, starts, np.arange(len(days)), places)

    def merged(self) -> "Profiles":
        """One period that holds all."""
        return _regrouped(self, np.array(["NaT"], HOURS), np.arange(len(self.n)), np.zeros(len(self.n), np.int64))

    def __add__(self, other: "Profiles") -> "Profiles":
        """Both together, period by period."""
        return merge([self, other])

    @property
    def digest(self) -> str:
        """Fingerprint of grid and counts: of the same rows, in whatever order and parts, the same."""
        own = hashlib.sha256(self.grid.fingerprint.encode())
        for part in (self.starts.astype(np.int64), self.n, self.squares, self.correlations):
            own.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
        for name, column in self.columns.items():
            own.update(f"\0{name}\0{len(column.unseen)}\0".encode())
            for part in (column.counts, column.null, column.foreign, column.unnamed, column.lowest, column.highest):
                own.update(np.ascontiguousarray(part).tobytes())
            for level, rows in column.unseen.items():
                own.update(level.encode("utf-8", "surrogatepass") + rows.tobytes())
        return own.hexdigest()


def merge(parts: Sequence[Profiles]) -> Profiles:
    """All parts together, period by period.

    Raises:
        ValueError: the parts were counted on different grids.
    """
    grids = sorted({part.grid.fingerprint for part in parts})
    if len(grids) != 1:
        raise ValueError(f"profiles of {len(grids)} grids ({', '.join(grids)}) cannot be added; count on one grid")
    return parts[0] if len(parts) == 1 else _by_start(_side_by_side(parts))


def _regrouped(own: Profiles, starts: Times, kept: Codes, places: Codes) -> Profiles:
    """Some periods of a profile, those of one place added up; ``places`` ascend."""
    firsts = np.flatnonzero(np.diff(places, prepend=-1))

    def added(sums: Array) -> Array:
        return np.add.reduceat(sums[kept], firsts, axis=0) if len(kept) else sums[:0]

    columns = {}
    for name, column in own.columns.items():
        unseen = {level: added(rows) for level, rows in column.unseen.items()}
        columns[name] = ColumnCounts(
            added(column.counts),
            added(column.null),
            added(column.foreign),
            {level: rows for level, rows in unseen.items() if rows.any()},
            added(column.unnamed),
            np.fmin.reduceat(column.lowest[kept], firsts) if len(kept) else column.lowest[:0],
            np.fmax.reduceat(column.highest[kept], firsts) if len(kept) else column.highest[:0],
        )
    sums = None if own.correlations is None else added(own.correlations)
    return Profiles(own.grid, starts, added(own.n), added(own.squares), columns if len(kept) else {}, sums)


def _side_by_side(parts: Sequence[Profiles]) -> Profiles:
    """Periods of all parts one after the other, in order of their starts, not yet added up."""
    grid = parts[0].grid
    starts = np.concatenate([part.starts for part in parts])
    order = np.argsort(starts, kind="stable")
    names = [name for name in grid.cells if any(name in part.columns for part in parts)]
    columns = {name: _joined([(part, part.columns.get(name)) for part in parts], name, order) for name in names}
    known = [part.correlations for part in parts if part.correlations is not None]
    return Profiles(
        grid,
        starts[order],
        np.concatenate([part.n for part in parts])[order],
        np.concatenate([part.squares for part in parts])[order],
        columns,
        np.concatenate(known)[order] if known else None,
    )


def _joined(parts: Sequence[tuple[Profiles, ColumnCounts | None]], name: str, order: Codes) -> ColumnCounts:
    columns = [column or absent_column(part, name) for part, column in parts]
    named = sorted(named_levels(sorted({level for column in columns for level in column.unseen})))
    nothing = [np.zeros(len(column.null)) for column in columns]

    def joined(pieces: Sequence[Array]) -> Array:
        return np.concatenate(pieces)[order]

    unnamed = [
        column.unnamed + sum((rows for level, rows in column.unseen.items() if level not in named), start=none)
        for column, none in zip(columns, nothing, strict=True)
    ]
    return ColumnCounts(
        joined([column.counts for column in columns]),
        joined([column.null for column in columns]),
        joined([column.foreign for column in columns]),
        {
            level: joined([c.unseen.get(level, none) for c, none in zip(columns, nothing, strict=True)])
            for level in named
        },
        joined(unnamed),
        joined([column.lowest for column in columns]),
        joined([column.highest for column in columns]),
    )


def absent_column(part: Profiles, name: str) -> ColumnCounts:
    """Counts of a column that no row of the part brought: null everywhere."""
    periods = len(part.n)
    nothing, nan = np.zeros(periods), np.full(periods, np.nan)
    counts = np.zeros((periods, part.grid.cells[name].n_cells))
    return ColumnCounts(counts, part.n, nothing, {}, nothing, nan, nan)


def _by_start(own: Profiles) -> Profiles:
    starts, places = np.unique(own.starts, return_inverse=True)
    return _regrouped(own, starts, np.arange(len(own.starts)), places)


def empty_profiles(grid: Grid, hours: Sequence[datetime] = ()) -> Profiles:
    """Profiles of hours without rows."""
    starts = np.array([hour.astimezone(UTC).replace(tzinfo=None) for hour in sorted(hours)], dtype=HOURS)
    nothing, n_correlated = np.zeros(len(starts)), len(grid.correlated)
    sums = np.zeros((len(starts), len(MOMENTS), n_correlated, n_correlated)) if n_correlated > 1 else None
    return Profiles(grid, starts, nothing, nothing, {}, sums)


def profiles_of(frame: pd.DataFrame, grid: Grid) -> Profiles:
    """Rows counted by hour.

    Args:
        frame: a column a feature, as known, null where not; optionally ``score``, ``requested_at`` (UTC), without
            which all rows are one period, and ``weight``.
    """
    if not len(frame):
        return empty_profiles(grid)
    starts, periods = _hours(frame)
    if (np.diff(periods) < 0).any():
        order = np.argsort(periods, kind="stable")
        frame, periods = frame.iloc[order], periods[order]
    weights = frame["weight"].to_numpy(np.float64) if "weight" in frame.columns else None
    rows = _Rows(periods, np.flatnonzero(np.diff(periods, prepend=-1)), weights)
    columns: dict[str, ColumnCounts] = {}
    scores: dict[str, tuple[Array, Array]] = {}
    for name, cells in grid.cells.items():
        column = "score" if name == SCORE else name
        if column not in frame.columns:
            continue
        if isinstance(cells, LevelCells):
            columns[name] = _level_counts(frame[column], cells, rows)
            continue
        codes, columns[name] = _number_counts(frame[column], cells, rows)
        if name in grid.rank_scores:
            scores[name] = np.where(codes < 0, 0.0, grid.rank_scores[name][codes]), (codes >= 0).astype(np.float64)
    squares = rows.total(np.ones(len(frame)) if weights is None else weights)
    return Profiles(grid, starts, rows.total(np.ones(len(frame))), squares, columns, _correlations(grid, scores, rows))


def ks_error(reference: Array, current: Array, cells: NumericCells) -> float:
    """How much larger the KS distance of the values can be than that of their counts; it is never smaller.

    Within a cell the distribution functions may move apart by no more than the smaller share of the two samples, and
    not at all where the cell holds a single value.

    Args:
        reference, current: rows in each cell.
    """
    if not reference.sum() or not current.sum():
        return 0.0
    first, second = np.cumsum(reference) / reference.sum(), np.cumsum(current) / current.sum()
    ahead = np.maximum(first - np.append(0.0, second[:-1]), second - np.append(0.0, first[:-1]))
    within = ahead[~cells.is_single_value].max(initial=0.0)
    return float(max(within - np.abs(first - second).max(), 0.0))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows in order of their periods: the period of each, the first row of each period, and weights."""

    periods: Codes
    firsts: Codes
    weights: Array | None

    def total(self, values: Array | Flags) -> Array:
        """Sum of values by period."""
        weighted = np.asarray(values, dtype=np.float64) * (1.0 if self.weights is None else self.weights)
        sums: Array = np.add.reduceat(weighted, self.firsts)
        return sums

    def count(self, codes: Codes, n_codes: int) -> Array:
        """Rows by period and code; those of code -1 are left out."""
        places = self.periods * (n_codes + 1) + codes + 1
        counts = np.bincount(places, self.weights, len(self.firsts) * (n_codes + 1))
        return counts.reshape(len(self.firsts), n_codes + 1)[:, 1:].astype(np.float64)


def _hours(frame: pd.DataFrame) -> tuple[Times, Codes]:
    if "requested_at" not in frame.columns:
        return np.array(["NaT"], HOURS), np.zeros(len(frame), np.int64)
    times = pd.to_datetime(frame["requested_at"], utc=True).dt.tz_convert(None).to_numpy().astype(HOURS)
    starts, periods = np.unique(times, return_inverse=True)
    return starts, periods.astype(np.int64)


def _number_counts(column: "pd.Series[Any]", cells: NumericCells, rows: _Rows) -> tuple[Codes, ColumnCounts]:
    numbers, is_foreign = as_numbers(column)
    codes = cells.codes(numbers)
    return codes, ColumnCounts(
        counts=rows.count(codes, cells.n_cells),
        null=rows.total(codes < 0),
        foreign=rows.total(is_foreign),
        unseen={},
        unnamed=np.zeros(len(rows.firsts)),
        lowest=np.fmin.reduceat(numbers, rows.firsts) + 0.0,
        highest=np.fmax.reduceat(numbers, rows.firsts) + 0.0,
    )


def _level_counts(column: "pd.Series[Any]", cells: LevelCells, rows: _Rows) -> ColumnCounts:
    own, levels = level_codes(column)
    places = np.array([cells.place(level) for level in levels] or [-1], dtype=np.int64)
    codes = np.where(own < 0, -1, places[own])
    is_unseen = (own >= 0) & (codes < 0)
    nothing = np.zeros(len(rows.firsts))
    unseen: dict[str, Array] = {}
    unnamed = nothing
    if is_unseen.any():
        names = [levels[place] for place in np.unique(own[is_unseen])]
        kept = sorted(named_levels(names))
        named = {name: place for place, name in enumerate(kept)}
        own_places = np.array([named.get(level, -1) for level in levels], dtype=np.int64)
        counts = rows.count(np.where(is_unseen, own_places[own], -1), len(kept))
        unseen = {name: counts[:, place].copy() for place, name in enumerate(kept)}
        unnamed = rows.total(is_unseen & (own_places[own] < 0))
    nan = np.full(len(rows.firsts), np.nan)
    null = rows.total(own < 0)
    return ColumnCounts(rows.count(codes, cells.n_cells), null, nothing, unseen, unnamed, nan, nan)


def named_levels(levels: Sequence[str]) -> list[str]:
    """Which unseen levels are told by name: the 100 of smallest hash, so that parts and whole agree on them."""
    if len(levels) <= MAX_UNSEEN:
        return list(levels)
    return sorted(levels, key=lambda level: hashlib.sha256(level.encode("utf-8", "surrogatepass")).digest())[
        :MAX_UNSEEN
    ]


def _correlations(grid: Grid, scores: Mapping[str, tuple[Array, Array]], rows: _Rows) -> Array | None:
    if len(grid.correlated) < 2:
        return None
    absent = np.zeros(len(rows.periods)), np.zeros(len(rows.periods))
    values, present = (np.column_stack([scores.get(name, absent)[part] for name in grid.correlated]) for part in (0, 1))
    ends = np.append(rows.firsts[1:], len(rows.periods))
    sums = np.empty((len(ends), len(MOMENTS), len(grid.correlated), len(grid.correlated)))
    for place, (start, end) in enumerate(zip(rows.firsts, ends, strict=True)):
        scored = values[start:end]
        squared = scored * scored
        powers = [present[start:end], scored, squared, squared * scored, squared * squared]
        weighted = powers if rows.weights is None else [power * rows.weights[start:end, None] for power in powers]
        is_complete = present[start:end].all()
        for moment, (first, second) in enumerate(MOMENTS):
            if second == 0 and is_complete:
                sums[place, moment] = weighted[first].sum(axis=0)[:, None]
                continue
            np.matmul(weighted[first].T, powers[second], out=sums[place, moment])
    return sums + 0.0
