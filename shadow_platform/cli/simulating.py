"""Commands and options about the simulated world that a home plays.

Upstream: the command line. Downstream: ``cli.simulation``, imported by the command that needs it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from shadow_platform.cli.options import UseCaseOption
from shadow_platform.contracts.errors import ShadowPlatformError

simulation_app = typer.Typer(
    help="The simulated world a home plays: how large it is, and which drift happens when.", no_args_is_help=True
)


class DriftChoice(StrEnum):
    """Kinds of drift, and none."""

    NONE = "none"
    COVARIATE = "covariate"
    LABEL = "label"
    CONCEPT = "concept"
    QUALITY = "quality"


class Shape(StrEnum):
    """How a drift comes."""

    SUDDEN = "sudden"
    GRADUAL = "gradual"
    SEASONAL = "seasonal"


EntitiesOption = Annotated[
    int | None, typer.Option("--entities", help="Size of the world: customers, users, applicants.", min=1)
]
DriftOption = Annotated[
    DriftChoice | None, typer.Option(help="What changes in the world; left out: the use case's own story.")
]
StartOption = Annotated[
    datetime | None, typer.Option("--drift-start", help="First day it is felt.", formats=["%Y-%m-%d"])
]
SizeOption = Annotated[float, typer.Option("--drift-size", help="Strength at its height, above 0 to 1.")]
ShapeOption = Annotated[Shape, typer.Option("--drift-shape", help="How it comes.")]
DurationOption = Annotated[int, typer.Option("--drift-days", help="Length of a gradual ramp or of a season.", min=1)]
SeedOption = Annotated[int, typer.Option(help="Another seed is another world with the same laws.", min=0)]


def require_drift(context: typer.Context, drift: DriftChoice | None) -> None:
    """Raise ``ShadowPlatformError`` for an option of a drift that is not asked for: it would change nothing."""
    if drift not in (None, DriftChoice.NONE):
        return
    for parameter in context.command.params:
        source, option = context.get_parameter_source(parameter.name or ""), parameter.opts[0]
        if option.startswith("--drift-") and source is not None and source.name != "DEFAULT":
            kinds = ", ".join(choice for choice in DriftChoice if choice is not DriftChoice.NONE)
            raise ShadowPlatformError(f"{option} needs --drift, the kind of drift: {kinds}")


@simulation_app.command("show")
def show(use_case: UseCaseOption) -> None:
    """The plan in force, and what each kind of drift would change."""
    from shadow_platform.cli.simulation import show_plan
    from shadow_platform.use_cases import load_use_case

    show_plan(load_use_case(use_case))


@simulation_app.command("set")
def set_plan(
    context: typer.Context,
    use_case: UseCaseOption,
    drift: DriftOption = None,
    start: StartOption = None,
    size: SizeOption = 0.5,
    shape: ShapeOption = Shape.SUDDEN,
    duration_days: DurationOption = 30,
    entities: EntitiesOption = None,
    seed: SeedOption = 0,
) -> None:
    """Choose size, seed and drift, before the events of those days are landed."""
    from shadow_platform.cli.simulation import choose, planned, show_plan
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    require_drift(context, drift)
    value = load_use_case(use_case)
    choose(PlatformResource(), value, planned(value, drift, start, size, shape, duration_days, entities, seed))
    show_plan(value)
