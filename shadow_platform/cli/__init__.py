"""The ``shadow`` command: one file a command group; each command asks the same code that assets and services use.

Upstream: every room. Downstream: people and cron. Any error ends with 2, for 1 has a meaning of its own; an expected
one is one clear line. Modules are imported by the command that needs them, so that ``shadow --help`` answers at once.
"""

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shadow_platform.cli.a_a import a_a_app
from shadow_platform.cli.alerts import alerts_app
from shadow_platform.cli.backup import backup, restore
from shadow_platform.cli.data import data_app
from shadow_platform.cli.drift import drift
from shadow_platform.cli.gates import gate_app
from shadow_platform.cli.labels import labels_app
from shadow_platform.cli.log import log_app
from shadow_platform.cli.metrics import metrics
from shadow_platform.cli.migrating import migrate
from shadow_platform.cli.models import models_app
from shadow_platform.cli.new_use_case import new_use_case
from shadow_platform.cli.options import (
    ByOption,
    ReasonOption,
    RowFormat,
    RowFormatOption,
    ShareOption,
    SoleUseCaseOption,
    UseCaseOption,
    WaitOption,
    require_period,
)
from shadow_platform.cli.promoting import promote, rollout_app
from shadow_platform.cli.reports import reports
from shadow_platform.cli.retraining import retrain
from shadow_platform.cli.shadowing import challengers_app, replay
from shadow_platform.cli.simulating import (
    DriftOption,
    DurationOption,
    EntitiesOption,
    SeedOption,
    Shape,
    ShapeOption,
    SizeOption,
    StartOption,
    require_drift,
    simulation_app,
)
from shadow_platform.cli.streaming import produce, stream
from shadow_platform.cli.time_machine import simulate
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.telemetry.quiet import quiet

if TYPE_CHECKING:
    from shadow_platform.contracts.simulation import SimulationPlan
    from shadow_platform.contracts.use_case import UseCase

typer_app = typer.Typer(
    name="shadow",
    help="Replace tabular models in production safely: shadow, compare, decide on evidence, promote, roll back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
canary_app = typer.Typer(
    help="A challenger that answers a share of subjects, and is taken back by itself when it is slow or fails.",
    no_args_is_help=True,
)
typer_app.add_typer(models_app, name="models")
typer_app.add_typer(data_app, name="data")
typer_app.add_typer(canary_app, name="canary")
typer_app.add_typer(challengers_app, name="challengers")
typer_app.add_typer(rollout_app, name="rollout")
typer_app.add_typer(a_a_app, name="a-a")
typer_app.add_typer(gate_app, name="gate")
typer_app.add_typer(labels_app, name="labels")
typer_app.add_typer(log_app, name="log")
typer_app.add_typer(alerts_app, name="alerts")
typer_app.add_typer(simulation_app, name="simulation")
typer_app.command()(replay)
typer_app.command()(migrate)
typer_app.command()(metrics)
typer_app.command()(promote)
typer_app.command()(retrain)
typer_app.command()(new_use_case)
typer_app.command()(drift)
typer_app.command()(reports)
typer_app.command()(produce)
typer_app.command()(stream)
typer_app.command()(simulate)
typer_app.command()(backup)
typer_app.command()(restore)


def app() -> None:
    """Run the command; exit code 2 for any error, on one line of stderr if it was expected, else with its traceback."""
    try:
        with quiet():
            typer_app()
        return
    except ShadowPlatformError as error:
        _say(error)
    except OSError as error:
        from shadow_platform.cli.system_errors import refused_by_system

        _say(ShadowPlatformError(refused_by_system(error)))
    except Exception:  # noqa: BLE001 - whatever it is: 1 would tell of many a command that it did its work
        sys.excepthook(*sys.exc_info())
    raise SystemExit(2)


def _say(error: ShadowPlatformError) -> None:
    from shadow_platform.telemetry.logs import fail

    fail(logging.getLogger("shadow_platform.process"), error, "shadow: ")


@typer_app.command()
def demo(
    context: typer.Context,
    use_case: UseCaseOption,
    home: Annotated[Path | None, typer.Option(help="Folder for everything it writes; default SHADOW_HOME.")] = None,
    drift: DriftOption = None,
    drift_start: StartOption = None,
    drift_size: SizeOption = 0.5,
    drift_shape: ShapeOption = Shape.SUDDEN,
    drift_days: DurationOption = 30,
    entities: EntitiesOption = None,
    seed: SeedOption = 0,
) -> None:
    """Play the whole loop on recorded or simulated traffic and say where to look. Run again, it continues."""
    from shadow_platform.cli.demo import run_demo
    from shadow_platform.cli.simulation import planned

    require_drift(context, drift)

    def chosen(value: "UseCase") -> "SimulationPlan | None":
        if drift is None and entities is None and not seed:
            return None
        return planned(value, drift, drift_start, drift_size, drift_shape, drift_days, entities, seed)

    run_demo(use_case, home, chosen)


@typer_app.command()
def serve(
    use_case: UseCaseOption,
    port: Annotated[
        int | None, typer.Option(help="Port of the HTTP API; default PORT or 8000.", min=1, max=65535)
    ] = None,
    workers: Annotated[int, typer.Option(help="Serving processes.", min=1)] = 1,
    shadow: Annotated[bool, typer.Option(help="Start the shadow worker as well.")] = True,
    guard: Annotated[bool, typer.Option(help="Start the guard of the service's objectives as well.")] = True,
) -> None:
    """Answer requests with the champion; score them with the challengers, and watch the objectives, beside it."""
    from shadow_platform.cli.service import serve_until_stopped

    serve_until_stopped(use_case, port, workers, shadow=shadow, guard=guard)


@typer_app.command()
def traffic(
    start: Annotated[datetime, typer.Option("--from", help="First request time (UTC).")],
    end: Annotated[datetime, typer.Option("--to", help="End of the requests (UTC, exclusive).")],
    use_case: UseCaseOption,
    url: Annotated[str, typer.Option(help="Where the service answers.")] = "http://127.0.0.1:8000",
    connections: Annotated[int, typer.Option(help="Requests in flight.", min=1)] = 16,
    advance: Annotated[
        bool, typer.Option("--advance/--no-advance", help="Bring the online store forward hour by hour.")
    ] = True,
) -> None:
    """Send recorded requests to the service, each as if on its own day."""
    from shadow_platform.cli.traffic import print_report, replay_traffic
    from shadow_platform.use_cases import load_use_case

    require_period(start, end)
    print_report(replay_traffic(load_use_case(use_case), start, end, url=url, connections=connections, advance=advance))


@typer_app.command()
def rollback(reason: ReasonOption, use_case: SoleUseCaseOption, wait: WaitOption = True, by: ByOption = None) -> None:
    """Put the previous champion back, with or without the registry; running services swap within seconds."""
    from shadow_platform.cli.models.changing import roll_back

    raise typer.Exit(roll_back(use_case, reason, wait, by))


@canary_app.command("start")
def canary_start(
    version: Annotated[str, typer.Argument(help="Registry version of a challenger in the shadow.")],
    use_case: SoleUseCaseOption,
    share: ShareOption = 0.05,
    reason: ReasonOption = "started by hand",
    wait: WaitOption = True,
    by: ByOption = None,
) -> None:
    """Let a challenger answer a share of subjects; each stays on its side as long as the rollout lasts."""
    from shadow_platform.cli.canary import start_canary

    raise typer.Exit(start_canary(use_case, version, share, reason, wait, by))


@canary_app.command("share")
def canary_share(
    share: Annotated[float, typer.Argument(help="Share of subjects it answers, above 0 and at most 1.")],
    use_case: SoleUseCaseOption,
    reason: ReasonOption = "changed by hand",
    wait: WaitOption = True,
    by: ByOption = None,
) -> None:
    """Give the canary more or fewer subjects; whoever was in stays in when the share rises."""
    from shadow_platform.cli.canary import change_share

    raise typer.Exit(change_share(use_case, share, reason, wait, by))


@canary_app.command("stop")
def canary_stop(
    reason: ReasonOption, use_case: SoleUseCaseOption, wait: WaitOption = True, by: ByOption = None
) -> None:
    """Take the canary back, with or without the registry: the champion answers everyone. Only `start` undoes it."""
    from shadow_platform.cli.canary import stop_canary

    raise typer.Exit(stop_canary(use_case, reason, wait, by))


@canary_app.command("status")
def canary_status(use_case: UseCaseOption) -> None:
    """How canary and champion did in the latest window, which verdict that is, and what is on probation."""
    from shadow_platform.cli.canary import show_status

    show_status(use_case)


@typer_app.command()
def sql(
    query: Annotated[str, typer.Argument(help="SQL over the tables of warehouse.duckdb.")],
    row_format: RowFormatOption = RowFormat.AUTO,
) -> None:
    """Query the warehouse; it may stay open while everything runs."""
    from shadow_platform.cli.inspect import run_sql

    run_sql(query, row_format)


@typer_app.command()
def doctor(use_case: UseCaseOption) -> None:
    """Check the set-up and say what to do about what is wrong."""
    from shadow_platform.cli.inspect import examine

    raise typer.Exit(examine(use_case))


@typer_app.command()
def ui(port: Annotated[int, typer.Option(help="Port of the Dagster UI.", min=1, max=65535)] = 3000) -> None:
    """Open the Dagster UI and daemon on this home folder (the daemon runs the sensors that are switched on)."""
    from shadow_platform.cli.service import run_dagster

    run_dagster(port)
