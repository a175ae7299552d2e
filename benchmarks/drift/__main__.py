"""Runs the chosen part and prints its tables as Markdown.

Parts: ``rates`` (false alarms on independent rows), ``alike`` (where days differ), ``power`` (each kind of drift),
``delay`` (days to the first failing verdict), ``peers`` (the same windows judged by others), ``cost`` (seconds against
Evidently), ``memory`` (rows up to 50 million), ``estimation`` (CBPE against labels), ``flights`` (real data, month by
month), ``performance`` (the verdict on labels). ``--scale .1`` looks at a tenth of the windows, or rows.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.drift.tables import Spent, Table, write_json

CACHE = Path(tempfile.gettempdir()) / "shadow-platform-drift"
ROUNDS, ROWS, DRAWS = 3, 1_000_000, 20


def _rates(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift import rates

    yield rates.false_alarms(options.scale, options.seed)


def _alike(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift import rates

    yield rates.alike(options.scale, options.seed)


def _power(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift import rates

    yield rates.power(options.scale, options.seed)


def _delay(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.delay import delays

    yield delays(options.scale, options.seed)


def _peers(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.compared import compared

    yield from compared(options.scale, options.seed, options.cache / "peers")


def _cost(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.cost import cost

    yield cost(round(ROWS * options.scale), ROUNDS, options.seed)


def _memory(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.memory import memory

    yield memory(options.scale, options.seed)


def _estimation(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift import estimation

    yield estimation.made_shift(max(1, round(DRAWS * options.scale)), options.seed)
    yield estimation.car_loans(options.cache / "peers")
    yield from estimation.by_month(options.cache / "frames")


def _flights(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.flights import flights

    yield flights(options.cache / "frames")


def _performance(options: argparse.Namespace) -> Iterable[Table | None]:
    from benchmarks.drift.performance import performance

    yield performance(options.scale, options.seed)


PARTS: dict[str, Callable[[argparse.Namespace], Iterable[Table | None]]] = {
    "rates": _rates,
    "alike": _alike,
    "power": _power,
    "delay": _delay,
    "peers": _peers,
    "cost": _cost,
    "memory": _memory,
    "estimation": _estimation,
    "flights": _flights,
    "performance": _performance,
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*PARTS, "all"], help="what to measure")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the windows or rows to look at (1)")
    parser.add_argument("--seed", type=int, default=0, help="of every random number (0)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"peers' environments, joined frames ({CACHE})")
    parser.add_argument("--json", type=Path, help="file for the tables as JSON")
    options = parser.parse_args()
    for folder in ("peers", "frames"):
        (options.cache / folder).mkdir(parents=True, exist_ok=True)
    tables: list[Table] = []
    for name in PARTS if options.part == "all" else [options.part]:
        spent = Spent()
        tables += [table for table in PARTS[name](options) if table is not None]
        print(f"\n{name}: {spent.wall_s():,.0f} s on the clock, {spent.cpu_s():,.0f} on a core", flush=True)
    if options.json:
        settings = {"part": options.part, "scale": options.scale, "seed": options.seed}
        write_json(options.json, tables, settings)


if __name__ == "__main__":
    main()
