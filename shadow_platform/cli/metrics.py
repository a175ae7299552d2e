"""``shadow metrics``: serves to Prometheus what is no service's to tell.

Belongs here: the command. Does not belong here: what is read (``exporter``). Upstream: settings, exporter. Downstream:
Prometheus, job ``shadow-exporter``.
"""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import dagster as dg

    from shadow_platform.settings import Settings

DEFAULT_PORT = 9464
CONNECT_S = 5
STORAGE = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Dagster's storage on SQLite; opening it makes those of its files that are not there."""


def metrics(
    port: Annotated[
        int | None,
        typer.Option(help=f"Port of GET /metrics; default METRICS_PORT or {DEFAULT_PORT}.", min=1, max=65535),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address it is opened at; default METRICS_HOST.")] = None,
    refresh: Annotated[float, typer.Option(help="Seconds for which what was read is not read again.", min=0.0)] = 30.0,
) -> None:
    """Serve drift, gate, labels, Dagster runs, sensors and disks as Prometheus metrics until stopped."""
    from shadow_platform.adapters.exposition import metrics_served
    from shadow_platform.exporter.collector import exporter_registry
    from shadow_platform.exporter.sources import lanes_of
    from shadow_platform.resources import PlatformResource
    from shadow_platform.telemetry.logs import configure_logging
    from shadow_platform.use_cases import load_use_case, use_case_names

    platform, stopped = PlatformResource(), threading.Event()
    settings = platform.settings
    configure_logging(settings, "exporter")
    use_cases = [load_use_case(name) for name in (*use_case_names(), *settings.extra_use_cases)]
    lanes = lanes_of(platform, use_cases, _instance_of(settings), refresh)
    at, address = port or settings.metrics_port or DEFAULT_PORT, host or settings.metrics_host
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with metrics_served(at, address, exporter_registry(lanes)):
        typer.echo(f"metrics at http://{address}:{at}/metrics; stop with Ctrl-C")
        stopped.wait()


def _instance_of(settings: "Settings") -> "Callable[[], dg.DagsterInstance | None]":
    """Opens Dagster's instance once there is a storage, which others make (``shadow migrate``, ``shadow ui``).

    Two processes that make the tables of an empty SQLite storage at once spoil it for good.
    """
    import dagster as dg

    opened: list[dg.DagsterInstance] = []

    def instance() -> dg.DagsterInstance | None:
        if opened:
            return opened[0]
        folder, postgres = settings.layout.dagster, settings.dagster_postgres
        if postgres is None:
            is_made = all(_is_made(folder / name) for name in STORAGE)
        else:
            is_made = (folder / "dagster.yaml").exists() and _is_made_there(postgres)
        if not is_made:
            return None
        if postgres is not None:
            # The instance's configuration names the variable alone, and it may come from .env.
            os.environ["DAGSTER_POSTGRES_URL"] = postgres
        opened.append(dg.DagsterInstance.from_config(str(folder)))
        return opened[0]

    return instance


def _is_made(path: Path) -> bool:
    """Whether Dagster has finished to make a SQLite file: it notes the version of its tables last."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        return found is not None and database.execute("SELECT 1 FROM alembic_version").fetchone() is not None


def _is_made_there(postgres: str) -> bool:
    """The same of Dagster's storage on Postgres, whose parts make their tables one after the other."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    with sa.create_engine(
        postgres, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_S}
    ).connect() as server:
        tables = sa.inspect(server).get_table_names()
    return {"alembic_version", "runs", "event_logs", "job_ticks"} <= set(tables)
