"""After how many requests a harmful challenger is rejected, and how often an equal one is.

Upstream: simulated streams, rules. Downstream: docs/benchmarks.md.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.decisions.rules import batches, by_day, first_day_below, of_days
from benchmarks.decisions.worlds import PER_DAY, gains
from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates import alpha_of
from shadow_platform_tests.streams import Stream, better_challenger, equal_models

STREAMS, DAYS = 1_000, 60
EXTRA_ERRORS = {0: 0.0, 1: 0.25, 2: 0.354, 5: 0.567, 10: 0.81, 25: 1.29}
"""Extra error of a challenger whose log loss is so many percent above its champion's."""


def measure(scale: float) -> Iterator[Table]:
    """One table: how much worse, how often and when rejected."""
    streams, alpha = max(10, round(STREAMS * scale)), alpha_of(0.05, 1)
    table = Table(
        f"Harmful challengers rejected: {DAYS} days, looks every day, {streams:,} streams, alpha {alpha:.4f}",
        [
            "log loss of the challenger",
            "requests a day",
            "rejected within 60 days",
            "median requests",
            "95 % caught by",
        ],
    )
    for per_day in (PER_DAY, 10 * PER_DAY):
        for worse, extra in EXTRA_ERRORS.items():
            rng, days = np.random.default_rng(worse), []
            wanted = streams if per_day == PER_DAY else max(10, streams // 5)
            for n in batches(wanted):
                pairs = DAYS * per_day
                made = better_challenger(rng, n, pairs, extra) if extra else equal_models(rng, n, pairs)
                swapped = Stream(made.label, made.challenger, made.champion)
                days += [
                    first_day_below(of_days(row, by_day(pairs, per_day), None, alpha), DAYS) for row in gains(swapped)
                ]
            found = np.array(days)
            rate = Rate(int(np.isfinite(found).sum()), len(found))
            middle, late = (_requests(float(np.quantile(found, q, method="higher")), per_day) for q in (0.5, 0.95))
            name = f"{worse} % higher" if worse else "equal"
            table.add([name, f"{per_day:,}", rate.percent_up_to(), middle, late], {"worse": worse, "days": days})
    yield table.end("A week is the least: nothing is concluded from fewer than seven days.")


def _requests(days: float, per_day: int) -> str:
    return f"{days * per_day:,.0f} (day {days:.0f})" if np.isfinite(days) else "not caught"
