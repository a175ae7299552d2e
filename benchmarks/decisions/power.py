"""How many labels, and days, the gate needs to promote a challenger that is truly better.

Upstream: simulated streams, rules. Downstream: docs/benchmarks.md.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.decisions.rules import ALPHA, GATES, batches, by_day, first_day_above, of_bets
from benchmarks.decisions.worlds import PER_DAY, Numbers, gains
from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates import alpha_of
from shadow_platform.domain.gates.clusters import Array
from shadow_platform_tests.streams import better_challenger

STREAMS, STRICT_STREAMS = 400, 40
DAYS = 200
EXTRA_ERRORS = {1: 0.251, 2: 0.357, 5: 0.576}
"""Extra error of a champion whose log loss is so many percent above its challenger's."""


def measure(scale: float) -> Iterator[Table]:
    """One table: gains by forms of the gate."""
    streams, strict = max(10, round(STREAMS * scale)), max(5, round(STRICT_STREAMS * scale))
    table = Table(
        f"Better challengers found: {DAYS} days of {PER_DAY} requests, looks every day, {streams:,} streams",
        ["gain", "gate", "found within 30 days", f"within {DAYS} days", "median labels", "90 % found by"],
    )
    forms = [(name, ALPHA) for name in GATES] + [
        ("gate, day and subject", alpha_of(ALPHA, ordinal)) for ordinal in (1, 10)
    ]
    for gain, extra in EXTRA_ERRORS.items():
        rng = np.random.default_rng(gain)
        days: dict[tuple[str, float], list[float]] = {form: [] for form in forms}
        for n in batches(streams):
            rows = gains(better_challenger(rng, n, DAYS * PER_DAY, extra))
            subject = rng.integers(600, size=(rows.shape[1],))
            for form in forms:
                wanted = rows[: max(0, strict - len(days[form]))] if GATES[form[0]] is of_bets else rows
                days[form] += [_found_on(form, row, subject) for row in wanted]
        for form, found in days.items():
            table.add(_cells(gain, form, np.array(found)), {"gain": gain, "form": form, "days": found})
    note = (
        f"At alpha {ALPHA} unless told: {alpha_of(ALPHA, 1):.4f} and {alpha_of(ALPHA, 10):.5f} are what the first and "
    )
    yield table.end(note + "the tenth challenger of a champion get. Bets take each request on its own.")


def _found_on(form: tuple[str, float], row: Array, subject: Numbers) -> float:
    name, alpha = form
    return first_day_above(GATES[name](row, by_day(len(row)), subject, alpha), DAYS)


def _cells(gain: int, form: tuple[str, float], days: Array) -> list[str]:
    name, alpha = form
    month, ever = Rate(int((days <= 30).sum()), len(days)), Rate(int(np.isfinite(days).sum()), len(days))
    shown = name if alpha == ALPHA else f"{name}, alpha {alpha:.2g}"
    middle, late = (_labels(float(np.quantile(days, q, method="higher"))) for q in (0.5, 0.9))
    return [f"{gain} %", shown, month.percent(), ever.percent(), middle, late]


def _labels(days: float) -> str:
    return f"{days * PER_DAY:,.0f} (day {days:.0f})" if np.isfinite(days) else "not found"
