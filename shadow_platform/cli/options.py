"""Options that many commands of ``shadow`` share.

Upstream: settings. Downstream: the files of commands. Imports nothing heavy, so that ``shadow --help`` answers at once.
"""

from enum import StrEnum
from typing import Annotated

import typer


def default_use_case() -> str:
    """``SHADOW_USE_CASE`` if it is set, else the only use case that this home serves, else the setting's default."""
    from shadow_platform.settings import load_settings

    settings = load_settings()
    served = [path.stem for path in settings.layout.manifests()]
    is_chosen = "shadow_use_case" in settings.model_fields_set or len(served) != 1
    return settings.shadow_use_case if is_chosen else served[0]


UseCaseOption = Annotated[
    str,
    typer.Option("--use-case", "-u", default_factory=default_use_case, help="Name, or package.module:ATTRIBUTE."),
]
ReasonOption = Annotated[str, typer.Option(help="Why; stored in the audit trail.")]
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
