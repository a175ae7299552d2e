"""A drift verdict for people and for programs: text and table, JSON, its schema, progress on the way.

Belongs here: how a verdict is shown on a terminal. Does not belong here: what it says. Upstream: verdicts. Downstream:
the command.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shadow_platform.contracts.monitoring_verdicts import SCORE, DriftVerdict, FeatureDrift
from shadow_platform.contracts.policies import DriftPolicy
from shadow_platform.contracts.verdicts import Outcome

if TYPE_CHECKING:
    from rich.table import Table

    from shadow_platform.cli.drift.comparing import Advance, Progress

STYLES = {Outcome.PASS: "bold green", Outcome.FAIL: "bold red", Outcome.INSUFFICIENT: "bold yellow"}
# Without a terminal, rich assumes 80 columns, too few for the table.
WIDTH_OF_A_FILE = 120


def verdict_json(verdict: DriftVerdict) -> str:
    """The verdict as JSON, as ``verdict_schema`` describes it."""
    return verdict.model_dump_json(indent=2) + "\n"


def verdict_schema() -> str:
    """JSON schema of the verdict, as it is published in docs/schemas."""
    schema = DriftVerdict.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


def print_verdict(verdict: DriftVerdict, policy: DriftPolicy, left_out: Mapping[str, str]) -> None:
    """Outcome and explanation, then a row a feature, worst first."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_OF_A_FILE)
    style = STYLES[verdict.outcome]
    console.print(Text.assemble((verdict.outcome.value, style), f": {verdict.explanation}"), soft_wrap=True)
    if verdict.features:
        console.print(_table(verdict, policy))
    how = "value by value" if verdict.method == "exact" else f"by counts in cells, KS within {verdict.max_error:.4f}"
    console.print(f"{verdict.n_current:,} rows against {verdict.n_reference:,}, compared {how}", style="dim")
    for name, reason in left_out.items():
        console.print(Text(f"not compared: {name} {reason}", style="dim"), soft_wrap=True)


@contextmanager
def shown_progress() -> "Iterator[Progress]":
    """What is being done and how far it is, on stderr while it lasts; nothing without a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:

        def begin(what: str, total: int | None) -> "Advance":
            for task in bar.task_ids:
                bar.remove_task(task)
            task = bar.add_task(what, total=total)
            return lambda rows: bar.advance(task, rows)

        yield begin


def _table(verdict: DriftVerdict, policy: DriftPolicy) -> "Table":
    from rich.table import Table

    table = Table("feature", "test")
    for name in ("distance", "floor", "p", "nulls before", "now", "PSI"):
        table.add_column(name, justify="right")
    table.add_column("drifted")
    for row in sorted(verdict.features, key=lambda row: (-row.is_drifted, -_severity(row, policy), row.feature)):
        style = "red" if row.is_drifted else None
        table.add_row(*_cells(row, policy), style=style)
    return table


def _cells(row: FeatureDrift, policy: DriftPolicy) -> tuple[Any, ...]:
    from rich.text import Text

    said = "yes" if row.is_drifted else "no"
    return (
        Text("the model's score" if row.feature == SCORE else row.feature),
        row.test,
        _number(row.statistic, ".3f"),
        f"{_floor(row, policy):g}",
        _number(row.p_value, ".1e"),
        _number(row.null_rate_reference, ".1%"),
        _number(row.null_rate_current, ".1%"),
        _number(row.psi, ".3f"),
        said if row.is_monitored else f"{said}, not monitored",
    )


def _severity(row: FeatureDrift, policy: DriftPolicy) -> float:
    """Largest effect as a multiple of its floor."""
    change = abs((row.null_rate_current or 0.0) - (row.null_rate_reference or 0.0))
    floors = max(_floor(row, policy), 1e-9), max(policy.null_rate.floor, 1e-9)
    return max((row.statistic or 0.0) / floors[0], change / floors[1])


def _floor(row: FeatureDrift, policy: DriftPolicy) -> float:
    if row.feature == SCORE:
        return policy.score.floor
    return policy.ks.floor if row.test == "ks" else policy.total_variation.floor


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
