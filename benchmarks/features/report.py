"""Tables of contenders, with the ratio to the first of them.

Belongs here: medians, ratios, Markdown. Does not belong here: measuring. Upstream: every part. Downstream: the
terminal, docs/benchmarks.md.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run cost: seconds on the clock and on a core, and the most memory its process ever held."""

    wall_s: float
    cpu_s: float
    peak_gb: float


def median(runs: Sequence[Cost]) -> Cost:
    """The median of every column by itself.

    >>> median([Cost(1, 5, 1), Cost(3, 4, 1), Cost(2, 6, 4)])
    Cost(wall_s=2, cpu_s=5, peak_gb=1)
    """
    return Cost(*(statistics.median(column) for column in zip(*runs, strict=True)))


def load() -> str:
    """How busy the machine is, which is what the seconds on the clock depend on.

    >>> load().startswith("load ")
    True
    """
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def table(title: str, found: Mapping[str, Cost | None], remarks: Mapping[str, str]) -> str:
    """Markdown of one comparison; ``None``: was not run, for the reason in ``remarks``.

    >>> costs = {"by hand": Cost(1, 2, 0.5), "ours": Cost(3, 3, 0.5), "other": None}
    >>> print(table("1 row", costs, {"other": "too big"}))
    1 row
    <BLANKLINE>
    | | s | CPU-s | x the first | peak GB | |
    |---|---|---|---|---|---|
    | by hand | 1.00 | 2.00 | 1.00 | 0.50 |  |
    | ours | 3.00 | 3.00 | 1.50 | 0.50 |  |
    | other | | | | | too big |
    """
    first = next(cost for cost in found.values() if cost is not None)
    lines = [title, "", "| | s | CPU-s | x the first | peak GB | |", "|---|---|---|---|---|---|"]
    for name, cost in found.items():
        remark = remarks.get(name, "")
        if cost is None:
            lines.append(f"| {name} | | | | | {remark} |")
            continue
        ratio = cost.cpu_s / first.cpu_s
        lines.append(f"| {name} | {cost.wall_s:.2f} | {cost.cpu_s:.2f} | {ratio:.2f} | {cost.peak_gb:.2f} | {remark} |")
    return "\n".join(lines)
