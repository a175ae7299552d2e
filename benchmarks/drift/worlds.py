"""Simulated requests of which it is known whether they drifted: as rows, or as counts in cells.

Belongs here: worlds that do not change (rows independent, alike within a day, days that resemble their neighbours, a
weekly rhythm) and changes of stated size. Does not belong here: judging them. Downstream: every part but ``flights``.

Numbers are standard normal, so the counts of a day in cells fixed beforehand are multinomial with known probabilities:
``profiles`` draws them without any row, which is the same distribution and makes a million rows as cheap as a thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.grid import Grid, LevelCells, NumericCells
from shadow_platform.domain.drift.profiles import ColumnCounts, Profiles

Array = npt.NDArray[np.float64]

N_NUMERIC, N_CATEGORICAL = 18, 7
LEVELS = ("a", "b", "c", "d", "e")
LOG_SHARES = np.log([0.40, 0.30, 0.20, 0.07, 0.03])
NULL_RATE = 0.01
FIRST_DAY = date(2024, 1, 1)
N_CELLS = 256
WEEK = 7
WEEKEND = (5, 6)

NUMBERS = tuple(f"n{i}" for i in range(N_NUMERIC))
CATEGORIES = tuple(f"c{i}" for i in range(N_CATEGORICAL))
FEATURES = (
    *(Feature(name, "A number") for name in NUMBERS),
    *(Feature(name, "A level", kind="categorical") for name in CATEGORIES),
)


@dataclass(frozen=True, slots=True)
class World:
    """What makes requests of an unchanged world alike.

    Attributes:
        day_effect: standard deviation of what a day adds to every number and to every level's log share.
        memory: correlation of neighbouring days' effects, AR(1).
        weekly: amplitude of a rhythm of seven days, in another phase for every column; weekends have half the rows.
        correlation: of any two numbers within a row.
    """

    day_effect: float = 0.0
    memory: float = 0.0
    weekly: float = 0.0
    correlation: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A drift of stated size.

    Attributes:
        shifts: numeric column -> standard deviations added.
        mix: share of the rows that ``c1`` moves from its first to its last level.
        null_rate: of ``n0``.
        score: added to the logit of the score, whose standard deviation is 1.
        uncoupled: numeric column whose correlation with the others is gone.
    """

    shifts: Mapping[str, float] = field(default_factory=dict)
    mix: float = 0.0
    null_rate: float = NULL_RATE
    score: float = 0.0
    uncoupled: str | None = None


STEADY, NO_CHANGE = World(), Change()
CHANGES: Mapping[str, Change] = {
    "one feature +0.2 sd": Change(shifts={"n1": 0.2}),
    "all numbers +0.1 sd": Change(shifts=dict.fromkeys(NUMBERS, 0.1)),
    "one category mix, 5 points": Change(mix=0.05),
    "nulls 1 to 3 %": Change(null_rate=0.03),
    "correlation 0.3 to 0": Change(uncoupled="n2"),
    "score only, +0.2 sd": Change(score=0.2),
}


@dataclass(frozen=True, slots=True)
class Days:
    """Consecutive days of a world, before any row is drawn.

    Attributes:
        first: the first day.
        shares: part of the rows that falls on each day, shape (days,).
        moves: what each day adds to each number, shape (days, numbers).
        tilts: and to the log share of each level, shape (days, categories, levels).
        strength: part of a change that is felt on each day, shape (days,).
    """

    first: date
    shares: Array
    moves: Array
    tilts: Array
    strength: Array

    def part(self, start: int, end: int) -> "Days":
        """Days ``start`` to ``end`` (exclusive), by their number."""
        chosen = slice(start, end)
        shares = self.shares[chosen] / self.shares[chosen].sum()
        first = self.first + timedelta(days=start)
        return Days(first, shares, self.moves[chosen], self.tilts[chosen], self.strength[chosen])

    @property
    def start(self) -> datetime:
        """Midnight of the first day."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Midnight after the last day."""
        return self.start + timedelta(days=len(self.shares))


def days_of(world: World, n_days: int, rng: np.random.Generator) -> Days:
    """Effects of consecutive days of a world."""
    n_columns = N_NUMERIC + N_CATEGORICAL * len(LEVELS)
    noise = rng.standard_normal((n_days, n_columns))
    effects = np.empty_like(noise)
    for day in range(n_days):
        before = effects[day - 1] if day else noise[0]
        effects[day] = world.memory * before + np.sqrt(1 - world.memory**2) * noise[day]
    weekday = np.arange(n_days)[:, None] / WEEK
    rhythm = np.cos(2 * np.pi * (weekday - np.linspace(0, 1, n_columns, endpoint=False)))
    effects = world.day_effect * effects + world.weekly * rhythm
    shares = np.where((world.weekly > 0) & np.isin(np.arange(n_days) % WEEK, WEEKEND), 0.5, 1.0)
    tilts = effects[:, N_NUMERIC:].reshape(n_days, N_CATEGORICAL, len(LEVELS))
    return Days(FIRST_DAY, shares / shares.sum(), effects[:, :N_NUMERIC], tilts, np.ones(n_days))


def rows(world: World, days: Days, n: int, rng: np.random.Generator, change: Change = NO_CHANGE) -> pd.DataFrame:
    """So many requests with ``requested_at`` and ``score``, in the order of their days."""
    day = np.repeat(np.arange(len(days.shares)), rng.multinomial(n, days.shares))
    shared = np.sqrt(world.correlation) * rng.standard_normal((n, 1))
    numbers = shared + np.sqrt(1 - world.correlation) * rng.standard_normal((n, N_NUMERIC)) + days.moves[day]
    frame = pd.DataFrame(numbers, columns=list(NUMBERS))
    strength = days.strength[day]
    frame["score"] = special.expit(frame["n0"] + strength * change.score)
    if change.uncoupled:
        frame[change.uncoupled] = rng.permutation(frame[change.uncoupled].to_numpy())
    for name, shift in change.shifts.items():
        frame[name] += strength * shift
    frame["n0"] = frame["n0"].mask(rng.random(n) < change.null_rate)
    for place, name in enumerate(CATEGORIES):
        bounds = np.cumsum(_level_shares(days, place, change), axis=1)[day]
        codes = (rng.random((n, 1)) > bounds[:, :-1]).sum(axis=1)
        frame[name] = np.array(LEVELS, dtype=object)[codes]
    seconds = rng.integers(0, 86_400, n)
    moments = pd.Timestamp(days.start) + pd.to_timedelta(day * 86_400 + seconds, unit="s")
    return frame.assign(requested_at=moments)


def population_grid() -> Grid:
    """Cells at the quantiles that the numbers have without any effect, fixed before a row is drawn."""
    edges = stats.norm.ppf(np.arange(1, N_CELLS) / N_CELLS)
    cells = {name: NumericCells(edges) for name in NUMBERS}
    levels = {name: LevelCells(LEVELS) for name in CATEGORIES}
    return Grid(cells | levels | {SCORE: NumericCells(special.expit(edges))}, (), {}, "population")


def profiles(days: Days, n: int, rng: np.random.Generator, grid: Grid, change: Change = NO_CHANGE) -> Profiles:
    """Counts by day of so many requests of independent numbers, drawn from their multinomial distribution.

    The score is a function of ``n0``: its counts are those of ``n0`` before nulls. Pairs are not counted, so the rule
    on correlations, whose floor of .1 is many standard errors where this is used, cannot fire.
    """
    sizes = rng.multinomial(n, days.shares)
    columns = {name: _drawn(sizes, _cell_shares(grid, days, place, change), rng) for place, name in enumerate(NUMBERS)}
    logits, moved = special.logit(_edges(grid, SCORE)), days.moves[:, :1] + days.strength[:, None] * change.score
    # Given the cell of the number, the score's cell is certain only if neither moves; else they are drawn apart.
    is_apart = bool(change.score) or "n0" in change.shifts
    scored = _drawn(sizes, _normal_shares(logits, moved), rng) if is_apart else columns["n0"]
    nulls = rng.binomial(columns["n0"].astype(np.int64), change.null_rate)
    counts = {name: _counted(values, np.zeros(len(sizes))) for name, values in columns.items()}
    counts["n0"] = _counted(columns["n0"] - nulls, nulls.sum(axis=1).astype(np.float64))
    for place, name in enumerate(CATEGORIES):
        counts[name] = _counted(_drawn(sizes, _level_shares(days, place, change), rng), np.zeros(len(sizes)))
    counts[SCORE] = _counted(scored, np.zeros(len(sizes)))
    starts = np.datetime64(days.first, "h") + np.arange(len(sizes)) * np.timedelta64(24, "h")
    weights = sizes.astype(np.float64)
    return Profiles(grid, starts, weights, weights, counts, None)


def _level_shares(days: Days, place: int, change: Change) -> Array:
    shares = np.asarray(special.softmax(LOG_SHARES + days.tilts[:, place], axis=1), dtype=np.float64)
    if CATEGORIES[place] == "c1" and change.mix:
        moved = np.minimum(days.strength * change.mix, shares[:, 0])
        shares[:, 0] -= moved
        shares[:, -1] += moved
    return shares


def _edges(grid: Grid, name: str) -> Array:
    cells = grid.cells[name]
    assert isinstance(cells, NumericCells)
    return cells.edges


def _cell_shares(grid: Grid, days: Days, place: int, change: Change) -> Array:
    name = NUMBERS[place]
    shift = days.strength[:, None] * change.shifts.get(name, 0.0)
    return _normal_shares(_edges(grid, name), days.moves[:, place : place + 1] + shift)


def _normal_shares(edges: Array, means: Array) -> Array:
    below = special.ndtr(edges - means)
    return np.diff(below, axis=1, prepend=0.0, append=1.0)


def _drawn(sizes: npt.NDArray[np.int64], shares: Array, rng: np.random.Generator) -> Array:
    """Multinomial counts of each day; fewer rows than cells are drawn one by one, which is then faster."""
    if sizes.sum() > shares.size:
        return rng.multinomial(sizes, shares).astype(np.float64)
    n_days, n_cells = shares.shape
    day = np.repeat(np.arange(n_days), sizes)
    bounds = np.cumsum(shares[:, :-1], axis=1) + np.arange(n_days)[:, None]
    codes = np.searchsorted(bounds.ravel(), day + rng.random(len(day))) + day
    return np.bincount(codes, minlength=shares.size).reshape(n_days, n_cells).astype(np.float64)


def _counted(counts: Array, null: Array) -> ColumnCounts:
    """Counts without extremes: only the reported Wasserstein distance would read them."""
    none, unknown = np.zeros(len(null)), np.full(len(null), np.nan)
    return ColumnCounts(
        counts=counts, null=null, foreign=none, unseen={}, unnamed=none, lowest=unknown, highest=unknown
    )
