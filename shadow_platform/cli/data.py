"""``shadow data``: what models were trained on, as files for people.

Upstream: the lake. Downstream: ``pulling``, which the command alone imports, so that ``shadow --help`` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from shadow_platform.cli.options import UseCaseOption

data_app = typer.Typer(help="What models were trained on, as files.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """What models were trained on, as files."""


@data_app.command("pull")
def pull(
    frame: Annotated[
        str,
        typer.Argument(
            metavar="VERSION|FRAME",
            help="A version (number, or an alias such as champion), or the first digits of a frame's fingerprint.",
        ),
    ],
    use_case: UseCaseOption,
    output: Annotated[Path, typer.Option(help="File to write: .csv, .parquet or .jsonl.")],
) -> None:
    """Write the exact training frame of a version, with the part each row had in the training."""
    from shadow_platform.cli.pulling import pull_frame

    pull_frame(use_case, frame, output)
