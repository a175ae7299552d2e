"""What a part counted: rates with their bounds, tables as Markdown and as JSON.

Upstream: every part. Downstream: the terminal, docs/benchmarks.md.
"""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scipy import stats

CONFIDENCE = 0.95
PACKAGES = ("numpy", "pandas", "scipy", "duckdb", "evidently")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many windows."""

    hits: int
    windows: int

    @property
    def upper(self) -> float:
        """Exact upper 95 % bound of the true share (Clopper and Pearson 1934)."""
        if self.hits == self.windows:
            return 1.0
        return float(stats.beta.ppf(CONFIDENCE, self.hits + 1, self.windows - self.hits))

    def per_thousand(self) -> str:
        """Hits per 1,000 windows, their bound, and how many were looked at.

        >>> Rate(0, 300).per_thousand()
        '0 (up to 9.9) of 300'
        """
        return f"{1_000 * self.hits / self.windows:.3g} (up to {1_000 * self.upper:.2g}) of {self.windows:,}"

    def percent(self) -> str:
        """Hits in percent.

        >>> Rate(3, 4).percent()
        '75 %'
        """
        return f"{100 * self.hits / self.windows:.0f} %"

    def percent_up_to(self) -> str:
        """Hits in percent, and their bound.

        >>> Rate(3, 300).percent_up_to()
        '1.0 % (2.6)'
        """
        return f"{100 * self.hits / self.windows:.1f} % ({100 * self.upper:.1f})"


@dataclass(slots=True)
class Table:
    """One table; ``figures`` holds its numbers for JSON."""

    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    figures: list[Mapping[str, Any]] = field(default_factory=list)
    note: str = ""

    def add(self, cells: Sequence[str], figures: Mapping[str, Any]) -> None:
        """Keep one row, and print it at once: a table may take an hour."""
        if not self.rows:
            print(f"\n{self.title}\n\n| {' | '.join(self.header)} |\n{'|---' * len(self.header)}|", flush=True)
        print(f"| {' | '.join(cells)} |", flush=True)
        self.rows.append(cells)
        self.figures.append(figures)

    def end(self, note: str = "") -> "Table":
        """The finished table, with what its cells do not say."""
        self.note = note
        if note:
            print(f"\n{note}", flush=True)
        return self


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds since it was made."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    def wall_s(self) -> float:
        """Seconds on the clock."""
        return time.perf_counter() - self.wall

    def cpu_s(self) -> float:
        """Seconds of this process on a core."""
        return time.process_time() - self.cpu


def write_json(path: Path, tables: Sequence[Table], settings: Mapping[str, Any]) -> None:
    """Write tables with the machine and the packages they were measured on."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    document = {
        "machine": machine | {name: version(name) for name in PACKAGES},
        "settings": settings,
        "tables": [asdict(table) for table in tables],
    }
    path.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
