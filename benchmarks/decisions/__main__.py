"""Run parts of the benchmark: ``python -m benchmarks.decisions --part NAME --scale X``.

``--scale .1`` looks at a tenth of the streams, kills or days. Without ``--part`` the statistics of the gate are
measured, a few minutes on one core; the other parts start servers or play months. Upstream: the parts. Downstream:
the terminal.
"""

import argparse
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from benchmarks.drift.tables import Spent, Table, write_json

STATISTICS = {
    "false": "false_promotions",
    "power": "power",
    "harm": "harm",
    "family": "family",
    "rates": "rates",
    "clusters": "clusters",
    "arrival": "arrival",
}
PARTS = STATISTICS | {"kills": "kills", "rollbacks": "rollbacks", "regret": "regret"}


class Part(Protocol):
    """A module of this package that measures one thing."""

    def measure(self, scale: float) -> Iterable[Table]:
        """Finished tables, in the order of the page."""


def part(name: str) -> Part:
    """Module of a part by the name it has on the command line."""
    found: Part = import_module(f"benchmarks.decisions.{PARTS[name]}")
    return found


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decisions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append", help=f"what to measure ({', '.join(STATISTICS)})")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the streams, kills or days (1)")
    parser.add_argument("--json", type=Path, help="file for the tables as JSON")
    options = parser.parse_args()
    tables: list[Table] = []
    for name in options.part or STATISTICS:
        spent = Spent()
        tables += part(name).measure(options.scale)
        print(f"\n{name}: {spent.wall_s():,.0f} s on the clock, {spent.cpu_s():,.0f} on a core", flush=True)
    if options.json:
        write_json(options.json, tables, {"parts": options.part or list(STATISTICS), "scale": options.scale})


if __name__ == "__main__":
    main()
