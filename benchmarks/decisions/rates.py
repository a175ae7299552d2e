"""Looks every 200 labels at independent requests: false promotions, and how a true gain of 2 % is found.

Upstream: simulated streams, domain.gates. Downstream: docs/methods.md.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from benchmarks.decisions.worlds import Flags, gains
from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates.clusters import Array
from shadow_platform.domain.gates.sequence import boundary
from shadow_platform_tests.streams import Stream, better_challenger, equal_models

ALPHA = 0.05
LABELS = 10_000
LOOKS = np.arange(200, LABELS + 1, 200)
STREAMS, BATCH = 20_000, 100

Rule = Callable[[Array, Array], Flags]
Maker = Callable[[np.random.Generator, int, int], Stream]


def running_moments(differences: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (n - 1) of each row after every look."""
    n = LOOKS.astype(np.float64)
    total = np.cumsum(differences, axis=1)[:, LOOKS - 1]
    squares = np.cumsum(differences**2, axis=1)[:, LOOKS - 1]
    mean = total / n
    return mean, np.sqrt((squares - n * mean**2) / (n - 1))


def point_estimate(mean: Array, _: Array) -> Flags:
    """Promotes when the challenger looks better."""
    return np.asarray(mean > 0)


def naive_test(mean: Array, deviation: Array) -> Flags:
    """Promotes when a one-sided paired t-test says p < .05."""
    return np.asarray(mean / deviation * np.sqrt(LOOKS) > stats.t.isf(ALPHA, LOOKS - 1))


def bonferroni_test(mean: Array, deviation: Array) -> Flags:
    """The same with .05 divided by the number of looks, which must be known beforehand."""
    return np.asarray(mean / deviation * np.sqrt(LOOKS) > stats.t.isf(ALPHA / len(LOOKS), LOOKS - 1))


def confidence_bound(mean: Array, deviation: Array) -> Flags:
    """The gate with ``cluster=None``: lower bound of the confidence sequence above zero."""
    n = LOOKS.astype(np.float64)
    z = stats.t.isf(stats.norm.sf(boundary(n, ALPHA, 2_000)), n - 1)
    return np.asarray(mean - z * deviation / np.sqrt(n) > 0)


RULES: dict[str, Rule] = {
    "point estimate better at some look": point_estimate,
    "paired t-test at every look": naive_test,
    "paired t-test, Bonferroni over looks": bonferroni_test,
    "confidence sequence (the gate)": confidence_bound,
}


def first_looks(make: Maker, streams: int, seed: int) -> dict[str, Array]:
    """Labels at the first promoting look of every stream and rule; infinity when there is none."""
    found: dict[str, list[Array]] = {name: [] for name in RULES}
    rng = np.random.default_rng(seed)
    for _ in range(max(1, streams // BATCH)):
        moments = running_moments(gains(make(rng, BATCH, LABELS)))
        for name, rule in RULES.items():
            promotes = rule(*moments)
            found[name].append(np.where(promotes.any(axis=1), LOOKS[promotes.argmax(axis=1)], np.inf))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def measure(scale: float) -> Iterator[Table]:
    """One table: rules by false promotions, power and labels needed."""
    streams = round(STREAMS * scale)
    equal = first_looks(equal_models, streams, seed=1)
    better = first_looks(better_challenger, streams // 4, seed=2)
    table = Table(
        f"Looks every 200 labels up to {LABELS:,}, independent requests",
        ["rule", "false promotions", "2 % gain found", "median labels"],
    )
    for name in RULES:
        wrong = Rate(int(np.isfinite(equal[name]).sum()), len(equal[name]))
        right = Rate(int(np.isfinite(better[name]).sum()), len(better[name]))
        middle = f"{np.median(better[name]):,.0f}"
        table.add([name, wrong.percent_up_to(), right.percent(), middle], {"rule": name, "hits": wrong.hits})
    yield table.end(f"{len(equal[name]):,} streams of equal models, {len(better[name]):,} with a gain.")
