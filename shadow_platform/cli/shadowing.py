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
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shadow_platform.cli.options import (
    ByOption,
    ReasonOption,
    SoleUseCaseOption,
    UseCaseOption,
    WaitOption,
    require_period,
)
from shadow_platform.contracts.errors import NoChampion, ShadowPlatformError

if TYPE_CHECKING:
    from shadow_platform.resources import Transition

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
    use_case: SoleUseCaseOption,
    sample_rate: Annotated[float | None, typer.Option(help="Share of requests it scores.", min=0.0, max=1.0)] = None,
    max_lag: Annotated[float | None, typer.Option(help="Drop predictions older than this, seconds.", min=0.001)] = None,
    no_max_lag: Annotated[bool, typer.Option("--no-max-lag", help="Never drop a prediction for its age.")] = False,
    reason: ReasonOption = "changed by hand",
    by: ByOption = None,
) -> None:
    """Change how much a challenger scores while it runs; what is not named stays. Nothing is lost or scored twice."""
    from shadow_platform.adapters.deployment.challengers import challenger
    from shadow_platform.cli.deploying import change
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    if no_max_lag and max_lag is not None:
        raise ShadowPlatformError(f"give one of --max-lag {max_lag:g} and --no-max-lag")
    if sample_rate is None and max_lag is None and not no_max_lag:
        raise ShadowPlatformError("nothing to change; give --sample-rate, --max-lag or --no-max-lag")
    found = load_use_case(use_case)
    manifest = PlatformResource().manifest(found)
    if manifest is None:
        raise NoChampion(found.name)
    before = challenger(manifest, version)
    rate = before.sample_rate if sample_rate is None else sample_rate
    kept_lag = None if no_max_lag else before.max_lag_s
    change(
        use_case,
        "set_shadow_policy",
        wait=False,
        by=by,
        version=version,
        sample_rate=rate,
        max_lag_s=kept_lag if max_lag is None else max_lag,
        reason=reason,
    )
    if rate < found.gate.min_coverage:
        typer.echo(
            f"the gate decides nothing on version {version} meanwhile: it wants {found.gate.min_coverage:.0%} of the "
            f"requests compared, and counts what is left out as missing; `shadow replay {version}` scores that later"
        )


@challengers_app.command("add")
def add(
    version: Annotated[str, typer.Argument(help="Registry version that is to shadow the champion.")],
    reason: ReasonOption,
    use_case: SoleUseCaseOption,
    wait: WaitOption = True,
    by: ByOption = None,
) -> None:
    """Let a version shadow the champion from now on. Where three do, the oldest that nothing keeps leaves."""
    raise typer.Exit(_change_who_shadows(use_case, "add_challenger", version, reason, wait, by))


@challengers_app.command("remove")
def remove(
    version: Annotated[str, typer.Argument(help="Registry version of a challenger in the shadow.")],
    reason: ReasonOption,
    use_case: SoleUseCaseOption,
    wait: WaitOption = True,
    by: ByOption = None,
) -> None:
    """Take a version out of the shadow; a canary answers nobody any more. What it scored stays."""
    raise typer.Exit(_change_who_shadows(use_case, "remove_challenger", version, reason, wait, by))


def replay(
    version: Annotated[str, typer.Argument(help="Registry version; it need not be deployed.")],
    use_case: UseCaseOption,
    start: Annotated[datetime | None, typer.Option("--from", help="First request time (UTC); default: all.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="End of the requests (UTC, exclusive).")] = None,
) -> None:
    """Score the logged requests of a past period with any version. Run again, it continues where it was ended.

    What a live challenger dropped is filled; what it is still due is left to it.
    """
    require_period(start, end)
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


def _change_who_shadows(
    use_case: str, transition: "Transition", version: str, reason: str, wait: bool, by: str | None
) -> int:
    from shadow_platform.cli.deploying import change

    there = _shadowing(use_case)
    if transition == "remove_challenger" and version not in there:
        raise ShadowPlatformError(f"version {version} is not in the shadow; there: {', '.join(there) or 'none'}")
    code = change(use_case, transition, wait, by, version=version, reason=reason)
    typer.echo(f"in the shadow: {', '.join(_shadowing(use_case)) or 'none'}")
    return code


def _shadowing(use_case: str) -> list[str]:
    """Versions in the shadow, newest first; raises ``NoChampion`` when nobody is shadowed."""
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.manifest(found)
    if manifest is None:
        raise NoChampion(found.name, platform.layout.manifest(found.name))
    return [model.version for model in manifest.challengers]


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
        raise NoChampion(found.name, platform.layout.manifest(found.name))
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
