"""Which workers count as live, and when all of them answer from one generation."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from shadow_platform.adapters.deployment.worker_states import (
    STALE_AFTER_S,
    converged,
    live_workers,
    refusing,
    remove_dead_workers,
    remove_worker_state,
    write_worker_state,
)
from shadow_platform.contracts.deployment import WorkerState
from shadow_platform.contracts.layout import Layout

NOW = datetime(2024, 1, 1, tzinfo=UTC)
OWN, OTHER = os.getpid(), os.getppid()


def told(pid: int, generation: int | None = 1, age_s: float = 0.0) -> WorkerState:
    return WorkerState(
        pid=pid,
        generation=generation,
        champion_version="1",
        canary_version=None,
        refusal=None,
        loaded_at=NOW,
        seen_at=NOW - timedelta(seconds=age_s),
    )


@pytest.mark.parametrize(
    ("refused", "counts"),
    [((6, "2"), True), ((7, "2"), True), ((5, "2"), False), ((6, "3"), False), ((None, None), False)],
)
def test_a_refusal_counts_for_its_own_generation_and_model(
    refused: tuple[int | None, str | None], counts: bool
) -> None:
    changes = {"refusal": "torn", "refused_generation": refused[0], "refused_version": refused[1]}
    state = told(OWN, generation=5).model_copy(update=changes)
    assert refusing([state, told(OTHER)], 6, {"1", "2"}) == [state] * counts


@pytest.mark.parametrize(
    "change",
    [lambda said: said | {"of_a_later_version": 1}, lambda said: {k: v for k, v in said.items() if "refused" not in k}],
    ids=["later", "earlier"],
)
def test_what_a_worker_of_another_version_of_the_platform_says_is_read(
    layout: Layout, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    write_worker_state(layout, "shop", told(OWN))
    path = layout.worker_states("shop") / f"{OWN}.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert live_workers(layout, "shop", NOW) == [told(OWN)]


def live(layout: Layout) -> list[int]:
    return [state.pid for state in live_workers(layout, "shop", NOW)]


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that ended and was not waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    yield process.pid
    process.wait()


def test_what_a_worker_says_is_read_as_it_was_said_until_it_takes_it_back(layout: Layout) -> None:
    write_worker_state(layout, "shop", told(OWN))
    write_worker_state(layout, "shop", told(OWN, generation=2))
    write_worker_state(layout, "other", told(OTHER))
    assert live_workers(layout, "shop", NOW) == [told(OWN, generation=2)]
    remove_worker_state(layout, "shop", OWN)
    remove_worker_state(layout, "shop", OWN)
    assert live_workers(layout, "shop", NOW) == []


def test_a_worker_that_ended_is_not_live_nor_a_silent_one_whose_process_id_is_another_s(
    layout: Layout, zombie: int
) -> None:
    write_worker_state(layout, "shop", told(OWN, age_s=STALE_AFTER_S - 1))
    write_worker_state(layout, "shop", told(OTHER, age_s=STALE_AFTER_S + 1))
    write_worker_state(layout, "shop", told(zombie))
    assert live(layout) == [OWN]
    remove_dead_workers(layout, "shop")
    assert {path.stem for path in layout.worker_states("shop").iterdir()} == {str(OWN), str(OTHER)}


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": 1}', b"\xff"])
def test_a_file_that_cannot_be_read_is_nobody_s(layout: Layout, content: bytes) -> None:
    write_worker_state(layout, "shop", told(OWN))
    (layout.worker_states("shop") / f"{OTHER}.json").write_bytes(content)
    assert live(layout) == [OWN]


def test_workers_have_converged_when_every_live_one_has_the_generation_or_a_later_one(layout: Layout) -> None:
    assert converged(layout, "shop", 7, NOW), "nobody is left behind where nobody is"
    write_worker_state(layout, "shop", told(OWN, generation=7))
    write_worker_state(layout, "shop", told(OTHER, generation=8))
    assert converged(layout, "shop", 7, NOW)
    assert not converged(layout, "shop", 8, NOW)
    write_worker_state(layout, "shop", told(OTHER, generation=None))
    assert not converged(layout, "shop", 7, NOW)
    write_worker_state(layout, "shop", told(OTHER, generation=None, age_s=STALE_AFTER_S + 1))
    assert converged(layout, "shop", 7, NOW)


def test_a_worker_that_is_silent_and_runs_holds_convergence_up_until_it_ends(layout: Layout) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as hanging:
        said_at = datetime.now(UTC)
        write_worker_state(layout, "shop", told(hanging.pid, generation=6).model_copy(update={"seen_at": said_at}))
        later = said_at + timedelta(hours=1)
        assert converged(layout, "shop", 6, later)
        assert not converged(layout, "shop", 7, later)
        hanging.kill()
    assert converged(layout, "shop", 7, later)
