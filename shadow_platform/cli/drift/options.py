"""Options of ``shadow drift``, in the three panels of its help.

Upstream: nothing. Downstream: the command. Imports nothing heavy, so that ``shadow --help`` answers at once.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

FILES, REQUESTS = "Two files", "Served requests"


class Shown(StrEnum):
    """How the verdict is printed."""

    TABLE = "table"
    JSON = "json"


ReferenceOption = Annotated[
    Path | None, typer.Option(help="CSV or Parquet; default DRIFT_REFERENCE_PATH.", rich_help_panel=FILES)
]
CurrentOption = Annotated[
    Path | None, typer.Option(help="CSV or Parquet; default DRIFT_CURRENT_PATH.", rich_help_panel=FILES)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="YAML, TOML or JSON: limits, kinds of columns, columns that count; --fields lists them.",
        rich_help_panel=FILES,
    ),
]
SimulateOption = Annotated[
    float, typer.Option(help="Shift the current file by so many deviations first.", rich_help_panel=FILES)
]
HtmlOption = Annotated[Path | None, typer.Option(help="Write Evidently's report.", rich_help_panel=FILES)]
ServedOption = Annotated[
    str | None, typer.Option("--use-case", "-u", help="Judge its served requests.", rich_help_panel=REQUESTS)
]
DayOption = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The window that ends with this day (UTC).", rich_help_panel=REQUESTS),
]
LiveOption = Annotated[
    bool, typer.Option("--live", help="The last MONITORING_LOOKBACK hours.", rich_help_panel=REQUESTS)
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="Share of drifted features that fails on its own; default DRIFT_THRESHOLD, 0.3.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Write the verdict as JSON.")]
ShownOption = Annotated[Shown, typer.Option("--format", help="What is printed.")]
SchemaOption = Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the verdict, and end.")]
FieldsOption = Annotated[bool, typer.Option("--fields", help="Print the fields of --config, and end.")]
