"""``shadow a-a``: let a model shadow itself, see what came of it, accept a difference that is understood.

Upstream: ``resources.a_a``. Downstream: people. A run by hand counts for the gate like one of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from shadow_platform.cli.options import ByOption, ReasonOption, UseCaseOption
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.verdicts import Outcome

EXIT_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INSUFFICIENT: 2}
COLUMNS = ("run", "at", "trigger", "version", "compared", "failed", "differing", "flips", "max difference", "outcome")

a_a_app = typer.Typer(
    help="A/A: does the champion in the shadow give its own answers? No challenger counts before it does.",
    no_args_is_help=True,
)


@a_a_app.command()
def run(
    use_case: UseCaseOption,
    requests: Annotated[int, typer.Option(help="Newest answers of the champion that are asked again.", min=1)] = 1000,
) -> None:
    """Let the champion shadow itself. Exit 0: it passes; 1: an answer differs or fails; 2: too few answers."""
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.manifest(found)
    if manifest is None:
        raise NoChampion(found.name, platform.layout.manifest(found.name))
    row = platform.run_a_a(found, manifest.champion.version, manifest.champion.bundle_hash, requests)
    _print([row])
    typer.echo(f"{row['outcome']}: {row['reason']}")
    raise typer.Exit(EXIT_CODES[Outcome(row["outcome"])])


@a_a_app.command("list")
def list_runs(
    use_case: UseCaseOption,
    limit: Annotated[int, typer.Option(help="Newest runs shown.", min=1)] = 20,
) -> None:
    """Runs so far, newest last, with the reason of each that did not pass or was explained."""
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    rows = PlatformResource().a_a_runs(load_use_case(use_case)).tail(limit).to_dict(orient="records")
    _print({str(name): value for name, value in row.items()} for row in rows)
    for row in rows:
        if row["outcome"] != Outcome.PASS or row["trigger"] == "explained":
            typer.echo(f"{row['run_id'][:12]}: {row['reason']}")


@a_a_app.command()
def explain(
    run_id: Annotated[str, typer.Argument(help="Failed run, or the beginning of its id.")],
    reason: ReasonOption,
    use_case: UseCaseOption,
    by: ByOption = None,
) -> None:
    """Accept a failed run whose differences are understood: challengers of this champion count from now on."""
    from shadow_platform.cli.persons import named_person
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    row = PlatformResource().explain_a_a(load_use_case(use_case), run_id, reason, named_person(by))
    typer.echo(f"{row['outcome']}: {row['reason']}")


def _print(rows: Iterable[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["run_id"][:12],
        f"{row['ran_at']:%Y-%m-%d %H:%M:%S}",
        row["trigger"],
        row["version"],
        str(row["n"]),
        str(row["n_failed"]),
        str(row["n_differing"]),
        str(row["n_flips"]),
        f"{row['max_difference']:.3g}" if row["n"] else "",
        row["outcome"],
    ]
