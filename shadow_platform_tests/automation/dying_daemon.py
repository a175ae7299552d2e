"""The Dagster daemon, that kills itself and its children at a named point: ``python -m ... POINT MODULE``.

Points are where a run can be lost: ``reserved`` (its id is noted, no record of it yet), ``created`` (recorded, not
submitted), ``submitted`` (queued), ``launching`` (taken from the queue, no process yet), ``never``.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher
from dagster._daemon.cli import main

POINTS: dict[str, tuple[type, str, bool]] = {
    "reserved": (dg.DagsterInstance, "create_run", False),
    "created": (dg.DagsterInstance, "submit_run", False),
    "submitted": (dg.DagsterInstance, "submit_run", True),
    "launching": (DefaultRunLauncher, "launch_run", False),
}


def _die(*_: Any, **__: Any) -> Any:
    os.killpg(0, signal.SIGKILL)


def _die_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        return _die()

    return call


if __name__ == "__main__":
    point, module = sys.argv[1:]
    if point in POINTS:
        owner, name, is_after = POINTS[point]
        setattr(owner, name, _die_after(getattr(owner, name)) if is_after else _die)
    sys.argv = ["dagster-daemon", "run", "-m", module]
    main()
