"""What a verdict on a million rows costs, against Evidently on the same rows, and where the seconds go.

Belongs here: time of one process, contenders in turn. Does not belong here: memory (``memory``).
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.drift.judging import POLICY, Setting, judge_counts, judge_rows
from benchmarks.drift.tables import Spent, Table
from benchmarks.drift.worlds import CATEGORIES, FEATURES, NUMBERS, World, rows
from shadow_platform.domain.drift.grid import reference_grid
from shadow_platform.domain.drift.profiles import profiles_of

AIM = 20.0


@dataclass(slots=True)
class Clocks:
    """CPU and wall seconds of every step, a pair a round."""

    rounds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Time what happens inside."""
        spent = Spent()
        yield
        self.rounds.setdefault(step, []).append((spent.cpu_s(), spent.wall_s()))

    def median(self, step: str) -> tuple[float, float]:
        """CPU and wall seconds."""
        cpu, wall = zip(*self.rounds[step], strict=True)
        return statistics.median(cpu), statistics.median(wall)


def cost(n: int, rounds: int, seed: int) -> Table:
    """Seconds of each way to judge ``n`` rows against ``n``, and how many times as long Evidently takes."""
    rng = np.random.default_rng(seed)
    world = World(day_effect=0.05)
    before, after = Setting(n, world).days(rng)
    reference, current = rows(world, before, n, rng), rows(world, after, n, rng)
    clocks, n_evidently = Clocks(), max(1, rounds // 3)
    for place in range(rounds):
        with clocks.of("cells at quantiles of the reference (once a champion)"):
            grid = reference_grid(FEATURES, reference, POLICY)
        with clocks.of("profile of the reference (once a champion)"):
            stored = profiles_of(reference, grid)
        with clocks.of("profile of the window (by the hour, as requests come)"):
            window = profiles_of(current, grid)
        with clocks.of("verdict on stored profiles"):
            judge_counts(stored, window, after)
        with clocks.of("profile of the window and verdict"):
            judge_counts(stored, profiles_of(current, grid), after)
        with clocks.of("verdict from rows, nothing stored"):
            judge_rows(reference, current)
        if place < n_evidently:
            _evidently(reference, current, clocks)
    return _tabled(clocks, n, rounds, n_evidently)


def _evidently(reference: pd.DataFrame, current: pd.DataFrame, clocks: Clocks) -> None:
    """Its drift computation, and that with its HTML report, on all rows."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [*NUMBERS, *CATEGORIES]
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=list(CATEGORIES))
    with tempfile.TemporaryDirectory() as folder, clocks.of("Evidently, with its HTML"):
        with clocks.of("Evidently, drift computation"):
            sets = [Dataset.from_pandas(frame[names], data_definition=definition) for frame in (current, reference)]
            found: Any = Report([DataDriftPreset()]).run(*sets)
            found.dict()
        found.save_html(str(Path(folder) / "report.html"))


def _tabled(clocks: Clocks, n: int, rounds: int, n_evidently: int) -> Table:
    header = ("step", "CPU s", "wall s", "Evidently's CPU with HTML / this")
    table = Table(f"{n:,} rows against {n:,}, {len(FEATURES)} features", header)
    theirs = clocks.median("Evidently, with its HTML")[0]
    for step in clocks.rounds:
        cpu, wall = clocks.median(step)
        table.add(
            [step, f"{cpu:.2f}", f"{wall:.2f}", f"{theirs / cpu:,.0f}x"], {"step": step, "cpu_s": cpu, "wall_s": wall}
        )
    ratio = theirs / clocks.median("profile of the window and verdict")[0]
    return table.end(
        f"Medians of {rounds} rounds, Evidently of {n_evidently}, in one process. Aim: profile of the window and "
        f"verdict at least {AIM:g} times as fast: {'met' if ratio >= AIM else 'missed'} ({ratio:.0f})."
    )
