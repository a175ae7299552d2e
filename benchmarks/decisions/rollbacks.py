"""How long a bad champion goes on answering: from a rollback by hand, by the gate or by the guard to the last worker.

A real service with four workers under load, models registered in MLflow on SQLite. By hand means ``shadow rollback``,
its interpreter's start included; the gate's and the guard's time begins with their verdict. The last worker is seen
twice: by what every worker says it has loaded, and by the last answer of the bad version that a caller got. Upstream:
bento.serve, the command line, the promotion asset's own rollback. Downstream: docs/benchmarks.md, docs/runbook.md.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.drift.tables import Table
from bento.serve import free_port, running_service
from shadow_platform.adapters.deployment.worker_states import converged
from shadow_platform.assets.promotion.rolling import roll_back
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.bento.registered import GOOD, SLOW, RegisteredShop
from shadow_platform_tests.chaos.load import Load

N_WORKERS, N_CALLERS, N_REPEATS = 4, 4, 10
LIMIT_S = 5.0
POLL_S = 0.01
PATIENCE_S = 120.0
HEADER = ("rollback", "repeats", "last worker loaded it: median s", "max s", "last bad answer: median s", "max s")


@dataclass(frozen=True, slots=True)
class Spell:
    """Seconds from the verdict until every worker had loaded the old champion, and until the last bad answer."""

    loaded_s: float
    answered_s: float


class Rehearsal:
    """A service whose champion is bad again and again."""

    def __init__(self, home: RegisteredShop, url: str) -> None:
        self.home, self.url = home, url
        self.platform = PlatformResource(shadow_home=str(home.layout.home))
        bundle = home.layout.bundles / line_bundle(home.layout.bundles, slope=0.03)
        run_id = home.registry.get(shop.USE_CASE.name, GOOD).run_id
        self.other = home.registry.register(shop.USE_CASE.name, bundle, run_id, {}).version

    def repeat(self, bad: str, probation_s: float, roll_back: Callable[[int], float]) -> Spell:
        """Promote a bad version, let it be rolled back, and see when the last worker and caller were rid of it.

        Args:
            roll_back: by the generation in force; returns when the verdict was reached, on the monotonic clock.
        """
        load = Load(self.url, keeps_alive=False)
        with load.running(N_CALLERS):
            promoted = self.home.change("promote", version=bad, probation_s=probation_s)
            self._wait(promoted.generation)
            wait_until(lambda: bad in load.versions, "the bad version answers", PATIENCE_S)
            began = roll_back(promoted.generation)
            loaded = self._wait(promoted.generation + 1)
            load.more_answers(50)
        last = max(answer.answered_at for answer in load.answers if answer.version == bad)
        assert not load.refusals, load.refusals[:3]
        self.home.reconcile()
        return Spell(loaded - began, max(0.0, last - began))

    def by_hand(self, _: int) -> float:
        """``shadow rollback``, begun and not waited for; it finds no product of this name to reconcile afterwards."""
        environment = os.environ | {"SHADOW_HOME": str(self.home.layout.home)}
        command = [
            str(Path(sys.executable).with_name("shadow")),
            "rollback",
            "-u",
            shop.USE_CASE.name,
            "--reason",
            "rehearsed",
        ]
        began = time.monotonic()
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return began

    def by_hand_started(self, generation: int) -> float:
        """The same, from its audit row on: without the start of an interpreter, which needs a core that load has."""
        self.by_hand(generation)
        return self.by_guard(generation)

    def by_gate(self, generation: int) -> float:
        """What the promotion asset does on a watch's decision that the champion before was better."""
        began = time.monotonic()
        roll_back(self.platform, shop.USE_CASE, generation, "the champion before was better", "rehearsed")
        return began

    def by_guard(self, generation: int) -> float:
        """The guard's verdict on the slow champion, as its audit row dates it."""
        wait_until(lambda: self.home.manifest.generation > generation, "it is rolled back", PATIENCE_S)
        return time.monotonic() - (datetime.now(UTC) - self.home.manifest.written_at).total_seconds()

    def _wait(self, generation: int) -> float:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            now = datetime.now(UTC)
            is_there = self.home.manifest.generation >= generation
            if is_there and converged(self.home.layout, shop.USE_CASE.name, generation, now):
                return time.monotonic()
            time.sleep(POLL_S)
        raise AssertionError(f"not every worker loaded generation {generation} within {PATIENCE_S:g} s")


def measure(scale: float = 1.0) -> Iterator[Table]:
    """Ten rollbacks of each kind; fewer below scale 1."""
    warnings.simplefilter("ignore")
    n = max(1, round(N_REPEATS * scale))
    table = Table(f"Seconds to the last of {N_WORKERS} workers under load", HEADER)
    with tempfile.TemporaryDirectory() as folder:
        home = RegisteredShop(Path(folder))
        with running_service(home.settings, shop.NAME, free_port(), workers=N_WORKERS, shadow=False) as service:
            rehearsal = Rehearsal(home, service.url)
            kinds = {
                "by hand, from Enter": (rehearsal.other, 0.0, rehearsal.by_hand),
                "by hand, from its audit row": (rehearsal.other, 0.0, rehearsal.by_hand_started),
                "by the gate's watch": (rehearsal.other, 0.0, rehearsal.by_gate),
                "by the guard": (SLOW, 600.0, rehearsal.by_guard),
            }
            for name, (bad, probation_s, act) in kinds.items():
                _add(table, name, [rehearsal.repeat(bad, probation_s, act) for _ in range(n)])
    yield table.end(f"Promised: {LIMIT_S:g} s. {N_CALLERS} callers, a new connection for every request.")


def _add(table: Table, name: str, spells: list[Spell]) -> None:
    loaded, answered = [spell.loaded_s for spell in spells], [spell.answered_s for spell in spells]
    figures = {
        "median_s": statistics.median(loaded),
        "max_s": max(loaded),
        "answered_median_s": statistics.median(answered),
        "answered_max_s": max(answered),
    }
    table.add((name, str(len(spells)), *(f"{value:.2f}" for value in figures.values())), figures)
