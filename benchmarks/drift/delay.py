"""How many days pass from the onset of a drift to the first verdict that fails.

A verdict a day, as the platform does it, on the last 7 or 28 days, against 60 days before. Does not belong here: rates
of single windows (``rates``).
"""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.drift.judging import judge_counts
from benchmarks.drift.tables import Rate, Table
from benchmarks.drift.worlds import (
    CHANGES,
    NO_CHANGE,
    Array,
    Change,
    Days,
    World,
    days_of,
    population_grid,
    profiles,
)
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift.profiles import Profiles

REFERENCE_DAYS, QUIET_DAYS, DRIFT_DAYS, GRADUAL_DAYS = 60, 28, 56, 28
N_DAYS = REFERENCE_DAYS + QUIET_DAYS + DRIFT_DAYS
ONSET = REFERENCE_DAYS + QUIET_DAYS
WINDOWS = (7, 28)
ROWS_A_DAY = 500
STREAMS = 40
WORLD = World(day_effect=0.05)
WATCHED = ("one feature +0.2 sd", "all numbers +0.1 sd", "one category mix, 5 points", "score only, +0.2 sd")
STRENGTHS = {
    "sudden": np.where(np.arange(N_DAYS) < ONSET, 0.0, 1.0),
    "gradual": np.clip((np.arange(N_DAYS) - ONSET + 1) / GRADUAL_DAYS, 0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of consecutive days, counted: the reference, and what is served after it."""

    days: Days
    reference: Profiles
    served: Profiles

    def first_failing(self, window: int, since: int, until: int = N_DAYS) -> float:
        """Verdicts from day ``since`` on, one a day, up to the first that fails; infinite without one."""
        for day in range(since, until):
            judged = self.days.part(day + 1 - window, day + 1)
            current = self.served.window(judged.start, judged.end)
            if judge_counts(self.reference, current, judged).outcome is Outcome.FAIL:
                return day + 1.0 - since
        return float("inf")


def delays(scale: float, seed: int) -> Table:
    """Days to the first failing verdict after onset, and streams that raised an alarm in quiet weeks."""
    header = ("drift", "onset", *(f"{window} days: median (90 %), found" for window in WINDOWS))
    table = Table(f"Days to the first failing verdict, {ROWS_A_DAY} rows a day", header)
    streams = max(1, round(STREAMS * scale))
    for name in WATCHED:
        for onset, strength in STRENGTHS.items():
            drawn = [stream(CHANGES[name], strength, seed + place) for place in range(streams)]
            waits = [np.array([one.first_failing(window, ONSET) for one in drawn]) for window in WINDOWS]
            figures = {f"window_{window}": found.tolist() for window, found in zip(WINDOWS, waits, strict=True)}
            table.add([name, onset, *map(_shown, waits)], {"drift": name, "onset": onset} | figures)
    drawn = [stream(NO_CHANGE, STRENGTHS["sudden"], seed + place) for place in range(streams)]
    alarms = [
        Rate(sum(one.first_failing(window, ONSET, ONSET + QUIET_DAYS) <= QUIET_DAYS for one in drawn), streams)
        for window in WINDOWS
    ]
    cells = [f"{rate.hits} of {rate.windows} streams alarm in {QUIET_DAYS} days" for rate in alarms]
    table.add(["none", "-", *cells], {"drift": "none", "alarms": [rate.hits for rate in alarms]})
    return table.end(
        f"{streams} streams each; a gradual drift grows over {GRADUAL_DAYS} days; looked at for {DRIFT_DAYS} days."
    )


def stream(change: Change, strength: Array, seed: int) -> Stream:
    """Days of one world, the change being felt on each as much as ``strength`` says."""
    rng, grid = np.random.default_rng(seed), population_grid()
    days = replace(days_of(WORLD, N_DAYS, rng), strength=strength)
    before, after = days.part(0, REFERENCE_DAYS), days.part(REFERENCE_DAYS, N_DAYS)
    reference = profiles(before, ROWS_A_DAY * REFERENCE_DAYS, rng, grid)
    return Stream(days, reference, profiles(after, ROWS_A_DAY * (N_DAYS - REFERENCE_DAYS), rng, grid, change))


def _shown(waits: Array) -> str:
    middle, late = np.quantile(waits, [0.5, 0.9], method="inverted_cdf")
    return f"{middle:.0f} ({late:.0f}), {np.isfinite(waits).mean():.0%}"
