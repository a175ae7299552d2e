"""False promotions where requests of an hour and of neighbouring hours are alike, by what is summed first.

Upstream: simulated days, domain.gates. Downstream: docs/adr/0005.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates.clusters import Array, Clusters
from shadow_platform.domain.gates.sequence import ConfidenceSequence, boundary, confidence_sequence
from shadow_platform_tests.streams import clustered_differences

ALPHA, MIN_CLUSTERS = 0.05, 7
PER_HOUR, PER_DAY = 50, 900
STREAMS, BATCH = 2_000, 20


def measure(scale: float) -> Iterator[Table]:
    """One table: clusters by length of the comparison."""
    streams = max(BATCH, round(STREAMS * scale))
    table = Table(
        "Requests of a day alike (design effect 2.4 by hour, 4 by day); looks at every day's end; 900 requests a day",
        ["clusters summed before the sequence", "31 days", "90 days"],
    )
    rates = [_rates(days, streams) for days in (31, 90)]
    for name in rates[0]:
        table.add([name, *(rate[name].percent_up_to() for rate in rates)], {"clusters": name})
    yield table.end(f"{streams:,} streams of equal models each; in brackets the exact upper 95 % bound.")


def _rates(days: int, streams: int) -> dict[str, Rate]:
    rng, hits = np.random.default_rng(3), dict[str, list[bool]]()
    for _ in range(streams // BATCH):
        for row in clustered_differences(rng, BATCH, days):
            for name, promoted in cluster_verdicts(row, days).items():
                hits.setdefault(name, []).append(promoted)
    return {name: Rate(sum(values), len(values)) for name, values in hits.items()}


def cluster_verdicts(row: Array, days: int) -> dict[str, bool]:
    """Whether one stream is ever promoted at a day's end, by cluster; the last line lacks the small-sample width."""
    request = np.arange(len(row))
    ends = np.arange(MIN_CLUSTERS, days + 1)
    day = confidence_sequence(row, Clusters(request // PER_DAY), ALPHA)
    hour = confidence_sequence(row, Clusters(request // PER_HOUR), ALPHA)
    return {
        "none: every request on its own": promoted_alone(row, ends),
        "hour": bool((hour.lower[ends * (PER_DAY // PER_HOUR) - 1] > 0).any()),
        "day": bool((day.lower[ends - 1] > 0).any()),
        "day, from the 3rd day on": bool((day.lower[2:] > 0).any()),
        "day, from the 3rd day, normal quantile": bool((normal_lower(day)[2:] > 0).any()),
    }


def promoted_alone(row: Array, ends: NDArray[np.int64]) -> bool:
    """Verdict of the sequence that believes in independent requests."""
    n = ends * PER_DAY
    mean = np.cumsum(row)[n - 1] / n
    deviation = np.sqrt((np.cumsum(row**2)[n - 1] - n * mean**2) / (n - 1))
    return bool((mean > boundary(n.astype(np.float64), ALPHA, 2_000) * deviation / np.sqrt(n)).any())


def normal_lower(day: ConfidenceSequence) -> Array:
    """Lower bounds without the Student quantile for few clusters."""
    z = boundary(day.n.astype(np.float64), ALPHA, 2_000)
    k = np.arange(1, len(day.n) + 1)
    student = stats.t.isf(stats.norm.sf(z), np.maximum(k - 1, 1))
    return np.asarray(day.mean - (day.mean - day.lower) * z / student)
