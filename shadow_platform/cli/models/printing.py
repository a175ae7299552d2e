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
from rich.tree import Tree

from shadow_platform.contracts.version_words import fact
from shadow_platform.contracts.versions import LineageNode, Scalar

KEY_METRICS = ("roc_auc", "log_loss", "brier", "f1")
SHORT_HASH = 12
UNBOUNDED = 100_000
# C0, DEL and C1, but for the end of a line.
CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\n"}


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
    title: str | None,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    wrapped: Collection[str] = (),
    n_optional: int = 0,
) -> None:
    """Print a table, unless it has no rows. Text is never read as markup.

    Args:
        columns: names; none for rows that speak for themselves.
        wrapped: columns that a narrow terminal breaks into lines; default: each.
        n_optional: how many of the last columns a terminal that is still too narrow does without.
    """
    if not rows:
        return
    console = _console()
    if title:
        # Not the table's own title: a narrow table would break it.
        console.print(_text(f"\n{title}", "bold"))
    table = _table(columns, rows, wrapped)
    for _ in range(n_optional):
        if console.measure(table, options=console.options.update(max_width=UNBOUNDED)).minimum <= console.width:
            break
        columns, rows = columns[:-1], [row[:-1] for row in rows]
        table = _table(columns, rows, wrapped)
    console.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], wrapped: Collection[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, show_header=bool(columns))
    cells = [[_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    for n, name in enumerate(columns or [""] * len(rows[0])):
        is_whole = bool(wrapped) and name not in wrapped
        widest = max(len(name), *(row[n].cell_len for row in cells))
        table.add_column(_text(name), overflow="fold", no_wrap=is_whole, min_width=widest if is_whole else None)
    for row in cells:
        table.add_row(*row)
    return table


def print_line(text: str, indent: int = 0) -> None:
    """Print a sentence, broken between words."""
    _console().print(Padding(_text(text), (0, 0, 0, indent), expand=False))


def print_tree(root: LineageNode) -> None:
    """Print a node and all that lies behind it."""
    _console().print(_tree(root))


def _tree(node: LineageNode) -> Tree:
    tree = Tree(Text.assemble(_text(node.kind, "bold"), " ", _text(node.name)))
    for name, value in node.facts.items():
        tree.add(Text.assemble(_text(f"{name}: ", "dim"), _text(fact(value))))
    for child in node.children:
        tree.children.append(_tree(child))
    return tree


def _console() -> Console:
    """The terminal; what goes into a file or another program instead is not broken into lines."""
    console = Console()
    return console if console.is_terminal else Console(width=UNBOUNDED)


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def printable(text: str) -> str:
    r"""The text without what a terminal takes for an order: tags and reasons are written by others.

    >>> printable("drift\x1b[2J\x9b1m")
    'drift�[2J�1m'
    """
    return text.translate(CONTROLS)


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
