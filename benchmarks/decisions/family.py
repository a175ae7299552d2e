"""Several equal challengers of one champion at once: how often any of them is promoted.

Upstream: simulated streams, rules. Downstream: docs/benchmarks.md.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.decisions.rules import ALPHA, batches, by_day, daily, first_day_above, of_days, t_test
from benchmarks.decisions.worlds import DAYS, PAIRS, PER_DAY, Flags, at_once
from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates import alpha_of
from shadow_platform.domain.gates.clusters import Array
from shadow_platform.domain.gates.sequence import log_loss
from shadow_platform_tests.streams import SHARED_NOISE, sigmoid

STREAMS = 1_000
CHALLENGERS = (1, 3, 10)


def measure(scale: float) -> Iterator[Table]:
    """One table: numbers of challengers by rules."""
    streams = max(10, round(STREAMS * scale))
    table = Table(
        f"Any of several equal challengers promoted: {DAYS} days of {PER_DAY} requests, daily looks, {streams:,} runs",
        ["challengers", "t-test", "gate, each at the whole alpha", "gate, family (in use)"],
    )
    for count in CHALLENGERS:
        rng = np.random.default_rng(count)
        hits: list[list[Flags]] = [[], [], []]
        for n in batches(streams):
            rivals = _gains(rng, n, count)
            naive = [t_test(seen) & (seen[0] >= 200) for seen in (daily(at_once(rows)) for rows in rivals)]
            hits[0].append(np.any([flags.any(axis=1) for flags in naive], axis=0))
            for place, alphas in ((1, [ALPHA] * count), (2, [alpha_of(ALPHA, j + 1) for j in range(count)])):
                hits[place].append(
                    np.any([_promoted(rows, alpha) for rows, alpha in zip(rivals, alphas, strict=True)], axis=0)
                )
        rates = [Rate(int(np.concatenate(rule).sum()), streams) for rule in hits]
        table.add(
            [str(count), *(rate.percent_up_to() for rate in rates)], {"count": count, "hits": [r.hits for r in rates]}
        )
    yield table.end(
        f"Alpha {ALPHA} over the family; the challengers answer the same requests, their errors are their own."
    )


def _gains(rng: np.random.Generator, worlds: int, challengers: int) -> list[Array]:
    """Gains of each challenger over the same champion on the same requests."""
    shape = (worlds, PAIRS)
    logit = rng.normal(-1.0, 1.5, shape)
    label = (rng.random(shape) < sigmoid(logit)).astype(np.float64)

    def loss() -> Array:
        return log_loss(sigmoid(logit + SHARED_NOISE * rng.standard_normal(shape)), label)

    champion = loss()
    return [champion - loss() for _ in range(challengers)]


def _promoted(rows: Array, alpha: float) -> Flags:
    return np.array([np.isfinite(first_day_above(of_days(row, by_day(PAIRS), None, alpha), DAYS)) for row in rows])
