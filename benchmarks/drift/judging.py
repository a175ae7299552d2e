"""The platform's verdict on simulated windows, and how many of many windows fail.

Belongs here: pairs of reference and window, one after the other on the calendar of one world. Does not belong here:
what is tabulated (``rates``, ``delay``, ``compared``). Upstream: worlds, domain.drift.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.drift.tables import Rate
from benchmarks.drift.worlds import (
    FEATURES,
    NO_CHANGE,
    STEADY,
    Change,
    Days,
    World,
    days_of,
    population_grid,
    profiles,
    rows,
)
from shadow_platform.contracts.monitoring_verdicts import DriftReference, DriftVerdict
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift.profiles import Profiles
from shadow_platform.domain.drift.verdict import evaluate_drift, evaluate_profiles

NAME = "benchmark"
ORIGIN = DriftReference(kind="frozen", fingerprint="benchmark")
POLICY = DriftPolicy()


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes of a reference and of the window that follows it, and the world both come from."""

    n_rows: int
    world: World = STEADY
    reference_days: int = 60
    window_days: int = 28
    change: Change = NO_CHANGE

    def days(self, rng: np.random.Generator) -> tuple[Days, Days]:
        """Days of reference and window, consecutive."""
        every = days_of(self.world, self.reference_days + self.window_days, rng)
        return every.part(0, self.reference_days), every.part(self.reference_days, len(every.shares))


def pairs(setting: Setting, windows: int, seed: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """So many independent pairs of reference and window, as rows."""
    for rng in np.random.default_rng(seed).spawn(windows):
        before, after = setting.days(rng)
        reference = rows(setting.world, before, setting.n_rows, rng)
        yield reference, rows(setting.world, after, setting.n_rows, rng, setting.change)


def judge_rows(reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy = POLICY) -> DriftVerdict:
    """Verdict on frames of ``worlds``."""
    start, end = current["requested_at"].min(), current["requested_at"].max()
    return evaluate_drift(
        NAME, FEATURES, reference, current, policy, start.to_pydatetime(), end.to_pydatetime(), ORIGIN
    )


def judge_counts(reference: Profiles, current: Profiles, days: Days, policy: DriftPolicy = POLICY) -> DriftVerdict:
    """Verdict on profiles of ``worlds``, the window being those days."""
    return evaluate_profiles(NAME, FEATURES, reference, current, policy, days.start, days.end, ORIGIN)


def failing_by_rows(setting: Setting, windows: int, seed: int, policy: DriftPolicy = POLICY) -> Rate:
    """How many of so many windows fail, drawn as rows."""
    failed = (judge_rows(*pair, policy).outcome is Outcome.FAIL for pair in pairs(setting, windows, seed))
    return Rate(sum(failed), windows)


def failing_by_counts(setting: Setting, windows: int, seed: int, policy: DriftPolicy = POLICY) -> Rate:
    """The same, drawn as counts in cells."""
    grid, hits = population_grid(), 0
    for rng in np.random.default_rng(seed).spawn(windows):
        before, after = setting.days(rng)
        reference = profiles(before, setting.n_rows, rng, grid)
        current = profiles(after, setting.n_rows, rng, grid, setting.change)
        hits += judge_counts(reference, current, after, policy).outcome is Outcome.FAIL
    return Rate(hits, windows)
