"""The world of a trip: its events and features, landed once and shared by every policy that is played in it.

Upstream: the use case's simulator or source. Downstream: homes of journeys, which share its files by hard links.
"""

import os
import shutil
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

from shadow_platform.contracts.layout import Layout
from shadow_platform.time_machine.platform import SimulatedPlatform
from shadow_platform.time_machine.runs import Runs
from shadow_platform.time_machine.trip import Trip

DAY = timedelta(days=1)
LANDED = "landed"
SHARED = ("lake",)


def landed(trip: Trip, folder: Path) -> Path:
    """Home with the events and features of the trip's days; made if it is not there yet."""
    use_case, home = trip.use_case, folder / trip.world
    write_plan(trip, Layout(home))
    platform = SimulatedPlatform(shadow_home=str(home))
    due = _due(trip, platform)
    if due is not None:
        assets = ["raw_events", "events", "quarantined_events", *(view.name for view in use_case.views)]
        with closing(Runs(use_case, {"land": assets})) as runs:
            runs.must_run("land", platform, (due, trip.end - DAY))
        shutil.rmtree(home / "raw", ignore_errors=True)
        (home / LANDED).write_text(trip.end.isoformat())
    return home


def _due(trip: Trip, platform: SimulatedPlatform) -> date | None:
    """First day that is not landed; ``None``: all are."""
    noted = platform.layout.home / LANDED
    until = date.fromisoformat(noted.read_text()) if noted.exists() else trip.first_event_day
    return until if until < trip.end else None


def write_plan(trip: Trip, layout: Layout) -> None:
    """Let a home play the trip's plan."""
    path = layout.simulation(trip.use_case.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if trip.plan is not None:
        path.write_text(trip.plan.model_dump_json(indent=2))


def share(world: Path, home: Path) -> None:
    """Give a home the files of a world. They are replaced whole, never changed in place, so links are enough."""
    for name in SHARED:
        shutil.copytree(world / name, home / name, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> str:
    if Path(target).exists():
        return target
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
