"""Homes whose tables were written by hand, and instances of Dagster on either storage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import TableSchema
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.feature_servers import Postgres
from shadow_platform_tests.tiny import USE_CASE as TINY

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)


class Home:
    """A home of use case ``tiny``; rows have the columns that are given, and nothing else."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.platform = PlatformResource(shadow_home=str(layout.home), simulated_now=NOW.isoformat())

    def add(self, table: TableSchema, **values: Any) -> None:
        """One row of a table; its time column says the day."""
        row = dict.fromkeys(table.column_names) | {"use_case": TINY.name} | values
        self.platform.lake().append_rows(table, TINY, [row])


def ago(**span: float) -> datetime:
    """A time before now."""
    return NOW - timedelta(**span)


@pytest.fixture
def home(layout: Layout) -> Home:
    """An empty home."""
    layout.home.mkdir(parents=True)
    return Home(layout)


@pytest.fixture(params=["sqlite", "postgres"])
def stored_instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite, and one on Postgres."""
    text = "telemetry:\n  enabled: false\n"
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database().replace("postgresql://", "postgresql+psycopg2://")
        text += f"storage:\n  postgres:\n    postgres_url: {url}\n"
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance
