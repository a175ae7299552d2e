"""SIGKILL at every step of every change of the deployment: what a repair by a fresh process leaves.

The registry is MLflow on SQLite, the files are real; each kill begins on a home of its own. Upstream:
shadow_platform_tests.chaos.rollout_kills, which the quick test of the same guarantee samples. Downstream:
docs/benchmarks.md.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from benchmarks.drift.tables import Table
from shadow_platform_tests.chaos.changes import CHANGES
from shadow_platform_tests.chaos.rollout_kills import Kill, KillingGround

HEADER = ("change", "kills", "as before", "carried out", "split states", "rows lost", "rows told twice")


def measure(scale: float = 1.0) -> Iterator[Table]:
    """Kill every change at every step; at every tenth when the scale is .1."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    table = Table("Kills at every step of promotion, rollback and canary", HEADER)
    everything: list[Kill] = []
    with tempfile.TemporaryDirectory() as folder:
        ground = KillingGround(Path(folder)).make()
        for change in CHANGES:
            found = list(ground.kills(change, stride=max(1, round(1 / scale))))
            everything += found
            _add(table, change.name, found)
    _add(table, "all", everything)
    yield table.end(
        "A split state: registry, manifest, bundles or audit log disagree, an intent is left, or a second repair "
        "changes something. Files that dead processes left beside the manifest: "
        f"{sum(kill.n_left for kill in everything)}, read by nobody. A row told twice has one id, and is one row to "
        "every reader."
    )


def _add(table: Table, name: str, kills: list[Kill]) -> None:
    n_done = sum(kill.is_done for kill in kills)
    n_split, n_lost = sum(bool(kill.split) for kill in kills), sum(len(kill.lost) for kill in kills)
    n_doubled = sum(kill.n_doubled for kill in kills)
    figures = {"kills": len(kills), "done": n_done, "split": n_split, "lost": n_lost, "doubled": n_doubled}
    cells = [name, *(f"{n:,}" for n in (len(kills), len(kills) - n_done, n_done, n_split, n_lost, n_doubled))]
    table.add(cells, figures)
    for kill in kills:
        if (kill.split or kill.lost) and name != "all":
            print(f"    {name}, {kill.step}: {'; '.join((*kill.split, *kill.lost))}")
