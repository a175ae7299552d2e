"""How often the gate errs, and how fast it finds a gain: full simulation, about a minute on one core.

Run from the root of the repository: ``python -m benchmarks.decisions``. Every row is one rule on one kind of stream;
all rules see the same streams. Upstream: domain.gates.sequence, simulated streams. Downstream: docs/methods.md and
docs/adr/0005, which quote these figures.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shadow_platform.domain.gates.sequence import Array, boundary, confidence_sequence, log_loss
from shadow_platform_tests.streams import Stream, better_challenger, clustered_differences, equal_models

ALPHA = 0.05
LABELS = 10_000
LOOKS = np.arange(200, LABELS + 1, 200)
BATCH = 100
MIN_CLUSTERS = 7
PER_HOUR, PER_DAY = 50, 900

Flags = NDArray[np.bool_]
Rule = Callable[[Array, Array], Flags]


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
    """The gate: lower bound of the confidence sequence above zero."""
    n = LOOKS.astype(np.float64)
    z = stats.t.isf(stats.norm.sf(boundary(n, ALPHA, 2_000)), n - 1)
    return np.asarray(mean - z * deviation / np.sqrt(n) > 0)


RULES: dict[str, Rule] = {
    "point estimate better at some look": point_estimate,
    "paired t-test at every look": naive_test,
    "paired t-test, Bonferroni over looks": bonferroni_test,
    "confidence sequence (the gate)": confidence_bound,
}


def gains(stream: Stream) -> Array:
    """Champion's log loss minus the challenger's."""
    return log_loss(stream.champion, stream.label) - log_loss(stream.challenger, stream.label)


def batches(make: Callable[[np.random.Generator, int, int], Stream], streams: int, seed: int) -> Iterator[Array]:
    """Differences of streams made a hundred at a time."""
    rng = np.random.default_rng(seed)
    for _ in range(streams // BATCH):
        yield gains(make(rng, BATCH, LABELS))


def first_looks(make: Callable[[np.random.Generator, int, int], Stream], streams: int, seed: int) -> dict[str, Array]:
    """Labels at the first promoting look of every stream and rule; infinity when there is none."""
    found: dict[str, list[Array]] = {name: [] for name in RULES}
    for differences in batches(make, streams, seed):
        moments = running_moments(differences)
        for name, rule in RULES.items():
            promotes = rule(*moments)
            first = np.where(promotes.any(axis=1), LOOKS[promotes.argmax(axis=1)], np.inf)
            found[name].append(first)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def print_rates(streams: int) -> None:
    """False promotions of equal challengers, and how a true gain of 2 % is found."""
    equal = first_looks(equal_models, streams, seed=1)
    better = first_looks(better_challenger, streams // 4, seed=2)
    print(
        f"\nLooks every 200 labels up to {LABELS:,}; {streams:,} streams of equal models, {streams // 4:,} with a gain"
    )
    print(f"{'rule':<40}{'false promotions':>18}{'2 % gain found':>16}{'median labels':>15}")
    for name in RULES:
        power = np.isfinite(better[name]).mean()
        print(f"{name:<40}{np.isfinite(equal[name]).mean():>18.3f}{power:>16.3f}{np.median(better[name]):>15,.0f}")


def print_clusters(streams: int) -> None:
    """False promotions where requests of an hour and of neighbouring hours are alike, by what is summed first."""
    print(
        "\nRequests of a day alike (design effect 2.4 by hour, 4 by day); looks at every day's end; 900 requests a day"
    )
    print(f"{'clusters summed before the sequence':<40}{'31 days':>18}{'90 days':>16}")
    rows: dict[str, list[float]] = {}
    for days in (31, 90):
        rng = np.random.default_rng(3)
        hits: dict[str, list[bool]] = {}
        for _ in range(streams // 20):
            for row in clustered_differences(rng, 20, days):
                for name, promoted in cluster_verdicts(row, days).items():
                    hits.setdefault(name, []).append(promoted)
        for name, values in hits.items():
            rows.setdefault(name, []).append(float(np.mean(values)))
    for name, (month, quarter) in rows.items():
        print(f"{name:<40}{month:>18.3f}{quarter:>16.3f}")


def cluster_verdicts(row: Array, days: int) -> dict[str, bool]:
    """Whether one stream is ever promoted at a day's end, by cluster; the last line lacks the small-sample width."""
    request = np.arange(len(row))
    ends = np.arange(MIN_CLUSTERS, days + 1)
    day = confidence_sequence(row, request // PER_DAY, ALPHA)
    hour = confidence_sequence(row, request // PER_HOUR, ALPHA)
    return {
        "none: every request on its own": promoted_alone(row, ends),
        "hour": bool((hour.lower[ends * (PER_DAY // PER_HOUR) - 1] > 0).any()),
        "day (the default)": bool((day.lower[ends - 1] > 0).any()),
        "day, from the 3rd day on": bool((day.lower[2:] > 0).any()),
        "day, from the 3rd day, normal quantile": bool((normal_lower(day.mean, day.width, day.n)[2:] > 0).any()),
    }


def promoted_alone(row: Array, ends: NDArray[np.int64]) -> bool:
    """Verdict of the sequence that believes in independent requests."""
    n = ends * PER_DAY
    mean = np.cumsum(row)[n - 1] / n
    deviation = np.sqrt((np.cumsum(row**2)[n - 1] - n * mean**2) / (n - 1))
    return bool((mean > boundary(n.astype(np.float64), ALPHA, 2_000) * deviation / np.sqrt(n)).any())


def normal_lower(mean: Array, width: Array, n: NDArray[np.int64]) -> Array:
    """Lower bounds without the Student quantile for few clusters."""
    z = boundary(n.astype(np.float64), ALPHA, 2_000)
    k = np.arange(1, len(n) + 1)
    student = stats.t.isf(stats.norm.sf(z), np.maximum(k - 1, 1))
    return np.asarray(mean - width * z / student)


def print_arrival(streams: int) -> None:
    """False promotions when labels are taken as they arrive, positives first, and in prediction order."""
    rng = np.random.default_rng(4)
    n = 3_000
    stream = equal_models(rng, streams, n)
    champion, challenger = stream.champion * 0.8, np.clip(stream.champion * 1.185, 0, 0.99)
    differences = log_loss(champion, stream.label) - log_loss(challenger, stream.label)
    differences -= differences.mean()
    known = np.arange(n) / 60 + np.where(stream.label > 0, 1.0, 24.0)
    by_arrival = np.take_along_axis(differences, np.argsort(known, axis=1, kind="stable"), axis=1)
    looks = np.arange(200, 1_501, 100)
    print(
        "\nPositives known after an hour, negatives after a day; 60 requests an hour; equal challenger, higher answers"
    )
    for name, rows in (("labels as they arrive", by_arrival), ("matured cohorts, prediction order", differences)):
        share = np.mean([bool((confidence_sequence(r, np.arange(n)).lower[looks - 1] > 0).any()) for r in rows])
        print(f"{name:<40}{share:>18.3f}")


def main() -> None:
    """Print every table and the seconds it took."""
    began = time.perf_counter()
    print_rates(20_000)
    print_arrival(1_000)
    print_clusters(2_000)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
