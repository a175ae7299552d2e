"""``shadow retrain``: a training that a person asks for.

Upstream: options. Downstream: ``trainings``, which the command alone imports: ``shadow --help`` answers at once.
"""

from typing import Annotated, Literal

import typer

from shadow_platform.cli.options import UseCaseOption


def retrain(
    use_case: UseCaseOption,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Train whatever the drift verdict says, cooldown and budget or not; not while a training runs.",
        ),
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Whether promotion may act on the gate's decision on it.")
    ] = True,
    drift_threshold: Annotated[
        float | None,
        typer.Option(
            help="Share of drifted features that asks for a training. Default: the drift verdict's limit.", min=0, max=1
        ),
    ] = None,
    environment: Annotated[
        Literal["development", "staging", "production"],
        typer.Option(help="Whose approval rule its rollout must satisfy, beside that of ENVIRONMENT."),
    ] = "staging",
    as_of: Annotated[
        str | None, typer.Option(help="ISO 8601 time; nothing known later is used. Default: the end of the events.")
    ] = None,
) -> None:
    """Train a new challenger if the newest drift verdict asks for it. Exit 0: trained, 1: nothing to do, with why."""
    from shadow_platform.cli.trainings import Wish, start_retraining

    raise typer.Exit(start_retraining(use_case, Wish(force, promote, drift_threshold, environment, as_of)))
