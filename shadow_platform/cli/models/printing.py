"""How values of versions are written for a terminal, and for programs.

Upstream: ``contracts.versions``. Downstream: the modules of this package.
"""

import json
import math
import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import typer
from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.contracts.versions import Scalar

KEY_METRICS = ("roc_auc", "log_loss", "brier", "f1")
SHORT_HASH = 12
UNKNOWN = "-"


def print_json(value: Any) -> None:
    """Print a value, models in it included, as JSON that every program reads: what is not finite becomes null."""
    typer.echo(json.dumps(_plain(value), indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def print_table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], wrapped: Collection[str] = ()
) -> None:
    """Print a table, unless it has no rows. Text is never read as markup.

    Args:
        columns: names; none for rows that speak for themselves.
        wrapped: columns that a narrow terminal breaks into lines; default: each.
    """
    if not rows:
        return
    console = Console()
    if title:
        # Not the table's own title: a narrow table would break it.
        console.print(Text(f"\n{title}", "bold"))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, show_header=bool(columns))
    for name in columns or [""] * len(rows[0]):
        table.add_column(name, overflow="fold", no_wrap=bool(wrapped) and name not in wrapped)
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def print_line(text: str, indent: int = 0) -> None:
    """Print a sentence, broken between words."""
    Console().print(Padding(Text(text), (0, 0, 0, indent)))


def fact(value: Scalar) -> str:
    """A fact in words.

    >>> fact(None), fact(True), fact(0.1234567), fact("mail")
    ('-', 'yes', '0.123457', 'mail')
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def estimate(found: MetricEstimate | None) -> str:
    """A metric with its interval.

    >>> estimate(MetricEstimate(value=0.75, low=0.7, high=0.8))
    '0.7500 [0.7000, 0.8000]'
    """
    if found is None:
        return UNKNOWN
    has_interval = found.low is not None and found.high is not None
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]" if has_interval else f"{found.value:.4f}"


def short(value: Scalar) -> Scalar:
    """First characters of a hash; anything else as it is.

    >>> short("0b62c4" * 11), short("gradient_boosting")
    ('0b62c40b62c4', 'gradient_boosting')
    """
    is_hash = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64,}", value)
    return value[:SHORT_HASH] if is_hash and isinstance(value, str) else value


def age(since: datetime, now: datetime) -> str:
    """How long ago, in its largest unit.

    >>> from datetime import UTC
    >>> age(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, 5, tzinfo=UTC))
    '2 d'
    """
    units = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
    for unit, length in units:
        if now - since >= length:
            return f"{(now - since) // length} {unit}"
    return "now"
