"""A daemon killed again and again, at random moments and where a run can be lost: is every request answered once?

Run from the root of the repository: ``python -m benchmarks.daemon_kills [--rounds N] [--kills N] [--seed N]``. Each
round has a home of its own in which drift, performance, new data and the night ask for a training. The night is ticked
anew every minute, always as the same one: a round must not run over midnight (UTC). The daemon, its code server and its
runs are killed together, as with a machine; then a last daemon is left alone until every request has an answer.

Upstream: the triggers, over jobs that do nothing. Downstream: docs/benchmarks.md.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import dagster as dg

from shadow_platform.automation.requests import TRIGGER_ID_TAG
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.automation.asking import ask_everything, daemon_home, is_answered, requests
from shadow_platform_tests.automation.dying_daemon import POINTS

DAEMON = "shadow_platform_tests.automation.dying_daemon"
LOCATION = "shadow_platform_tests.automation.location"
AT_RANDOM = "at a random moment"
LONGEST_LIFE_S = 60.0
PATIENCE_S = 900.0


def start(point: str) -> "subprocess.Popen[bytes]":
    """A daemon in a group of its own that dies at a point."""
    command = [sys.executable, "-m", DAEMON, point, LOCATION]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)


def kill(daemon: "subprocess.Popen[bytes]") -> None:
    """End a daemon with everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()


def live_and_die(point: str, chance: random.Random) -> str:
    """One daemon's life; the answer is what ended it."""
    daemon = start(point)
    try:
        daemon.wait(chance.uniform(5.0, 25.0) if point == AT_RANDOM else LONGEST_LIFE_S)
        return point
    except subprocess.TimeoutExpired:
        return AT_RANDOM
    finally:
        kill(daemon)


def play(folder: Path, n_kills: int, chance: random.Random) -> tuple[Counter[str], Counter[str], int, bool]:
    """Ends of the daemons of one round, successful runs by request, runs that died, whether each was answered once."""
    os.environ["SHADOW_HOME"] = str(folder / "home")
    os.environ["DAGSTER_HOME"] = str(daemon_home(folder / "dagster", poll_s=2, start_timeout_s=45))
    ends: Counter[str] = Counter()
    with dg.DagsterInstance.get() as instance:
        ask_everything(Layout(folder / "home"), instance)
        wanted = requests()
        for _ in range(n_kills):
            ends[live_and_die(chance.choice([*POINTS, AT_RANDOM, AT_RANDOM]), chance)] += 1
        last = start("never")
        deadline = time.monotonic() + PATIENCE_S
        while not is_answered(instance, wanted) and time.monotonic() < deadline:
            time.sleep(1)
        time.sleep(10)
        kill(last)
        runs = instance.get_runs()
    done = [run for run in runs if run.status is dg.DagsterRunStatus.SUCCESS]
    answered = Counter(run.tags[TRIGGER_ID_TAG] for run in done)
    return ends, answered, len(runs) - len(done), answered == Counter(wanted)


def main() -> None:
    """Print how often each request was answered; exit 1 unless it is once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=8, help="a round")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, ends, wrong, n_dead = random.Random(options.seed), Counter[str](), 0, 0
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            of_round, answered, dead, is_right = play(Path(folder), options.kills, chance)
        ends, n_dead = ends + of_round, n_dead + dead
        wrong += not is_right
        print(f"round {number + 1}: {dict(of_round)}, answered {dict(answered)}, {dead} runs died", flush=True)
    print(f"{options.rounds * len(requests())} requests, {ends.total()} kills {dict(ends)}, {n_dead} runs died")
    print(f"rounds in which a request was not answered exactly once: {wrong}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
