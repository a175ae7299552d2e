"""Latency in an open loop at 70 % of the maximum load: what shadow, hot swaps and a hanging challenger cost callers.

Belongs here: the states that are compared, and the targets. Upstream: ``platform``, ``load``. Downstream: ``report``.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.load import alternate, open_loop
from benchmarks.serving.models import REQUEST
from benchmarks.serving.platform import Platform, running_platform
from benchmarks.serving.report import Effort, Ratio, Report, Spread
from benchmarks.serving.throughput import ON as CLOSED

SHARE = 0.7
SWAP_S = 1.0
"""Time between two hot swaps."""
CAPACITY_ROUNDS = 3
N_BODIES = 100
QUANTILES = {"p50 ms": 50.0, "p99 ms": 99.0, "p99.9 ms": 99.9}
OFF, ON = "no challenger", "shadow busy"
SWAPS, HANGS = "shadow busy, a hot swap a second", "a challenger that hangs"
PART = "latency at 70 % of the maximum load"
TARGETS = ((ON, OFF, 1.05), (SWAPS, ON, 1.5), (HANGS, OFF, 1.05))


def latencies(folder: Path, effort: Effort, report: Report) -> None:
    """Quantiles of each state, a round after the other, at one rate."""
    with running_platform(folder, REQUEST) as platform:
        rate = SHARE * _capacity(platform, effort)
        report.note(f"{PART}: {rate:,.0f} requests a second")
        bodies = _single_bodies(platform)
        found: dict[str, list[list[float]]] = {name: [] for name in (OFF, ON, SWAPS, HANGS)}
        for round_no in range(effort.rounds + 1):
            for name, rounds in found.items():
                with _state(platform, name):
                    milliseconds = open_loop(platform.url, bodies, rate, effort.seconds if round_no else 1)
                quantiles = np.percentile(milliseconds, list(QUANTILES.values())).tolist()
                if round_no:
                    rounds.append(quantiles)
                    figures = "  ".join(f"{q} {v:8.2f}" for q, v in zip(QUANTILES, quantiles, strict=True))
                    print(f"  {name:46} {figures}", flush=True)
    for name, rounds in found.items():
        report.add(PART, name, {q: [values[i] for values in rounds] for i, q in enumerate(QUANTILES)})
    place = list(QUANTILES).index("p99 ms")
    p99 = {name: [values[place] for values in rounds] for name, rounds in found.items()}
    for name, other, limit in TARGETS:
        spread = Spread.of_ratios(p99[name], p99[other])
        report.ratios.append(Ratio(f"p99 at 70 % load: {name} / {other}", spread, "<=", limit))


def _capacity(platform: Platform, effort: Effort) -> float:
    contender = platform.contender(CLOSED, "request", [platform.bundles.challenger])
    runs = alternate([contender], min(effort.seconds, 5), min(effort.rounds, CAPACITY_ROUNDS))
    return float(np.median([run.per_s for run in runs[CLOSED]]))


@contextmanager
def _state(platform: Platform, name: str) -> Iterator[None]:
    """The platform in one of the states, and back when it is left."""
    bundles = platform.bundles
    challengers: dict[str, tuple[str, ...]] = {OFF: (), HANGS: (bundles.hanging,)}
    platform.shadow(*challengers.get(name, (bundles.challenger,)))
    with _swapping(platform) if name == SWAPS else nullcontext():
        yield
    leave: Callable[[], Any] = platform.end_hanging if name == HANGS else platform.wait_compared
    leave()


@contextmanager
def _swapping(platform: Platform) -> Iterator[None]:
    """Replaces the champion once a ``SWAP_S``, and sees to it that the last one arrived."""
    bundles, stop = platform.bundles, threading.Event()

    def swap() -> None:
        n = 0
        while not stop.wait(SWAP_S):
            n += 1
            platform.deploy(bundles.challenger if n % 2 else bundles.champion, (bundles.challenger,))

    thread = threading.Thread(target=swap, name="swaps")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    platform.wait_loaded()


def _single_bodies(platform: Platform) -> list[Path]:
    """Files with one request each."""
    lines = platform.bodies["request"].read_bytes().splitlines()[:N_BODIES]
    paths = [platform.bodies["request"].with_name(f"body-{i}.json") for i in range(len(lines))]
    for path, line in zip(paths, lines, strict=True):
        path.write_bytes(line)
    return paths
