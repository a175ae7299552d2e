"""The cells that values are counted in: fixed once from a reference, so that counts of any hours add up.

Belongs here: where cells begin and end, and which cell a value falls into. Does not belong here: counting (profiles).
Upstream: data frames, columns. Downstream: profiles, storage, verdict.

Two grids exist. That of a reference has at most a few hundred cells a column, at its quantiles, and is the one whose
counts are stored. An exact one has a cell for every distinct value of two samples: comparing counts in it is comparing
the samples value by value. It is as large as the samples, so it is for counts without times; what varies from day to
day is counted on the grid of the reference.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.columns import as_levels, as_numbers

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

N_CELLS = 256
MAX_LEVELS = 1_000
POOLED = "(rarer levels)"
# Sums of products of four rank scores stay exact in float64 when scores are multiples of this.
RANK_STEP = 2.0**-5
# Changes whenever the same reference would be cut differently, or the same rows be counted differently.
_SCHEME = "1"


@dataclass(frozen=True, slots=True)
class NumericCells:
    """Intervals of numbers.

    Attributes:
        edges: ascending; cell i holds ``(edges[i - 1], edges[i]]``, the last everything above.
    """

    edges: Array

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.edges) + 1

    @property
    def is_single_value(self) -> npt.NDArray[np.bool_]:
        """Of each cell, whether no two different numbers fit into it."""
        if not len(self.edges):
            return np.array([False])
        inner = np.nextafter(self.edges[1:], -np.inf) <= self.edges[:-1]
        return np.concatenate([[self.edges[0] == np.finfo(np.float64).min], inner, [False]])

    def codes(self, numbers: Array) -> Codes:
        """Cell of each number; -1 where NaN."""
        cells = np.searchsorted(self.edges, numbers, side="left")
        return np.where(np.isnan(numbers), -1, cells)


@dataclass(frozen=True, slots=True)
class LevelCells:
    """Levels of a category.

    Attributes:
        names: name of each cell. Of a reference of more than 1,000 levels, the last cell holds all rarer ones.
        pooled: the levels in that cell; empty when every level has its own.
    """

    names: tuple[str, ...]
    pooled: tuple[str, ...] = ()
    _places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = self.names[:-1] if self.pooled else self.names
        places = dict.fromkeys(self.pooled, len(self.names) - 1) | {name: place for place, name in enumerate(own)}
        object.__setattr__(self, "_places", places)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.names)

    def place(self, level: str) -> int:
        """Cell of a level; -1 when the reference does not know it."""
        return self._places.get(level, -1)


Cells = NumericCells | LevelCells


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of every column.

    Attributes:
        cells: of the features in declared order, then of the score if the reference has it.
        correlated: monitored numeric features whose pairs are watched.
        rank_scores: of each correlated feature, the reference's midrank of every cell, mean 0 and variance 1 up to
            rounding to multiples of ``RANK_STEP``.
        fingerprint: equal if and only if counts on both grids may be added.
    """

    cells: Mapping[str, Cells]
    correlated: tuple[str, ...]
    rank_scores: Mapping[str, Array]
    fingerprint: str


def reference_grid(features: Sequence[Feature], reference: pd.DataFrame, policy: DriftPolicy) -> Grid:
    """Cells at quantiles of the reference, and its levels."""
    return _grid(features, [reference], policy, is_exact=False)


def exact_grid(
    features: Sequence[Feature], reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy
) -> Grid:
    """A cell for every distinct value of both samples; rank scores are those of the reference."""
    return _grid(features, [reference, current], policy, is_exact=True)


def quantile_edges(numbers: Array, n_cells: int = N_CELLS) -> Array:
    """Edges of about ``n_cells`` cells of equal mass, in which every frequent value has a cell to itself.

    A value with more than a cell's mass gets an edge at it and one just below, and so does every value when there are
    no more than half as many as cells: then counts tell a discrete feature exactly.

    >>> quantile_edges(np.array([0.0, 0.0, 1.0])).tolist()
    [-5e-324, 0.0, 0.9999999999999999, 1.0]
    """
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) <= n_cells // 2:
        return _around(values)
    rows = np.cumsum(counts)
    wanted = np.arange(1, n_cells) * (rows[-1] / n_cells)
    quantiles = values[np.searchsorted(rows, wanted, side="left")]
    return np.unique(np.concatenate([quantiles, _around(values[counts > rows[-1] / n_cells])]))


def _around(values: Array) -> Array:
    with np.errstate(over="ignore"):
        below = np.nextafter(values, -np.inf)
    edges: Array = np.unique(np.concatenate([below[np.isfinite(below)], values]))
    return edges


def _grid(features: Sequence[Feature], samples: Sequence[pd.DataFrame], policy: DriftPolicy, *, is_exact: bool) -> Grid:
    cells: dict[str, Cells] = {}
    scores: dict[str, Array] = {}
    for feature in features:
        columns = [sample[feature.name] for sample in samples if feature.name in sample.columns]
        if feature.kind == "categorical":
            cells[feature.name] = _level_cells(columns, None if is_exact else MAX_LEVELS)
            continue
        numeric = _numeric_cells(columns, is_exact=is_exact)
        cells[feature.name] = numeric
        if feature.is_monitored and len(scores) < policy.max_correlated and feature.name in samples[0].columns:
            scores[feature.name] = _rank_scores(numeric, as_numbers(samples[0][feature.name])[0])
    if "score" in samples[0].columns:
        scored = [sample["score"] for sample in samples if "score" in sample.columns]
        cells[SCORE] = _numeric_cells(scored, is_exact=is_exact)
    return Grid(cells, tuple(scores), scores, _fingerprint(cells, scores))


def _numeric_cells(columns: "Sequence[pd.Series[Any]]", *, is_exact: bool) -> NumericCells:
    numbers = np.concatenate([as_numbers(column)[0] for column in columns] or [np.zeros(0)])
    known = numbers[~np.isnan(numbers)] + 0.0
    return NumericCells(np.unique(known)[:-1] if is_exact else quantile_edges(known))


def _level_cells(columns: "Sequence[pd.Series[Any]]", at_most: int | None) -> LevelCells:
    """Levels by frequency, then by name."""
    counts = pd.concat([as_levels(column) for column in columns]).value_counts() if columns else {}
    ordered = sorted(dict(counts), key=lambda level: (-counts[level], level))
    if at_most is None or len(ordered) <= at_most:
        return LevelCells(tuple(ordered))
    return LevelCells((*ordered[: at_most - 1], POOLED), tuple(ordered[at_most - 1 :]))


def _rank_scores(cells: NumericCells, numbers: Array) -> Array:
    codes = cells.codes(numbers)
    counts = np.bincount(codes[codes >= 0], minlength=cells.n_cells).astype(np.float64)
    total = counts.sum()
    if not total:
        return np.zeros(cells.n_cells)
    midranks = (np.cumsum(counts) - counts / 2) / total - 0.5
    spread = np.sqrt((midranks**2 * counts).sum() / total)
    standard = midranks / spread if spread > 0 else np.zeros_like(midranks)
    rounded: Array = np.round(standard / RANK_STEP) * RANK_STEP + 0.0
    return rounded


def _fingerprint(cells: Mapping[str, Cells], scores: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(_SCHEME.encode())
    for name, own in cells.items():
        digest.update(f"\0{name}\0{type(own).__name__}\0{own.n_cells}\0".encode())
        if isinstance(own, NumericCells):
            digest.update(own.edges.astype("<f8").tobytes())
        else:
            digest.update("\0".join((*own.names, "", *own.pooled)).encode())
    for name, own_scores in scores.items():
        digest.update(f"\0{name}\0".encode() + own_scores.astype("<f8").tobytes())
    return digest.hexdigest()[:32]
