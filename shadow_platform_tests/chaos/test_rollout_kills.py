"""What is left when any change of the deployment dies by SIGKILL anywhere: one state, and every audit row of it.

A sample of what ``python -m benchmarks.decisions --part kills`` does at every step.
"""

import logging
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from shadow_platform_tests.chaos.changes import CHANGES
from shadow_platform_tests.chaos.rollout_kills import KillingGround
from shadow_platform_tests.forked import FORKSERVER, ended, started

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

SAMPLE = {
    "promote the canary": 11,
    "rollback": 13,
    "emergency_rollback": 9,
    "remove_challenger": 14,
    "rollout to champion, watched": 37,
}
"""How many steps apart each is killed; everything else is left to the benchmark."""


def _kill(folder: Path, outcomes: "Queue[tuple[int, list[str]]]") -> None:
    """Put out for each change of the sample how often it was killed, and what was wrong afterwards."""
    logging.disable(logging.INFO)
    ground = KillingGround(folder).make()
    for change in CHANGES:
        if change.name in SAMPLE:
            found = list(ground.kills(change, SAMPLE[change.name], first=3))
            wrong = [kill for kill in found if kill.split or kill.lost]
            outcomes.put((len(found), [f"{change.name}, {kill.step}: {kill.split}, {kill.lost}" for kill in wrong]))


def test_a_change_killed_anywhere_leaves_one_state_and_every_audit_row_of_it(tmp_path: Path) -> None:
    outcomes: Queue[tuple[int, list[str]]] = FORKSERVER.Queue()
    process = started(_kill, tmp_path / "ground", outcomes)
    found = [outcomes.get(timeout=600) for _ in SAMPLE]
    assert ended(process) == 0
    assert [wrong for _, wrongs in found for wrong in wrongs] == []
    assert min(n for n, _ in found) > 3
