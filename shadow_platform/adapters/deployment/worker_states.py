"""What every serving worker says it answers with: one small file a worker, written by itself.

Belongs here: those files, and which of them belong to live workers. Does not belong here: what a worker loads
(``bento.answering.models``). The files are signs of life, not records: replaced atomically, but not synced to the
device. Upstream: serving workers. Downstream: ``GET /model``, the command line, which waits until a promotion is in
service.
"""

import math
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import psutil
from pydantic import ValidationError

from shadow_platform.contracts.deployment import WorkerState
from shadow_platform.contracts.layout import Layout

STALE_AFTER_S = 10.0
"""A worker writes every second; one that was silent for this long hangs, loads, or is gone and its id another's."""


def write_worker_state(layout: Layout, use_case: str, state: WorkerState) -> None:
    """Replace the worker's file; raises ``OSError``."""
    folder = layout.worker_states(use_case)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{state.pid}"
    beside.write_bytes(state.model_dump_json().encode())
    beside.replace(folder / f"{state.pid}.json")


def remove_worker_state(layout: Layout, use_case: str, pid: int) -> None:
    """Remove the worker's file, if there is one."""
    (layout.worker_states(use_case) / f"{pid}.json").unlink(missing_ok=True)


def live_workers(layout: Layout, use_case: str, now: datetime) -> list[WorkerState]:
    """What the live workers of this machine said last, by process id."""
    found = [_read(path) for path in _files(layout, use_case)]
    return sorted((state for state in found if state and is_live(state, now)), key=lambda state: state.pid)


def is_converged(workers: Sequence[WorkerState], generation: int) -> bool:
    """Whether every one of them has loaded this generation, or a later one; true when there is none."""
    return all(state.generation is not None and state.generation >= generation for state in workers)


def converged(layout: Layout, use_case: str, generation: int, now: datetime) -> bool:
    """Whether every live worker answers from this generation, or a later one; true when none is live."""
    return is_converged(live_workers(layout, use_case, now), generation)


def refusing(workers: Sequence[WorkerState], generation: int, versions: Collection[str]) -> list[WorkerState]:
    """Those that refuse one of these versions in this generation, or in a later one.

    What was refused before says nothing of this generation, and a worker may refuse a canary and follow the champion.
    """
    return [
        state
        for state in workers
        if state.refused_generation is not None
        and state.refused_generation >= generation
        and state.refused_version in versions
    ]


def remove_dead_workers(layout: Layout, use_case: str) -> None:
    """Remove the files of processes that ended without removing their own."""
    for path in _files(layout, use_case):
        if path.stem.isdigit() and not is_running(int(path.stem)):
            path.unlink(missing_ok=True)


def is_live(state: WorkerState, now: datetime) -> bool:
    """Whether the process exists; one that fell silent must be the one that spoke, and answers as it said last."""
    is_silent = (now - state.seen_at).total_seconds() > STALE_AFTER_S
    return is_running(state.pid) and not (is_silent and _started_at(state.pid) > state.seen_at.timestamp())


def _files(layout: Layout, use_case: str) -> list[Path]:
    return sorted(layout.worker_states(use_case).glob("[0-9]*.json"))


def _read(path: Path) -> WorkerState | None:
    try:
        return WorkerState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; one that ended and was not waited for yet has."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _started_at(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return math.inf
