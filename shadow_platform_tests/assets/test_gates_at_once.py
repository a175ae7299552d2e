"""Gates of several processes take turns: a sequence is continued, and no ordinal of a family is given twice."""

from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from shadow_platform.assets.gates.sequences import known_sequences
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.verdicts import Decision
from shadow_platform_tests.assets.gate_home import USE_CASE, decide, served_home, stored
from shadow_platform_tests.assets.served import Home
from shadow_platform_tests.forked import FORKSERVER, TIMEOUT_S, ended, started

WAIT_S = TIMEOUT_S / 2
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("margins", "ordinals"), [((0.0, 0.0), [1]), ((0.0, 0.5), [1, 2])], ids=["one policy", "two policies"]
)
def test_gates_of_two_processes_continue_one_sequence_or_take_an_ordinal_each(
    layout: Layout, margins: tuple[float, float], ordinals: list[int]
) -> None:
    home, barrier = served_home(layout), FORKSERVER.Barrier(len(margins))
    bundles = [version.bundle_hash for version in home.platform.registry().versions(USE_CASE.name)]

    gates = [started(_decide, layout.home, bundles, margin, barrier) for margin in margins]

    assert [ended(gate) for gate in gates] == [0, 0]
    sequences = known_sequences(home.platform, USE_CASE)
    assert [sequence.ordinal for sequence in sequences] == ordinals
    assert {decision.sequence_id for decision in stored(home)} == {sequence.sequence_id for sequence in sequences}
    assert sum(decision.decision is Decision.PROMOTE for decision in stored(home)) == 1


def _decide(folder: Path, bundles: list[str], margin: float, barrier: Barrier) -> None:
    """A gate of a process of its own, which knows nothing of the home but its files and the registered bundles."""
    home = Home(Layout(folder))
    for bundle_hash in bundles:
        home.platform.registry().register(USE_CASE.name, home.layout.bundles / bundle_hash, "run", {})
    barrier.wait(WAIT_S)
    decide(home, replace(USE_CASE, gate=replace(USE_CASE.gate, margin=margin)))
