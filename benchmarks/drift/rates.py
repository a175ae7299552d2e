"""False alarms and power of the drift verdict, by rows in the window and by what makes rows alike.

Belongs here: which settings are counted. Does not belong here: how (``judging``), how soon (``delay``).
"""

import pandas as pd

from benchmarks.drift.judging import Setting, failing_by_counts, failing_by_rows, judge_rows, pairs
from benchmarks.drift.tables import Rate, Table
from benchmarks.drift.worlds import CHANGES, World
from shadow_platform.contracts.verdicts import Outcome

# Rows in the window -> windows looked at by rows, and by counts in cells; a window of 100,000 rows takes seconds.
BY_ROWS = {1_000: 1_000, 10_000: 300, 100_000: 40}
BY_COUNTS = {1_000: 1_000, 10_000: 1_000, 100_000: 1_000, 1_000_000: 1_000}
N_ALIKE, ALIKE_WINDOWS = 10_000, 500
POWER_WINDOWS = {1_000: 300, 10_000: 100, 100_000: 20}
COUNTED_POWER_WINDOWS = {1_000: 300, 10_000: 100, 100_000: 100, 1_000_000: 100}

ALIKE = {
    "days alike, .1 sd": World(day_effect=0.1),
    "days alike, .3 sd": World(day_effect=0.3),
    "days alike, 1 sd": World(day_effect=1.0),
    "AR(1) days, .6, .3 sd": World(day_effect=0.3, memory=0.6),
    "weekly rhythm, .3 sd, half at weekends": World(weekly=0.3),
    "weekly rhythm .3 sd and AR(1) days .6, .3 sd": World(day_effect=0.3, memory=0.6, weekly=0.3),
}
SPANS = ((60, 28), (60, 7), (56, 7), (60, 1), (5, 5))


def false_alarms(scale: float, seed: int) -> Table:
    """Failing windows of independent rows, none of which drifted."""
    table = Table("False alarms per 1,000 windows, independent rows, 60 days v 28", ("rows", "by rows", "by counts"))
    for n in BY_COUNTS:
        setting, cells = Setting(n), []
        figures: dict[str, float] = {"n_rows": n}
        for way, windows, count in (("rows", BY_ROWS, failing_by_rows), ("counts", BY_COUNTS, failing_by_counts)):
            rate = count(setting, _scaled(windows[n], scale), seed) if n in windows else None
            cells.append(rate.per_thousand() if rate else "-")
            figures |= _figures(way, rate)
        table.add([f"{n:,}", *cells], figures)
    return table.end("In brackets the exact upper 95 % bound of the true rate; then the windows looked at.")


def alike(scale: float, seed: int) -> Table:
    """The same where rows of a day, and days, are alike."""
    spans = [f"{reference} v {window} days" for reference, window in SPANS]
    table = Table(f"False alarms per 1,000 windows of {N_ALIKE:,} rows where days differ", ("world", *spans))
    for name, world in ALIKE.items():
        rates = [
            failing_by_counts(Setting(N_ALIKE, world, *span), _scaled(ALIKE_WINDOWS, scale), seed) for span in SPANS
        ]
        figures = [_figures(label, rate) for label, rate in zip(spans, rates, strict=True)]
        table.add([name, *(rate.per_thousand() for rate in rates)], {"world": name, "spans": figures})
    return table.end()


def power(scale: float, seed: int) -> Table:
    """Failing windows of every kind of drift, and of the schema's breaks."""
    table = Table("Windows that fail, by kind of drift", ("drift", *(f"{n:,} rows" for n in COUNTED_POWER_WINDOWS)))
    for name, change in CHANGES.items():
        # Only rows have correlations; counts are drawn of independent numbers.
        is_counted = change.uncoupled is None
        world = World(correlation=0.0 if is_counted else 0.3)
        found: dict[int, Rate] = {}
        for n, windows in (COUNTED_POWER_WINDOWS if is_counted else POWER_WINDOWS).items():
            count = failing_by_rows if n < 100_000 or not is_counted else failing_by_counts
            setting = Setting(n, world, change=change)
            found[n] = count(setting, _scaled(min(windows, 20) if change.uncoupled else windows, scale), seed)
        cells = [found[n].percent() if n in found else "-" for n in COUNTED_POWER_WINDOWS]
        table.add([name, *cells], {"drift": name, "by_size": [_figures(str(n), rate) for n, rate in found.items()]})
    for name, rate in broken_schemas(_scaled(20, scale), seed).items():
        table.add([name, rate.percent(), "-", "-", "-"], {"drift": name} | _figures("1000", rate))
    return table.end()


def broken_schemas(windows: int, seed: int) -> dict[str, Rate]:
    """Windows that fail of those whose columns are not what they were."""
    hits = dict.fromkeys(("a column is gone", "numbers come as text", "all nulls", "6 % of a new level"), 0)
    for reference, current in pairs(Setting(1_000), windows, seed):
        broken = {
            "a column is gone": current.drop(columns="n1"),
            "numbers come as text": current.assign(n1=current["n1"].map("{:.2f} kg".format)),
            "all nulls": current.assign(n1=float("nan")),
            "6 % of a new level": current.assign(c1=_with_new_level(current["c1"])),
        }
        for name, frame in broken.items():
            hits[name] += judge_rows(reference, frame).outcome is Outcome.FAIL
    return {f"schema: {name}": Rate(count, windows) for name, count in hits.items()}


def _with_new_level(levels: "pd.Series[str]") -> "pd.Series[str]":
    return levels.mask(levels.index % 50 < 3, "new")


def _scaled(windows: int, scale: float) -> int:
    return max(1, round(windows * scale))


def _figures(name: str, rate: Rate | None) -> dict[str, float]:
    if rate is None:
        return {}
    return {f"{name}_failed": rate.hits, f"{name}_windows": rate.windows, f"{name}_upper": rate.upper}
