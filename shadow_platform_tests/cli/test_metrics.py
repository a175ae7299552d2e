"""``shadow metrics`` as Prometheus meets it: a process with a port, which never makes what it is to read."""

import signal
import socket
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_run_for_test

from shadow_platform.cli.metrics import STORAGE, _instance_of, metrics
from shadow_platform.cli.runs import prepare_dagster_home, prepare_dagster_storage
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.exporter.sources import lanes_of
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.exporter.conftest import Home, ago
from shadow_platform_tests.feature_servers import Postgres
from shadow_platform_tests.scraped import scrape

SHADOW = """if True:
    from functools import partial
    from shadow_platform.cli import app
    from shadow_platform.exporter import collector
    collector.PlatformCollector = partial(collector.PlatformCollector, scrape_s=25.0)
    app()
"""
"""The command, whose scrapes wait for a busy machine."""
TINY = "shadow_platform_tests.tiny:USE_CASE"


@pytest.mark.processes
def test_what_happens_to_a_home_is_seen_in_the_next_scrape(
    layout: Layout, start_process: StartProcess, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.home.mkdir()
    monkeypatch.setenv("SHADOW_EXTRA_USE_CASES", TINY)
    url, home = f"http://127.0.0.1:{free_port}", Home(layout)
    options = ["metrics", "--host", "127.0.0.1", "--refresh", "0"]
    exporter = start_process(["-c", SHADOW, *options], METRICS_PORT=str(free_port))
    exporter.wait_for_port(free_port)
    empty = scrape(url)
    assert not layout.dagster.exists(), "the storage is made by those who use it"

    home.add(
        DRIFT_VERDICTS,
        **{"evaluation_id": "a", "window_end": ago(days=1), "evaluated_at": ago(hours=1)},
        **{"scope": "daily", "outcome": "fail", "drift_score": 0.5},
    )
    PlatformResource().lake().publish_warehouse()
    prepare_dagster_storage(load_settings())
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        create_run_for_test(instance, job_name="tiny_retrain", status=dg.DagsterRunStatus.FAILURE)
    found = scrape(url)
    exporter.signal(signal.SIGTERM)

    assert empty.contradictions() == found.contradictions() == []
    assert empty.names >= {"disk_free_bytes", "disk_size_bytes", "exporter_collect_failures_total"}
    assert empty.values("drift_failing") == []
    assert found.values("drift_failing", use_case="tiny", scope="daily") == [1]
    assert found.values("dagster_runs", job="tiny_retrain", status="FAILURE") == [1]
    assert found.values("dagster_runs", job="tiny_decide", status="FAILURE") == [0]
    assert 0 <= found.values("warehouse_age_seconds")[0] < 600
    assert found.values("disk_free_bytes", path=str(layout.home))[0] > 0
    assert found.total("exporter_collect_failures_total") == 0
    assert exporter.process.wait(60) == 0


@pytest.mark.parametrize("missing", STORAGE)
def test_a_storage_that_another_process_is_making_is_not_opened(layout: Layout, missing: str) -> None:
    """Whoever opens it then makes what is missing at the same time, which spoils it."""
    prepare_dagster_storage(load_settings())
    opened = _instance_of(load_settings())
    file = layout.dagster / missing
    made = file.read_bytes()
    file.unlink()
    assert opened() is None
    file.touch()
    assert opened() is None
    assert file.stat().st_size == 0
    file.write_bytes(made)

    instance = opened()

    assert instance is not None
    with instance:
        assert instance.get_runs_count() == 0


@pytest.mark.processes
def test_a_storage_on_postgres_is_made_by_those_who_use_it(
    layout: Layout, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database().replace("postgresql://", "postgresql+psycopg2://")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    prepare_dagster_home(load_settings())
    opened = _instance_of(load_settings())
    assert opened() is None
    with sa.create_engine(url).connect() as server:
        assert sa.inspect(server).get_table_names() == []

    prepare_dagster_storage(load_settings())
    instance = opened()

    assert instance is not None
    with instance:
        assert instance.get_runs_count() == 0


def test_of_a_storage_on_sqlite_nothing_changes_but_the_files_that_sqlite_keeps_for_readers(layout: Layout) -> None:
    prepare_dagster_storage(load_settings())
    platform = PlatformResource()

    def found() -> dict[Path, bytes]:
        files = (path for path in layout.home.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}

    before = found()
    opened = _instance_of(platform.settings)
    for lane in lanes_of(platform, [], opened):
        lane.start()
        lane.wait(time.monotonic() + 60)
        assert sum(lane.failures.values()) == 0
    assert found() == before
    instance = opened()
    assert instance is not None
    instance.dispose()


def test_a_taken_port_is_one_line(layout: Layout) -> None:
    layout.home.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match=r"metrics cannot be served on 127\.0\.0\.1 port"):
            metrics(taken.getsockname()[1], "127.0.0.1", 30.0)
