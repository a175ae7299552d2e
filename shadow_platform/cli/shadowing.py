"""Commands on the shadow: how the challengers do, how much each of them scores, and scoring a past period.

Upstream: deployment, the shadow worker's logs, registry. Downstream: people. A replay runs in the process in which
Dagster runs it too: at low priority, resumable, and beside the live challengers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from shadow_platform.cli.options import ReasonOption, UseCaseOption
from shadow_platform.contracts.errors import ShadowPlatformError

challengers_app = typer.Typer(help="Models in the shadow: how they do, and how much they score.")


@challengers_app.callback(invoke_without_command=True)
def challengers(
    context: typer.Context,
    use_case: UseCaseOption,
    window: Annotated[str, typer.Option(help="Comparisons counted, such as 15m, 24h, 7d.")] = "24h",
) -> None:
    """Every challenger with its policy, lag, circuit and outcomes, from the log."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    names = ("version", "model", "sample rate", "max lag", "lag", "circuit", "compared", "failed", "dropped", "agree")
    table = Table(*names)
    rows = _summaries(use_case, window)
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)
    for row in rows:
        if row["problem"]:
            Console().print(f"challenger {row['version']}: {row['problem']}")


@challengers_app.command("set")
def set_policy(
    version: Annotated[str, typer.Argument(help="Registry version of a challenger in the shadow.")],
    use_case: UseCaseOption,
    sample_rate: Annotated[float | None, typer.Option(help="Share of requests it scores.", min=0.0, max=1.0)] = None,
    max_lag: Annotated[float | None, typer.Option(help="Drop predictions older than this, seconds.", min=0.001)] = None,
    no_max_lag: Annotated[bool, typer.Option("--no-max-lag", help="Never drop a prediction for its age.")] = False,
    reason: ReasonOption = "changed by hand",
) -> None:
    """Change how much a challenger scores while it runs; what is not named stays. Nothing is lost or scored twice."""
    from shadow_platform.adapters.deployment.challengers import challenger
    from shadow_platform.cli.deploying import change
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    manifest = PlatformResource().manifest(load_use_case(use_case))
    if manifest is None:
        raise ShadowPlatformError(f"no model of {use_case} is deployed; run the training job, or `shadow demo`")
    before = challenger(manifest, version)
    kept_lag = None if no_max_lag else before.max_lag_s
    change(
        use_case,
        "set_shadow_policy",
        wait=False,
        version=version,
        sample_rate=before.sample_rate if sample_rate is None else sample_rate,
        max_lag_s=kept_lag if max_lag is None else max_lag,
        reason=reason,
    )


def replay(
    version: Annotated[str, typer.Argument(help="Registry version; it need not be deployed.")],
    use_case: UseCaseOption,
    start: Annotated[datetime | None, typer.Option("--from", help="First request time (UTC); default: all.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="End of the requests (UTC, exclusive).")] = None,
) -> None:
    """Score the logged requests of a past period with any version. Run again, it continues where it was ended.

    What a live challenger dropped is filled; what it is still due is left to it.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _replaying(use_case, version, start, end) as process, Progress(*columns) as bar:
        assert process.stderr is not None
        assert process.stdout is not None
        task, other = bar.add_task(f"version {version}", total=None), list[str]()
        for progress in _progress(process.stderr, other):
            bar.update(task, completed=progress["done"], total=progress["total"])
        counts = process.stdout.read()
    if process.returncode:
        raise ShadowPlatformError(other[-1] if other else f"the replay ended with code {process.returncode}")
    typer.echo(counts.strip())


def _replaying(use_case: str, version: str, start: datetime | None, end: datetime | None) -> "subprocess.Popen[str]":
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    platform, found = PlatformResource(), load_use_case(use_case)
    bundle = platform.registry().fetch_bundle(found.name, version, platform.layout.bundles)
    command = [sys.executable, "-m", "bento.shadow", "--progress", "--replay", version, "--bundle", bundle.name]
    for option, at in (("--since", start), ("--until", end)):
        command += [option, at.replace(tzinfo=at.tzinfo or UTC).isoformat()] if at else []
    address = platform.settings.address_of(found.name)
    environment = {**os.environ, "SHADOW_HOME": str(platform.layout.home), "SHADOW_USE_CASE": address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _progress(lines: Iterable[str], other: list[str]) -> Iterator[dict[str, Any]]:
    """What the replay says of its progress; everything else it says goes to ``other``."""
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict) and "done" in found:
            yield found
        elif line.strip():
            other.append(line.strip())


def _summaries(use_case: str, window: str) -> list[dict[str, Any]]:
    from bento.shadowing.shadow_view import ShadowView
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.manifest(found)
    if manifest is None:
        raise ShadowPlatformError(f"no model of {found.name} is deployed; run the training job, or `shadow demo`")
    summary = ShadowView(platform.layout, found).comparison(manifest, window, datetime.now(UTC))
    rows: list[dict[str, Any]] = summary["challengers"]
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    agreement, limit = row["agreement_rate"], row["max_lag_s"]
    return [
        row["version"],
        row["model_name"],
        f"{row['sample_rate']:g}",
        "none" if limit is None else f"{limit:g} s",
        f"{row['lag_s']:.1f} s, {row['lag_records']} waiting",
        row["circuit"] or "unknown",
        str(row["compared"]),
        str(row["failed"]),
        ", ".join(f"{n} {reason}" for reason, n in row["drop_reasons"].items()) or "0",
        "" if agreement is None else f"{agreement:.1%}",
    ]
