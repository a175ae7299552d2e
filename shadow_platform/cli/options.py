"""Options that many commands of ``shadow`` share.

Upstream: settings. Downstream: the files of commands. Imports nothing heavy, so that ``shadow --help`` answers at once.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from shadow_platform.contracts.errors import ShadowPlatformError, UseCaseError


def default_use_case() -> str:
    """``SHADOW_USE_CASE`` if it is set, else the only use case that this home serves, else the setting's default."""
    return _default_and_rivals()[0]


def sole_use_case() -> str:
    """The same, for what changes a deployment: raises ``UseCaseError`` when several are served and none is chosen."""
    default, rivals = _default_and_rivals()
    if rivals:
        raise UseCaseError(f"which use case? {', '.join(rivals)} are served here; name one with -u or SHADOW_USE_CASE")
    return default


def _default_and_rivals() -> tuple[str, list[str]]:
    """Which use case is meant without a word, and those that are served when it might as well be another of them."""
    from shadow_platform.settings import load_settings

    settings = load_settings()
    if "shadow_use_case" in settings.model_fields_set:
        return settings.shadow_use_case, []
    served = sorted(path.stem for path in settings.layout.manifests())
    return (served[0], []) if len(served) == 1 else (settings.shadow_use_case, served)


def said(text: str | None) -> str | None:
    """A reason as it was given; raises ``ShadowPlatformError`` for one without a word."""
    if text is not None and not text.strip():
        raise ShadowPlatformError("--reason is empty; say why, for the audit trail")
    return text


def require_period(start: datetime | None, end: datetime | None) -> None:
    """Raise ``ShadowPlatformError`` when ``--to`` does not lie behind ``--from``; both are UTC unless they say else."""
    first, last = (at and at.replace(tzinfo=at.tzinfo or UTC) for at in (start, end))
    if first is not None and last is not None and last <= first:
        raise ShadowPlatformError(f"--to {end} does not lie behind --from {start}; exchange or correct them")


USE_CASE_HELP = "Name, or package.module:ATTRIBUTE."
UseCaseOption = Annotated[
    str,
    typer.Option(
        "--use-case",
        "-u",
        default_factory=default_use_case,
        show_default="SHADOW_USE_CASE, else the only one served, else its default",
        help=USE_CASE_HELP,
    ),
]
SoleUseCaseOption = Annotated[
    str,
    typer.Option(
        "--use-case",
        "-u",
        default_factory=sole_use_case,
        show_default="SHADOW_USE_CASE, else the only one served; needed where several are",
        help=USE_CASE_HELP,
    ),
]
ReasonOption = Annotated[str, typer.Option(callback=said, help="Why; stored in the audit trail.")]
ByOption = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who does it, for the audit trail. Default: your user on this machine."),
]
ShareOption = Annotated[float, typer.Option(help="Share of subjects it answers, above 0 and at most 1.")]
WaitOption = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="Wait, 30 s at most, until every worker here answers with it."),
]


class RowFormat(StrEnum):
    """How rows are printed; ``auto`` is a table, or a record a row when a table would be too wide to read."""

    AUTO = "auto"
    TABLE = "table"
    RECORDS = "records"
    CSV = "csv"
    JSON = "json"


RowFormatOption = Annotated[
    RowFormat,
    typer.Option("--format", help="auto: a table, or one record a row when a table would be too wide; json: lines."),
]
