"""Frames of awkward rows: values of every kind, nulls of every kind, times over three days. For tests of profiles.

Upstream: nothing. Downstream: tests of grid, profiles and storage.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift.grid import Grid, reference_grid
from shadow_platform.domain.drift.profiles import Profiles

FEATURES = (
    Feature("smooth", "any number"),
    Feature("counted", "small counts"),
    Feature("spiky", "mostly one value"),
    Feature("flag", "a boolean"),
    Feature("mixed", "numbers, texts and infinities"),
    Feature("größe 🚀", "level names of every script", kind="categorical"),
    Feature("coded", "levels that are numbers", kind="categorical"),
)
_LEVELS = ("ä", "山", "🚀", 'a"b', "", "new line\n")


def awkward_rows(seed: int, n: int, *, is_timed: bool = True) -> pd.DataFrame:
    """``n`` rows; some columns are wholly null, or lacking, at some seeds."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "smooth": np.where(rng.random(n) < 0.1, np.nan, rng.standard_normal(n)),
            "counted": pd.array(rng.poisson(2, n), dtype="Int64"),
            "spiky": np.where(rng.random(n) < 0.8, 0.0, rng.exponential(1e6, n)),
            "flag": rng.random(n) < 0.3,
            "mixed": rng.choice(np.array([1, 2.5, np.inf, None, "text", True], dtype=object), n),
            "größe 🚀": rng.choice(np.array([*_LEVELS[: 1 + seed % len(_LEVELS)], None], dtype=object), n),
            "coded": rng.choice([1.0, 2.0, 3.5, np.nan], n),
            "score": np.where(rng.random(n) < 0.1, np.nan, rng.random(n)),
        }
    )
    if is_timed:
        frame["requested_at"] = pd.Timestamp("2024-02-28", tz="UTC") + pd.to_timedelta(rng.random(n) * 3, unit="D")
    if seed % 5 == 1:
        frame["smooth"] = np.nan
    return frame.drop(columns="counted") if seed % 7 == 3 else frame


def grid_of(frame: pd.DataFrame, policy: DriftPolicy | None = None) -> Grid:
    """Cells at the quantiles of a frame of such rows."""
    return reference_grid(FEATURES, frame, policy or DriftPolicy())


def told(profiles: Profiles, of: Callable[[Profiles], Profiles] = lambda own: own) -> tuple[str, list[str]]:
    """All that a profile says, to the last bit, and its columns by name."""
    return of(profiles).digest, list(of(profiles).columns)
