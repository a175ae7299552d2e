"""``shadow models``: find versions, look at one, put two side by side, follow one back to its data.

Belongs here: the commands and what their help teaches. Does not belong here: what they do: each command imports its own
module, so that ``shadow --help`` answers at once. Upstream: registry, bundles, tables. Downstream: people.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shadow_platform.cli.options import SoleUseCaseOption, UseCaseOption

models_app = typer.Typer(
    help="Versions in the registry: where they come from, how good they are, how they came to serve.",
    no_args_is_help=True,
)

VERSION_HELP = "Number, or an alias that points to one: champion, challenger (challenger-2, -3), canary, previous."
VersionArgument = Annotated[str, typer.Argument(help=VERSION_HELP)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LimitOption = Annotated[int, typer.Option(help="At most so many.", min=1)]
ArchivedOption = Annotated[
    bool, typer.Option("--archived", help="Add training runs that did not become a version, with the reason.")
]


@models_app.command("list")
def models_list(
    use_case: UseCaseOption,
    limit: LimitOption = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    archived: ArchivedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Versions, newest first, with their aliases and metrics.

    For example: shadow models list --limit 5 --archived
    """
    from shadow_platform.cli.models.listing import list_versions

    list_versions(use_case, None if everything else limit, archived=archived, as_json=as_json)


@models_app.command("search")
def models_search(
    use_case: UseCaseOption,
    model: Annotated[
        list[str] | None, typer.Option(help="Model family, such as gradient_boosting; again for another one.")
    ] = None,
    version: Annotated[list[str] | None, typer.Option(help="Number, such as 3; again for another one.")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Alias that points to it, such as challenger-2; again for another one.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag, such as trigger=drift; all given must hold.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Comparison, such as 'roc_auc>=0.75'; all given must hold.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Registered at or after: 2024-03-01, or 7d, 36h, 4w ago.")] = None,
    until: Annotated[str | None, typer.Option(help="Registered before.")] = None,
    as_of_since: Annotated[str | None, typer.Option(help="Trained on what was known at or after.")] = None,
    as_of_until: Annotated[str | None, typer.Option(help="Trained on what was known before.")] = None,
    status: Annotated[
        Literal["registered", "archived", "any"],
        typer.Option(help="Versions, training runs that did not become one, or both."),
    ] = "registered",
    sort: Annotated[
        str, typer.Option(help="A metric, created_at or trained_as_of; with - before it the largest first.")
    ] = "-created_at",
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Versions by family, alias, tag, metric and date.

    For example: shadow models search --model gradient_boosting --metric 'roc_auc>=0.75' --since 4w --sort -roc_auc
    """
    from shadow_platform.cli.models.listing import SearchWords, search_versions

    words = SearchWords(
        models=tuple(model or ()),
        numbers=tuple(version or ()),
        aliases=tuple(alias or ()),
        tags=tuple(tag or ()),
        metrics=tuple(metric or ()),
        since=since,
        until=until,
        as_of_since=as_of_since,
        as_of_until=as_of_until,
        status=status,
        sort=sort,
    )
    search_versions(use_case, words, limit, as_json=as_json)


@models_app.command("show")
def models_show(version: VersionArgument, use_case: UseCaseOption, as_json: JsonOption = False) -> None:
    """One version: how good it is, on what it was trained, with which code, and where its card is.

    For example: shadow models show champion
    """
    from shadow_platform.cli.models.showing import show_version

    show_version(use_case, version, as_json=as_json)


@models_app.command("compare")
def models_compare(
    a: Annotated[str, typer.Argument(help=f"The one to start from. {VERSION_HELP}")],
    b: Annotated[str, typer.Argument(help="The one to compare with it.")],
    use_case: UseCaseOption,
    html: Annotated[Path | None, typer.Option(help="Write a page with the plots of both; needs no network.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Two versions side by side: metrics, segments, features, data, parameters, fingerprints, importance.

    It says what differs, not which one to promote: the gate decides that on requests that both have scored.

    For example: shadow models compare champion challenger-2 --html page.html
    """
    from shadow_platform.cli.models.comparing import compare_versions

    compare_versions(use_case, a, b, html, as_json=as_json)


@models_app.command("history")
def models_history(
    use_case: UseCaseOption,
    version: Annotated[str | None, typer.Argument(help=f"Only changes that name it. {VERSION_HELP}")] = None,
    alias: Annotated[str | None, typer.Option(help="Only changes of this alias, set now or not.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Every change of an alias, oldest first: who, when, from, to, why, on which evidence.

    For example: shadow models history --alias canary
    """
    from shadow_platform.cli.models.showing import show_history

    show_history(use_case, version, alias, as_json=as_json)


@models_app.command("lineage")
def models_lineage(version: VersionArgument, use_case: UseCaseOption, as_json: JsonOption = False) -> None:
    """Where a version comes from (bundle, run, frame, partitions, code) and what it led to (decisions, answers).

    For example: shadow models lineage 3
    """
    from shadow_platform.cli.models.descent import show_lineage

    show_lineage(use_case, version, as_json=as_json)


@models_app.command("reconcile")
def models_reconcile(use_case: SoleUseCaseOption) -> None:
    """Let aliases follow what serves after the registry was away, and what serves an alias that was moved by hand."""
    from shadow_platform.cli.models.changing import reconcile

    reconcile(use_case)


@models_app.command("reproduce")
def models_reproduce(version: VersionArgument, use_case: UseCaseOption) -> None:
    """Train a version again and compare the bundles. Exit 0: the same bundle, 1: another one, 2: cannot be done.

    For example: shadow models reproduce champion
    """
    from shadow_platform.cli.reproducing import reproduce_version

    raise typer.Exit(reproduce_version(use_case, version))
