"""Runs the chosen measurements, prints their table, and says whether every target was met.

``python -m benchmarks.serving`` (about half an hour): throughput, foreign frameworks, latency, batches; ``--only`` runs
some of them. ``--memory`` and ``--profile`` are runs of their own. Needs ``wrk`` and ``h2load`` (Debian, Ubuntu:
``apt-get install wrk nghttp2-client``). Exit code: 0 targets met, 1 a target missed, 2 a generator is missing.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving.breakdown import breakdown
from benchmarks.serving.latency import latencies
from benchmarks.serving.load import missing_generators
from benchmarks.serving.memory import memory
from benchmarks.serving.report import Effort, Report
from benchmarks.serving.throughput import batches, foreign_frameworks, online_features, request_features

PARTS = ("request", "online", "foreign", "latency", "batch")
EXIT_TERMINATED = 143
PEERS_HOME = Path(tempfile.gettempdir()) / "shadow-platform-peers"

Measure = Callable[[Path, Effort, Report], None]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run (all)")
    parser.add_argument("--skip-foreign", action="store_true", help="leave the foreign frameworks out")
    parser.add_argument("--peers-home", type=Path, default=PEERS_HOME, help=f"their environments ({PEERS_HOME})")
    parser.add_argument("--seconds", type=int, default=6, help="length of one run (6)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender (5)")
    parser.add_argument("--entities", type=int, default=20_000, help="entities in the online store (20,000)")
    parser.add_argument("--memory", action="store_true", help="measure a worker's memory instead")
    parser.add_argument("--requests", type=int, default=500_000, help="requests of each memory run (500,000)")
    parser.add_argument("--profile", action="store_true", help="print where the time of a request goes instead")
    parser.add_argument("--output", type=Path, help="file for the results as JSON")
    return parser.parse_args()


def _measures(options: argparse.Namespace) -> dict[str, Measure]:
    if options.memory:
        return {"memory": lambda folder, effort, report: memory(folder, effort, report, options.requests)}
    if options.profile:
        return {"profile": breakdown}

    def foreign(folder: Path, effort: Effort, report: Report) -> None:
        foreign_frameworks(folder, effort, report, options.peers_home)

    parts: dict[str, Measure] = dict(
        zip(PARTS, (request_features, online_features, foreign, latencies, batches), strict=True)
    )
    chosen = [part for part in options.only if not (options.skip_foreign and part == "foreign")]
    return {part: parts[part] for part in chosen}


def main() -> int:
    """Run what was asked for; returns the exit code."""
    options = _arguments()
    missing = missing_generators()
    if missing:
        print(f"load generators are missing; install them (Debian, Ubuntu: apt-get install {' '.join(missing)})")
        return 2
    # A run that is ended must end what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    effort = Effort(options.seconds, options.rounds, options.entities)
    report = Report({name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()})
    began = time.monotonic()
    for name, measure in _measures(options).items():
        print(f"{name} ({time.monotonic() - began:.0f} s)", flush=True)
        with tempfile.TemporaryDirectory(prefix="serving-") as folder:
            measure(Path(folder), effort, report)
        if options.output:
            report.write(options.output)
    report.print()
    print(f"\n{options.rounds} rounds of {options.seconds} s; {time.monotonic() - began:.0f} s in all")
    return 0 if report.is_met else 1


if __name__ == "__main__":
    sys.exit(main())
