"""`shadow backup` under traffic, `SHADOW_HOME` destroyed, `shadow restore`: nothing is lost, and everything goes on."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from typer.testing import CliRunner

from bento.serve import free_port, running_service
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.deployment.journal import locked
from shadow_platform.cli import app, typer_app
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_DECISIONS, MODEL_VERSIONS, PIPELINE_RUNS, PREDICTIONS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.automation.asking import ask_everything, daemon_home
from shadow_platform_tests.automation.ticking import Daemon
from shadow_platform_tests.automation.verdicts import report_verdict
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import body_of
from shadow_platform_tests.chaos.home import Home, running_home
from shadow_platform_tests.chaos.ledger import account, conservation, logged
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load
from shadow_platform_tests.cli.versions_home import ADDRESS, CARDED, CHALLENGER, VersionsHome
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.tiny import USE_CASE

SHADOW = ["-c", "from shadow_platform.cli import app; app()"]
CALLER_KEY = {"Idempotency-Key": "of-a-caller-who-asks-again"}


@pytest.fixture
def shadow(start_process: StartProcess, layout: Layout) -> Callable[..., str]:
    """Run the command in a process of its own on the home of this test; returns what it printed."""

    def run(*arguments: str) -> str:
        started = start_process([*SHADOW, *arguments], SHADOW_HOME=str(layout.home))
        assert started.process.wait(TIMEOUT_S * 4) == 0, started.text()
        return started.text()

    return run


def _keyed(home: Home) -> dict[str, Any]:
    response = httpx.post(f"{home.service.url}/predict", json=body_of(5), headers=CALLER_KEY, timeout=TIMEOUT_S)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_nothing_acknowledged_before_a_backup_under_traffic_is_lost_with_the_home(
    shadow: Callable[..., str], layout: Layout, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    with running_home(layout.home) as home:
        load = Load(home.service.url)
        with load.running():
            keyed = _keyed(home)
            load.more_answers(300)
            acknowledged, manifest = set(load.acknowledged), home.manifest
            shadow("backup", str(archive))
            load.more_answers(100)
        assert set(load.statuses) == {200}, "a backup refuses nobody"
        assert account(load, layout).lost == set()

    shutil.rmtree(layout.home)
    shadow("restore", str(archive))

    assert acknowledged <= {record.request_id for record in logged(layout)}
    with _running_again(home) as again:
        assert again.manifest == manifest
        assert _keyed(again) == keyed, "the same key still gives the same answer"
        load = Load(again.service.url)
        with load.running():
            load.more_answers(100)
        again.catch_up()
        assert account(load, layout).lost == set()
        found = conservation(layout, again.challenger)
    assert found.is_sound
    assert found.outcomes["compared"] >= len(acknowledged)


@contextmanager
def _running_again(home: Home) -> Iterator[Home]:
    with running_service(home.settings, shop.NAME, free_port(), workers=home.n_workers) as service:
        yield Home(service, home.settings, home.n_workers)


def _tables(layout: Layout) -> dict[str, Any]:
    lake = PlatformResource(shadow_home=str(layout.home)).lake()
    return {
        "manifest": read_manifest(layout.manifest(USE_CASE.name)),
        "decisions": lake.read_table(GATE_DECISIONS, USE_CASE).to_json(),
        "predictions": lake.read_table(PREDICTIONS, USE_CASE).to_json(),
        "trainings": lake.read_table(MODEL_VERSIONS, USE_CASE).to_json(),
        "runs": lake.read_table(PIPELINE_RUNS, USE_CASE).to_json(),
    }


def _keep_cursor(instance: dg.DagsterInstance, cursor: str | None) -> None:
    """Store the cursor of the sensor as the daemon does."""
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="shadow_platform.definitions"))
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "tiny_retrain_on_drift")
    data = SensorInstigatorData(cursor=cursor)
    instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data))


def _kept_cursor(instance: dg.DagsterInstance) -> str | None:
    (state,) = instance.all_instigator_state()
    assert isinstance(state.instigator_data, SensorInstigatorData)
    return state.instigator_data.cursor


def _ageless(models: str) -> list[list[str]]:
    """The words of a list of models, without the ages, which grow, and the line that is as wide as they make it."""
    words = [re.sub(r"\b(now|\d+ (min|h|d))\b", "", line).split() for line in models.splitlines()]
    return [found for found in words if found and "─" not in found[0]]


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_registry_tables_and_triggers_go_on_from_where_they_were(
    shadow: Callable[..., str], layout: Layout, tmp_path: Path
) -> None:
    VersionsHome(layout.home)
    daemon_home(layout.dagster, poll_s=2)
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        daemon = Daemon(layout, instance)
        ask_everything(layout, instance)
        daemon.tick()
        _keep_cursor(instance, daemon.cursor)
    before = _tables(layout)
    models = CliRunner().invoke(typer_app, ["models", "list", "-u", ADDRESS]).output
    shadow("backup", str(tmp_path / "a.tar"))
    shutil.rmtree(layout.home)

    shadow("restore", str(tmp_path / "a.tar"))

    assert _ageless(shadow("models", "list", "-u", ADDRESS)) == _ageless(models)
    assert _tables(layout) == before
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        daemon = Daemon(layout, instance)
        daemon.cursor = _kept_cursor(instance)
        daemon.tick()
        assert daemon.runs() == ["e1"], "what was answered before is not asked again"
        report_verdict(instance, 3)
        daemon.tick()
        assert daemon.runs() == ["e1", "e3"]
    shadow("promote", CHALLENGER, "-u", ADDRESS, "--reason", "after the restore", "--no-wait")
    manifest = read_manifest(layout.manifest(USE_CASE.name))
    assert manifest is not None
    assert (manifest.champion.version, manifest.previous and manifest.previous.version) == (CHALLENGER, CARDED)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["shadow", *arguments])
    with pytest.raises(SystemExit) as ended:
        app()
    return int(ended.value.code or 0)


def test_a_home_that_is_in_use_is_not_restored_over(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.home.mkdir()
    (layout.home / "kept").write_text("this")
    assert _run(monkeypatch, "backup", str(tmp_path / "a.tar")) == 0
    assert _run(monkeypatch, "restore", "--check", str(tmp_path / "a.tar")) == 0
    assert "is whole" in capsys.readouterr().out

    assert _run(monkeypatch, "restore", str(tmp_path / "a.tar")) == 2
    assert "holds 1 entries (kept), expected an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "trace", ["serving/shop.json", "log/transitions/use_case=shop/a.jsonl", "tables/labels/use_case=shop/a", None]
)
def test_a_deployment_that_is_changing_is_waited_for(
    trace: str | None,
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also one of a use case that was never promoted, of which there is a table or a lock alone."""
    layout.home.mkdir()
    if trace is not None:
        (layout.home / trace).parent.mkdir(parents=True)
        (layout.home / trace).write_bytes(b"")
    monkeypatch.setattr(sys.modules["shadow_platform.cli.backup"], "LOCK_TIMEOUT_S", 0.2)

    with locked(layout, "shop", 1.0):
        assert _run(monkeypatch, "backup", str(tmp_path / "a.tar")) != 0
    assert "another process has been changing the deployment of shop" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a.tar").exists()
    layout.deployment_lock("shop").unlink(missing_ok=True)

    assert _run(monkeypatch, "backup", str(tmp_path / "a.tar")) == 0
    assert layout.deployment_lock("shop").exists() is (trace is not None), "it holds the lock of what it finds"


def test_what_lies_on_servers_is_named_and_not_forgotten(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.home.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql+psycopg2://u:secret@127.0.0.1/dagster")

    assert _run(monkeypatch, "backup", str(tmp_path / "a.tar")) == 0

    told = capsys.readouterr().out
    assert "not in it: models at MLFLOW_TRACKING_URI; back it up with the tools of that server" in told
    assert "not in it: Dagster's storage at DAGSTER_POSTGRES_URL" in told
    assert "secret" not in told

    monkeypatch.setenv("SHADOW_HOME", str(tmp_path / "elsewhere"))
    assert _run(monkeypatch, "restore", str(tmp_path / "a.tar")) == 0
    assert "warehouse.duckdb was made anew" in (told := " ".join(capsys.readouterr().out.split()))
    assert "MLflow notes models" not in told, "a server has places of its own for them"


def test_an_archive_restored_elsewhere_has_a_warehouse_that_opens_and_says_what_does_not_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], layout: Layout
) -> None:
    VersionsHome(layout.home).platform.lake().publish_warehouse()
    assert _run(monkeypatch, "backup", str(tmp_path / "a.tar")) == 0
    shutil.rmtree(layout.home)
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path / "elsewhere"))

    assert _run(monkeypatch, "restore", str(tmp_path / "a.tar")) == 0
    assert f"mount or link {tmp_path / 'elsewhere'} there" in " ".join(capsys.readouterr().out.split())
    assert _run(monkeypatch, "sql", "SELECT count(*) AS n FROM predictions", "--format", "json") == 0
    assert '{"n": 3}' in capsys.readouterr().out
