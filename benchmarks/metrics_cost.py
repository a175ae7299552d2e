"""What metrics cost: an answer with and without counting it, and a scrape by the number of processes that ever counted.

``python -m benchmarks.metrics_cost`` (about a minute). Belongs here: the worker's own answers in one process, counted
and not counted in turns, by the processor time of all its threads, which a busy machine hardly changes. Does not belong
here: HTTP, whose cost both share. Upstream: ``bento.worker``. Downstream: ``docs/metrics.md``.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from shutil import copyfile
from statistics import median
from typing import Any
from unittest.mock import patch

import uvloop

import bento.api.app
from benchmarks.serving.breakdown import answer_all, until_ready
from benchmarks.serving.models import REQUEST, train, write_bodies
from benchmarks.serving.platform import write_deployment
from bento.worker import Worker
from shadow_platform.settings import Settings

N_ANSWERS = 2_000
PROCESSES = (2, 20, 200)
N_SCRAPES = 5
COUNTING = ("count_prediction", "observe_write", "flush")
"""What an answered request calls, and what the worker calls five times a second on its behalf."""


def measured(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[int, list[float]]]:
    """Microseconds of processor time an answer, counted and not; milliseconds a scrape, by number of processes."""
    settings = Settings(shadow_home=folder / "home")
    bundles = train(folder, settings.layout.bundles, REQUEST)
    write_deployment(settings.layout, REQUEST, bundles.champion, (), datetime.now(UTC))
    bodies = write_bodies(folder, None, N_ANSWERS)
    # prometheus_client chooses its multiprocess mode when it is imported: the mode of serving workers.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_in_a_worker, folder, settings, bodies, rounds).result()


def _in_a_worker(
    folder: Path, settings: Settings, bodies: Path, rounds: int
) -> tuple[dict[str, list[float]], dict[int, list[float]]]:
    files = folder / "metrics"
    files.mkdir()
    os.environ |= {"PROMETHEUS_MULTIPROC_DIR": str(files), "OMP_NUM_THREADS": "1"}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measured_in(settings, bodies.read_bytes().splitlines(), files, rounds))


async def _measured_in(
    settings: Settings, bodies: list[bytes], files: Path, rounds: int
) -> tuple[dict[str, list[float]], dict[int, list[float]]]:
    worker, site = Worker(settings, REQUEST), bento.api.app.Site()
    worker.start()
    try:
        await until_ready(worker)
        site.worker = worker
        endpoint = bento.api.app.build_endpoints(REQUEST, settings, site)["/predict"]
        answers: dict[str, list[float]] = {"counted": [], "not counted": []}

        async def once(name: str) -> None:
            began = time.process_time()
            await answer_all(endpoint, bodies)
            worker.metrics.flush()
            answers[name].append((time.process_time() - began) / len(bodies) * 1e6)

        await answer_all(endpoint, bodies)
        for number in range(rounds):
            # Whichever came first would be favoured by whatever changes with time.
            for name in sorted(answers, reverse=bool(number % 2)):
                with _uncounted(worker) if name == "not counted" else nullcontext():
                    await once(name)
        return answers, {n: _scrapes(worker.exposition, files, n) for n in PROCESSES}
    finally:
        worker.stop()


@contextmanager
def _uncounted(worker: Worker) -> Iterator[None]:
    """Nothing is counted meanwhile."""

    def nothing(*_: Any) -> None:
        return

    with ExitStack() as changes:
        for name in COUNTING:
            changes.enter_context(patch.object(worker.metrics, name, nothing))
        yield


def _scrapes(scrape: Callable[[], bytes], files: Path, n_processes: int) -> list[float]:
    """Milliseconds a scrape once so many processes have counted, as those do that were killed."""
    own = list(files.glob(f"*_{os.getpid()}.db"))
    for pid in range(1, n_processes):
        for path in own:
            copy = path.with_name(path.name.replace(f"_{os.getpid()}.db", f"_{10_000_000 + pid}.db"))
            copyfile(path, copy)
    took = []
    for _ in range(N_SCRAPES):
        began = time.perf_counter()
        scrape()
        took.append((time.perf_counter() - began) * 1e3)
    return took


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help=f"turns of {N_ANSWERS:,} answers each (15)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        answers, scrapes = measured(Path(folder), options.rounds)
    print(f"processor time an answer, microseconds; median (range) of {options.rounds} turns")
    for name, values in answers.items():
        print(f"  {name:12} {median(values):7.1f} ({min(values):.1f} to {max(values):.1f})")
    ratios = [a / b for a, b in zip(answers["counted"], answers["not counted"], strict=True)]
    print(f"  ratio        {median(ratios):7.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"a scrape, milliseconds; median of {N_SCRAPES}")
    for n, values in scrapes.items():
        print(f"  {n:4} processes {median(values):8.1f}")


if __name__ == "__main__":
    main()
