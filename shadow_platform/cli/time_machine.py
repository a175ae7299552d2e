"""``shadow simulate``: plays months of a use case on a simulated clock and says what each policy would have brought.

Upstream: the command line. Downstream: ``shadow_platform.time_machine``, imported when the command runs.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shadow_platform.cli.options import UseCaseOption
from shadow_platform.cli.simulating import (
    DriftOption,
    EntitiesOption,
    SeedOption,
    Shape,
    ShapeOption,
    SizeOption,
    require_drift,
)

if TYPE_CHECKING:
    from shadow_platform.contracts.use_case import UseCase
    from shadow_platform.time_machine import Journey, Trip

# Enough for the models to learn from, and few enough that half a year takes minutes.
ENTITIES_SHARE = 0.2


def simulate(
    context: typer.Context,
    use_case: UseCaseOption,
    policy: Annotated[str, typer.Option(help="never, newest, monthly, naive or ours.")] = "ours",
    days: Annotated[int, typer.Option(help="Days with answers.", min=1)] = 180,
    start: Annotated[
        datetime | None,
        typer.Option(help="First day with answers; default: four weeks before the demo's.", formats=["%Y-%m-%d"]),
    ] = None,
    step: Annotated[int, typer.Option(help="Days between two looks.", min=1)] = 7,
    model: Annotated[str | None, typer.Option(help="Family of every model; default: the first one's.")] = None,
    drift: DriftOption = None,
    drift_start: Annotated[
        datetime | None, typer.Option(help="First day it is felt; default: of the demo.", formats=["%Y-%m-%d"])
    ] = None,
    drift_size: SizeOption = 0.5,
    drift_shape: ShapeOption = Shape.SUDDEN,
    drift_days: Annotated[int, typer.Option(help="Length of a gradual ramp or of a season.", min=1)] = 30,
    entities: EntitiesOption = None,
    seed: SeedOption = 0,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the story; default time_machine/USE_CASE/POLICY in SHADOW_HOME.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Replace the journey that the folder holds.")] = False,
) -> None:
    """Play a policy over months in minutes, through the platform's own assets. Run again, it continues."""
    from shadow_platform.cli.simulation import planned
    from shadow_platform.time_machine import plan_trip
    from shadow_platform.use_cases import load_use_case

    require_drift(context, drift)
    value = load_use_case(use_case)
    plan = None
    if value.simulation is not None or drift is not None or entities is not None or seed:
        size = entities or _usual_entities(value)
        plan = planned(value, drift, drift_start, drift_size, drift_shape, drift_days, size, seed)
    first = start.date() if start else None
    trip = plan_trip(value, policy, plan, first, days, step, model)
    _play(trip, output, anew=anew)


def _usual_entities(use_case: "UseCase") -> int | None:
    default = use_case.simulation and use_case.simulation.default.n_entities
    return max(1, round(default * ENTITIES_SHARE)) if default else None


def _play(trip: "Trip", output: Path | None, *, anew: bool) -> None:
    import os

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from shadow_platform.settings import load_settings
    from shadow_platform.time_machine import Journey

    base = load_settings().layout.time_machine(trip.use_case.name)
    folder = _ready((output or base / trip.policy.name).resolve(), anew=anew)
    console = Console()
    columns = (TextColumn("{task.description:<34}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeElapsedColumn())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("landing the world", total=trip.n_days, day=str(trip.start))

        def report(what: str, day: date) -> None:
            done = max(0, (day - trip.start).days)
            progress.update(task, description=what, completed=done, day=str(day))

        journey = Journey(trip, folder, base / "worlds", report)
        began = time.perf_counter()
        # In a thread of its own, because Dagster takes Ctrl-C in the main one for a failure of the asset under way.
        with ThreadPoolExecutor(1) as pool:
            playing = pool.submit(journey.play)
            while not playing.done():
                try:
                    playing.exception()
                except KeyboardInterrupt:
                    journey.stop()
                    console.print("stopping after the step under way")
    summary = playing.result()
    if summary:
        _show(console, journey, summary, time.perf_counter() - began)
    if journey.days_played < trip.n_days:
        console.print(f"played {journey.days_played} of {trip.n_days} days; run the same command again to go on")
        raise typer.Exit(130)


def _ready(folder: Path, *, anew: bool) -> Path:
    """The folder of a journey, made if it is not there; what is no journey is not touched."""
    import shutil

    from shadow_platform.contracts.errors import ShadowPlatformError

    if folder.exists() and any(folder.iterdir()) and not (folder / "trip.json").exists():
        raise ShadowPlatformError(f"{folder} holds something else; choose an empty folder for --output")
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _show(console: Any, journey: "Journey", summary: dict[str, Any], seconds: float) -> None:
    from rich.table import Table

    trip = journey.trip
    table = Table("what", "value", title=f"{trip.use_case.name}, policy {trip.policy.name}: {trip.policy.summary}")
    for name in ("n_answers", "log_loss", "best_log_loss", "roc_auc", "n_retrainings", "n_promotions", "n_rollbacks"):
        value = summary[name]
        told = "not defined" if value is None else f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
        table.add_row(name.removeprefix("n_").replace("_", " "), told)
    table.add_row("champions in turn", ", ".join(summary["champions"]))
    console.print(table)
    console.print(
        f"{journey.days_played} days are played; this call took {seconds:.0f} s, {journey.days_per_second:.2f} days a "
        "second; " + ", ".join(f"{what} {spent:.0f} s" for what, spent in journey.seconds.items())
    )
    console.print(f"{journey.folder / 'timeline.png'}, timeline.html, timeline.csv, performance.csv, summary.json")
