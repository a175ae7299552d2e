"""Commands that put the whole home into one file while everything runs, and bring it back into an empty folder.

Upstream: settings, adapters.backup. Downstream: people and cron. What lies on servers is named, not copied.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shadow_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from shadow_platform.adapters.backup.contents import Contents
    from shadow_platform.contracts.layout import Layout

LOCK_TIMEOUT_S = 60.0


def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write, outside SHADOW_HOME; it must not exist yet.")],
) -> None:
    """Write everything below SHADOW_HOME into one archive, while services and Dagster go on."""
    from shadow_platform import __version__
    from shadow_platform.adapters.backup import write
    from shadow_platform.adapters.backup.writing import expected_bytes

    settings = load_settings()
    layout = settings.layout
    with _bar("back up", expected_bytes(layout.home)) as progressed:
        written = write(layout.home, file.absolute(), __version__, lambda: _unchanged_deployments(layout), progressed)
    _print(f"{file} holds {layout.home} as of {written.contents.began_at:%Y-%m-%d %H:%M:%S} UTC", written.contents)
    for name, how in elsewhere(settings).items():
        typer.echo(f"not in it: {name}; {how}")


def restore(
    file: Annotated[Path, typer.Argument(help="Archive that `shadow backup` wrote.")],
    check: Annotated[bool, typer.Option("--check", help="Only read the archive and compare its checksums.")] = False,
) -> None:
    """Bring an archive back into SHADOW_HOME, which must be empty; whole or not at all."""
    from shadow_platform.adapters import backup as archives

    settings = load_settings(is_restoring=True)
    layout = settings.layout
    size = file.stat().st_size if file.is_file() else 0
    if check:
        with _bar("check", size) as progressed:
            contents = archives.check(file, progressed)
        return _print(f"{file} is whole, from {contents.began_at:%Y-%m-%d %H:%M:%S} UTC", contents)
    with _bar("restore", size) as progressed:
        contents = archives.restore(file, layout.home, progressed)
    _print(f"{layout.home} is as of {contents.began_at:%Y-%m-%d %H:%M:%S} UTC", contents)
    if contents.home != str(layout.home):
        _settle_elsewhere(settings, contents)
    for name, how in elsewhere(settings).items():
        typer.echo(f"was not in it: {name}; {how}")
    typer.echo("next: `shadow doctor`, then start what ran before")
    return None


def elsewhere(settings: Settings) -> dict[str, str]:
    """What belongs to the platform and lies outside the home, with how to back it up."""
    own = "back it up with the tools of that server"
    home = settings.layout.home
    found = {
        "features of FEATURE_STORE=scale (Redis, Postgres, FEATURES_URL)": settings.feature_store == "scale",
        "models at MLFLOW_TRACKING_URI": not _is_registry_here(settings),
        "artifacts at MLFLOW_ARTIFACTS_URL": settings.mlflow_artifacts_url is not None,
        "Dagster's storage at DAGSTER_POSTGRES_URL": settings.dagster_postgres_url is not None,
        "messages on their way through Kafka (LOG_TRANSPORT=kafka)": settings.log_transport == "kafka",
        "manifests and bundles below SHADOW_SHARED": settings.layout.deployment != home,
    }
    return {name: own for name, is_elsewhere in found.items() if is_elsewhere}


def _is_registry_here(settings: Settings) -> bool:
    uri, home = settings.mlflow_uri, settings.layout.home
    return uri.startswith("sqlite:///") and Path(uri.removeprefix("sqlite:///")).resolve().is_relative_to(home)


@contextmanager
def _unchanged_deployments(layout: "Layout") -> Iterator[None]:
    """Let nobody change a deployment; raises ``AlreadyRunning`` when somebody does for a minute."""
    from shadow_platform.adapters.deployment.journal import locked

    with ExitStack() as held:
        for use_case in sorted(_use_cases(layout)):
            held.enter_context(locked(layout, use_case, LOCK_TIMEOUT_S))
        yield


def _use_cases(layout: "Layout") -> set[str]:
    """Use cases of which a home has anything, deployed or not: what was never promoted may be in this moment."""
    locks = layout.deployment_lock("any").parent.glob("deployment-*.lock")
    parts = (folder for pattern in ("log/*/use_case=*", "tables/*/use_case=*") for folder in layout.home.glob(pattern))
    return {
        *(manifest.stem for manifest in layout.manifests()),
        *(lock.stem.removeprefix("deployment-") for lock in locks),
        *(part.name.removeprefix("use_case=") for part in parts),
    }


def _settle_elsewhere(settings: Settings, contents: "Contents") -> None:
    """Make what names absolute paths name the new ones, and say what cannot be."""
    from shadow_platform.adapters.lake import Lake

    home = settings.layout.home
    Lake(settings.layout).publish_warehouse()
    typer.echo(f"the archive is of {contents.home}: warehouse.duckdb was made anew for {home}")
    if _is_registry_here(settings):
        typer.echo(f"MLflow notes models by that path; to promote them again, mount or link {home} there")


def _print(title: str, contents: "Contents") -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(title)
    table = Table("part", "files", "MB")
    n_files, n_bytes = Counter[str](), Counter[str]()
    for entry in contents.entries:
        part = entry.path.partition("/")[0]
        n_files[part] += 1
        n_bytes[part] += entry.n_bytes
    for part in sorted(n_files):
        table.add_row(part, f"{n_files[part]:,}", f"{n_bytes[part] / 1e6:,.1f}")
    table.add_row("all", f"{len(contents.entries):,}", f"{contents.n_bytes / 1e6:,.1f}")
    Console().print(table)


@contextmanager
def _bar(title: str, n_bytes: int) -> "Iterator[_Progressed]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Progressed(progress, title, n_bytes)


class _Progressed:
    """Moves a bar by the bytes it is told."""

    def __init__(self, progress: "Progress", title: str, n_bytes: int) -> None:
        self._progress, self._task = progress, progress.add_task(title, total=n_bytes or None)

    def __call__(self, n_bytes: int) -> None:
        self._progress.advance(self._task, n_bytes)
