"""Feature frames with a known truth, for tests of drift and its benchmark's reduced tables.

Numbers share one factor, levels have unequal shares, rows carry a UTC day; ``day_effect`` makes rows of a day alike.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import DriftReference, DriftVerdict
from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.domain.drift import evaluate_drift

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 29, tzinfo=UTC)
ORIGIN = DriftReference(kind="frozen", fingerprint="reference")
LEVELS = ("a", "b", "c", "d", "e")
SHARES = np.array([0.40, 0.30, 0.20, 0.07, 0.03])


def features(n_numeric: int = 4, n_categorical: int = 2) -> list[Feature]:
    """Monitored features ``n0, n1, ..., c0, c1, ...``."""
    numeric = [Feature(f"n{i}", f"number {i}") for i in range(n_numeric)]
    return numeric + [Feature(f"c{i}", f"level {i}", kind="categorical") for i in range(n_categorical)]


def frame(
    n: int,
    seed: int,
    *,
    n_days: int = 28,
    n_numeric: int = 4,
    n_categorical: int = 2,
    correlation: float = 0.3,
    day_effect: float = 0.0,
    persistence: float = 0.0,
    weekly: float = 0.0,
    null_rate: float = 0.01,
) -> pd.DataFrame:
    """Rows of ``n_days`` days with score and time; ``n0`` has nulls.

    Args:
        day_effect: standard deviation of what a day adds to every number and to every level's log share.
        persistence: correlation of neighbouring days' effects (autoregressive).
        weekly: standard deviation of what a weekday adds, the same in every frame.
    """
    rng = np.random.default_rng(seed)
    days = np.sort(rng.integers(0, n_days, n))
    weekdays = weekly * np.random.default_rng(7).standard_normal((7, n_numeric))
    shared = np.sqrt(correlation) * rng.standard_normal((n, 1))
    numbers = shared + np.sqrt(1 - correlation) * rng.standard_normal((n, n_numeric))
    numbers += day_effect * moods(rng, n_days, n_numeric, persistence)[days] + weekdays[days % 7]
    rows = pd.DataFrame(numbers, columns=[f"n{i}" for i in range(n_numeric)])
    rows["score"] = 1 / (1 + np.exp(-rows["n0"]))
    rows["n0"] = rows["n0"].where(rng.random(n) >= null_rate)
    for place in range(n_categorical):
        tilt = day_effect * moods(rng, n_days, len(LEVELS), persistence)[days]
        chosen = (np.log(SHARES) + tilt + rng.gumbel(size=(n, len(LEVELS)))).argmax(axis=1)
        rows[f"c{place}"] = np.array(LEVELS, dtype=object)[chosen]
    return rows.assign(requested_at=pd.Timestamp(START) + pd.to_timedelta(days, unit="D"))


def moods(rng: np.random.Generator, n_days: int, width: int, persistence: float) -> np.ndarray:
    """Normal effects of days, shape (days, width), each day's correlated with the day before."""
    effects = rng.standard_normal((n_days, width))
    for day in range(1, n_days):
        effects[day] = persistence * effects[day - 1] + np.sqrt(1 - persistence**2) * effects[day]
    return effects


def judge(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    policy: DriftPolicy | None = None,
    of_features: list[Feature] | None = None,
) -> DriftVerdict:
    """Verdict of the platform on two frames."""
    chosen = of_features if of_features is not None else features()
    return evaluate_drift("tests", chosen, reference, current, policy or DriftPolicy(), START, END, ORIGIN)


Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def share_failing(
    n: int,
    repetitions: int,
    policy: DriftPolicy,
    change: Change = lambda rows, _: rows,
    *,
    n_numeric: int = 18,
    n_categorical: int = 7,
    reference_days: int = 60,
    current_days: int = 28,
    correlation: float = 0.0,
    day_effect: float = 0.0,
    persistence: float = 0.0,
    weekly: float = 0.0,
    seed: int = 0,
) -> float:
    """Share of simulated pairs of ``n`` rows each whose verdict is fail."""
    shape = {"n_numeric": n_numeric, "n_categorical": n_categorical}
    moods_of = {"day_effect": day_effect, "persistence": persistence, "weekly": weekly}
    world: dict[str, Any] = {"correlation": correlation, **moods_of, **shape}
    chosen = features(**shape)
    failing = 0
    for place in range(repetitions):
        first = seed + 2 * place
        reference = frame(n, first, n_days=reference_days, **world)
        current = frame(n, first + 1, n_days=current_days, **world)
        verdict = judge(reference, change(current, np.random.default_rng(first)), policy, chosen)
        failing += verdict.outcome.value == "fail"
    return failing / repetitions
