"""``shadow gate``: look at decisions, decide again from the same rows, hold promotions against labels as known now.

Upstream: ``assets.gates``, which decides and reviews. Downstream: people, auditors and continuous integration, by exit
codes. Modules are imported by the command that needs them.
"""

from typing import Annotated

import typer

from shadow_platform.cli.options import UseCaseOption

gate_app = typer.Typer(help="Decisions of the gate: what was decided and why, and again.", no_args_is_help=True)

DecisionArgument = Annotated[str, typer.Argument(help="Id of the decision, or its first digits.")]
LatestArgument = Annotated[str | None, typer.Argument(help="Id of the decision, or its first digits; default: latest.")]


@gate_app.command()
def show(
    use_case: UseCaseOption,
    decision: LatestArgument = None,
    every: Annotated[bool, typer.Option("--list", help="List the decisions instead, the latest last.")] = False,
) -> None:
    """Print a decision: its criteria with value, limit and n, in words, and where its page lies."""
    from shadow_platform.cli.gates.showing import list_decisions, show_decision

    list_decisions(use_case) if every else show_decision(use_case, decision)


@gate_app.command()
def replay(decision: DecisionArgument, use_case: UseCaseOption) -> None:
    """Decide again from the same rows, as of the same time. Exit 0: the same bytes, 1: others, 2: unknown decision."""
    from shadow_platform.cli.gates.again import replay_decision

    raise typer.Exit(replay_decision(use_case, decision))


@gate_app.command()
def review(
    use_case: UseCaseOption,
    days: Annotated[int, typer.Option(help="Changes of champion that are at most so old.", min=1)] = 90,
) -> None:
    """Hold the decisions behind recent promotions against labels as known now. Exit 1: one would be another now.

    2: no champion is deployed, or another error.
    """
    from shadow_platform.cli.gates.again import review_decisions

    raise typer.Exit(review_decisions(use_case, days))
