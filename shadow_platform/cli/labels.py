"""``shadow labels``: ground truth that comes in files.

Upstream: a file. Downstream: ``importing``, which the command alone imports, so that ``shadow --help`` answers at once.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shadow_platform.cli.options import UseCaseOption

labels_app = typer.Typer(help="Ground truth that comes in files.", no_args_is_help=True)


@labels_app.callback()
def labels() -> None:
    """Ground truth that comes in files."""


@labels_app.command("import")
def import_labels(
    file: Annotated[Path, typer.Argument(help="Columns subject_id, requested_at, label; optional event_at, known_at.")],
    use_case: UseCaseOption,
    file_format: Annotated[
        Literal["csv", "parquet", "jsonl"] | None, typer.Option("--format", help="Default: by the file's extension.")
    ] = None,
    backfill: Annotated[
        bool, typer.Option(help="Take labels known before the latest evaluation; what was decided then may change.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Sort the rows and change nothing.")] = False,
) -> None:
    """Import labels; good rows are kept, bad ones quarantined. Exit 0: all good, 1: some quarantined, 2: refused."""
    from shadow_platform.cli.importing import import_file

    raise typer.Exit(import_file(use_case, file, file_format, backfill=backfill, dry_run=dry_run))
