"""The same windows judged by the platform and by others: rules by hand, Evidently, nannyml, alibi-detect, frouros.

Belongs here: which windows, and the table. Does not belong here: how a peer judges or is installed (``peers``).
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.drift.judging import Setting, judge_rows, pairs
from benchmarks.drift.peers.environments import PEERS, Answers, PeerError, answers
from benchmarks.drift.peers.exchange import write_windows
from benchmarks.drift.tables import Rate, Spent, Table
from benchmarks.drift.worlds import CHANGES, NO_CHANGE, Change, World
from shadow_platform.contracts.verdicts import Outcome

WINDOWS = {1_000: 100, 10_000: 40}
POWER_WINDOWS = 20
WORLDS: dict[str, tuple[World, Change, int]] = {
    "no drift, rows independent": (World(), NO_CHANGE, 28),
    "no drift, days alike .3 sd": (World(day_effect=0.3), NO_CHANGE, 28),
    "no drift, weekly rhythm .3 sd, 7 days": (World(weekly=0.3), NO_CHANGE, 7),
    **{name: (World(correlation=0.3 if change.uncoupled else 0.0), change, 28) for name, change in CHANGES.items()},
}
PLATFORM = "the platform"


def compared(scale: float, seed: int, home: Path) -> Iterator[Table]:
    """One table a size: the share of windows that fails, a row a rule, a column a world."""
    for n, most in WINDOWS.items():
        table = Table(f"Windows that fail, {n:,} rows", ("rule", *WORLDS, "CPU ms a window"))
        counts = {
            name: max(1, round(scale * (most if change is NO_CHANGE else min(most, POWER_WINDOWS))))
            for name, (_, change, _) in WORLDS.items()
        }
        with tempfile.TemporaryDirectory(prefix="drift-windows-") as folder:
            judged = write_windows(Path(folder), _every_pair(n, counts, seed))
            for name, said in _everyone(n, counts, seed, home, Path(folder)):
                for rule, fails in said.fails.items():
                    rates = _rates(fails, counts)
                    cells = [f"{rate.percent()} of {rate.windows}" for rate in rates.values()]
                    cost = 1_000 * said.cpu_s / judged
                    figures = {world: {"failed": rate.hits, "windows": rate.windows} for world, rate in rates.items()}
                    table.add([f"{name}: {rule}", *cells, f"{cost:,.0f}"], {"rule": rule, "cpu_ms": cost} | figures)
        yield table.end("CPU milliseconds of a contender are those of all its rules together.")


def _every_pair(n: int, counts: Mapping[str, int], seed: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Pairs of every world, one world after the other."""
    for name, (world, change, days) in WORLDS.items():
        setting = Setting(n, world, window_days=days, reference_days=56, change=change)
        yield from pairs(setting, counts[name], seed)


def _everyone(n: int, counts: Mapping[str, int], seed: int, home: Path, windows: Path) -> Iterator[tuple[str, Answers]]:
    """Answers of the platform, then of every peer that takes part."""
    fails, spent = [], 0.0
    for reference, current in _every_pair(n, counts, seed):
        clock = Spent()
        fails.append(judge_rows(reference, current).outcome is Outcome.FAIL)
        spent += clock.cpu_s()
    yield PLATFORM, Answers({"its verdict": fails}, spent)
    for name, peer in PEERS.items():
        try:
            yield name, answers(peer, home, windows)
        except PeerError as error:
            print(f"  {name} takes no part: {error}", flush=True)


def _rates(fails: list[bool], counts: Mapping[str, int]) -> dict[str, Rate]:
    """Rate of each world, whose windows stand one after the other."""
    rates, start = {}, 0
    for world, count in counts.items():
        rates[world] = Rate(sum(fails[start : start + count]), count)
        start += count
    return rates
