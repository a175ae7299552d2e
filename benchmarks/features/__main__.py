"""Runs the chosen part and prints its tables as Markdown.

Parts: ``join`` (point in time, against SQL by hand, polars and Feast's own stores), ``online`` (reads of 1 and 100
entities), ``materialization`` (rows a second into the online store), ``stream`` (events a second, and the delay from
event to online feature). Options behind the part are the part's own; each says what they are with ``--help``.
"""

import argparse
import runpy
import sys
import tempfile
from pathlib import Path

SIZES = [10_000, 100_000, 1_000_000]
ELSEWHERE = {
    "online": "benchmarks.online",
    "materialization": "benchmarks.features.materialization",
    "stream": "benchmarks.features.stream",
}


def _join(arguments: list[str]) -> None:
    from benchmarks.features import join

    parser = argparse.ArgumentParser(prog="python -m benchmarks.features --part join", description=join.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contender (3)")
    parser.add_argument("--requests", type=int, nargs="+", default=SIZES, help=f"sizes ({SIZES})")
    parser.add_argument("--folder", type=Path, help="where rows are kept for the next time (a temporary one)")
    parser.add_argument("--others", nargs="*", choices=join.OTHERS, default=join.OTHERS, help="who else runs (all)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="join-") as temporary:
        join.main(options.folder or Path(temporary), options.rounds, options.requests, options.others)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("--part", choices=["join", *ELSEWHERE], required=True)
    options, rest = parser.parse_known_args()
    if options.part == "join":
        _join(rest)
        return
    sys.argv = [ELSEWHERE[options.part], *rest]
    runpy.run_module(ELSEWHERE[options.part], run_name="__main__")


if __name__ == "__main__":
    main()
