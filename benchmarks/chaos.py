"""Kills under load for as long as one likes: ``python -m benchmarks.chaos --minutes 10 [--seed 1] [--workers 4]``.

Every few seconds a process of a running service, chosen at random among all of them, gets SIGKILL, and the model is
promoted now and then. Prints for each kind of process how often it died and how long recovery took; at the end what the
test of the same name demands: nothing lost, nothing doubled, each prediction compared exactly once. Exit code 1 when
any of it does not hold.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random

from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform_tests.chaos.home import Home, kill, running_home
from shadow_platform_tests.chaos.ledger import account, conservation, foreign_answers
from shadow_platform_tests.chaos.load import Load

Recoveries = dict[str, list[tuple[float, float]]]
"""By role, for each kill: longest time without any answer, and time until every process was back, seconds."""
PROMOTE_SHARE = 0.3
"""Share of rounds that promote another model first."""


def torment(home: Home, load: Load, rng: Random, seconds: float) -> tuple[Recoveries, list[DeployedModel]]:
    """What each kill cost by role, and every model that was in service."""
    recoveries: Recoveries = defaultdict(list)
    models, until = [home.manifest.champion], time.monotonic() + seconds
    while time.monotonic() < until:
        if rng.random() < PROMOTE_SHARE:
            home.promote()
            models.append(home.manifest.champion)
        load.more_answers(rng.randrange(1, 300))
        role = rng.choice(list(home.processes()))
        place, started = len(load.answers), time.monotonic()
        kill(home, role, rng)
        home.wait_whole()
        load.more_answers(1)
        moments = [started, *sorted(answer.answered_at for answer in load.answers[place:])]
        gap = max(later - earlier for earlier, later in pairwise(moments))
        recoveries[role].append((gap, time.monotonic() - started))
    return recoveries, models


def report(home: Home, load: Load, recoveries: Recoveries, models: list[DeployedModel]) -> bool:
    """Print what came of it; returns whether every guarantee held."""
    for role, both in sorted(recoveries.items()):
        gap, whole = max(seconds for seconds, _ in both), statistics.median(seconds for _, seconds in both)
        print(f"{role:28} killed {len(both):4} times; no answer for {gap:.2f} s at worst,", end=" ")
        print(f"every process back after {whole:.1f} s (median), {max(seconds for _, seconds in both):.1f} s at worst")
    found, balance = account(load, home.layout), conservation(home.layout, home.challenger)
    foreign = foreign_answers(load, home.layout, models)
    refused = {status: n for status, n in load.statuses.items() if status != 200}
    print(f"promotions {len(models) - 1}, requests acknowledged {found.acknowledged}, refused {refused or 0}")
    print(f"requests cut off by a kill and repeated {len(load.unreachable)}")
    print(f"acknowledged and lost {len(found.lost)}, logged twice {len(found.doubled)}")
    print(f"answers of another model than they name {len(foreign)}")
    print(f"sent to the challenger {balance.sent} = {dict(balance.outcomes)}, waiting {len(balance.waiting)}")
    print(f"compared twice {len(balance.doubled)}, compared without being sent {len(balance.unsent)}")
    is_conserved = balance.is_complete and balance.is_sound and balance.sent == balance.outcomes.total()
    return not (found.lost or found.doubled or foreign or refused) and is_conserved


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_home(Path(folder), options.workers) as home:
        home.wait_whole()
        load = Load(home.service.url)
        with load.running():
            recoveries, models = torment(home, load, Random(options.seed), options.minutes * 60)
        home.catch_up()
        is_sound = report(home, load, recoveries, models)
    print("every guarantee held" if is_sound else "A GUARANTEE DID NOT HOLD")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
