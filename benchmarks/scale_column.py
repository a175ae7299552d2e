"""The same loop on the default column and on the scale column, in turn: wall time by stage, CPU time of all processes.

Run ``python -m benchmarks.scale_column``; with ``--rounds`` it plays each column so often and tells the least of each.

Sixteen days of the use case flights, from events to the gate's decision, by a daemon in both columns; the loop is that
of ``shadow_platform_tests.end_to_end``. CPU time is that of every process the loop starts, those of the servers told
apart. Both columns run on this machine alone, so that the ratio is what the servers and the way to them cost, and
nothing of what more machines would bring. Belongs here: measuring. Upstream: the loop. Downstream: docs/benchmarks.md.
"""

import argparse
import ctypes
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shadow_platform_tests.end_to_end.columns import DEFAULT, servers
from shadow_platform_tests.end_to_end.loop import Loop

SERVERS = frozenset({"postgres", "valkey-server", "weed", "tansu"})
SAMPLED_EVERY_S = 0.5
PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Spent:
    """CPU seconds of every process seen, by process id and start; a dead one keeps what it was last seen with."""

    platform: dict[tuple[int, float], float] = field(default_factory=dict)
    servers: dict[tuple[int, float], float] = field(default_factory=dict)

    def sample(self) -> None:
        """Look at every process below this one."""
        for process in psutil.Process().children(recursive=True):
            try:
                kind = self.servers if process.name() in SERVERS else self.platform
                times = process.cpu_times()
                kind[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue


@dataclass(frozen=True, slots=True)
class Played:
    """One play: wall seconds by stage, CPU seconds of the platform's processes and of the servers."""

    stages: dict[str, float]
    platform_cpu_s: float
    servers_cpu_s: float

    @property
    def wall_s(self) -> float:
        """All stages together; the start of the servers is not among them."""
        return sum(self.stages.values())


@contextmanager
def counted() -> Iterator[Spent]:
    """CPU time of what the block starts, whoever its parent is by then."""
    # What outlives its parent becomes a child of this process, and is counted on.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    spent, ended = Spent(), threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLED_EVERY_S):
            spent.sample()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield spent
    finally:
        spent.sample()
        ended.set()
        thread.join()


def play(column: str) -> Played:
    """Play the loop once on a column, in folders and on servers of its own."""
    with (
        tempfile.TemporaryDirectory(prefix=f"loop-{column}-", ignore_cleanup_errors=True) as folder,
        ExitStack() as ends,
    ):
        chosen = ends.enter_context(servers(Path(folder) / "servers")) if column == "scale" else DEFAULT
        with counted() as spent, Loop(Path(folder), chosen) as loop:
            loop.play()
        return Played(loop.seconds, sum(spent.platform.values()), sum(spent.servers.values()))


def report(plays: dict[str, list[Played]]) -> list[str]:
    """Markdown: least seconds of each stage by column, their sums, and the ratios of the columns."""
    best = {column: min(found, key=lambda one: one.wall_s) for column, found in plays.items()}
    default, scale = best["default"], best["scale"]
    lines = ["| stage | default, s | scale, s |", "|---|---:|---:|"]
    for stage in scale.stages:
        told = f"{default.stages[stage]:.1f}" if stage in default.stages else "none"
        lines.append(f"| {stage} | {told} | {scale.stages[stage]:.1f} |")
    cpu = {column: (one.platform_cpu_s, one.servers_cpu_s) for column, one in best.items()}
    lines += [
        f"| **all stages, wall** | {default.wall_s:.0f} | {scale.wall_s:.0f} (x {scale.wall_s / default.wall_s:.2f}) |",
        f"| CPU, platform | {cpu['default'][0]:.0f} | {cpu['scale'][0]:.0f} "
        f"(x {cpu['scale'][0] / cpu['default'][0]:.2f}) |",
        f"| CPU, servers | {cpu['default'][1]:.0f} | {cpu['scale'][1]:.0f} |",
    ]
    return lines


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="plays of each column")
    rounds: int = parser.parse_args().rounds
    plays: dict[str, list[Played]] = {"default": [], "scale": []}
    for number in range(rounds):
        for column in sorted(plays, reverse=bool(number % 2)):
            plays[column].append(play(column))
            print(f"round {number + 1}, {column}: {plays[column][-1].wall_s:.0f} s", flush=True)
    print("\n".join(report(plays)))


if __name__ == "__main__":
    main()
