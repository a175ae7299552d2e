"""``shadow migrate``: every storage is there afterwards, also when two ask at once; no password gets into a file."""

import re

import dagster as dg
import psycopg
import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.cli.runs import prepare_dagster_home
from shadow_platform.contracts.errors import SettingsError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import POSTGRES_OF_DAGSTER, load_settings
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.feature_servers import Postgres

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
MIGRATE, MIGRATED_S = ["-m", "shadow_platform.cli", "migrate"], 250.0


def of_dagster(url: str) -> str:
    """The address of a database as Dagster's storage takes it."""
    return url.replace("postgresql://postgres@", f"{POSTGRES_OF_DAGSTER}postgres:password-of-dagster@")


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT tablename FROM pg_tables").fetchall()}


def test_two_that_migrate_empty_databases_at_once_both_succeed(
    postgres: Postgres, layout: Layout, start_process: StartProcess
) -> None:
    dagster, mlflow = postgres.new_database(), postgres.new_database()
    environment = {
        "DAGSTER_POSTGRES_URL": of_dagster(dagster),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_ARTIFACTS_URL": "s3://models/of-everyone/",
    }
    both = [start_process(MIGRATE, **environment) for _ in range(2)]
    for one in both:
        assert one.process.wait(MIGRATED_S) == 0, one.text()
        assert "password-of-dagster" not in one.text()
    assert {"runs", "event_logs", "instigators"} <= tables(dagster)
    assert {"experiments", "registered_models"} <= tables(mlflow)
    assert not list(layout.dagster.rglob("*.db"))
    settings = (layout.dagster / "dagster.yaml").read_text()
    assert "env: DAGSTER_POSTGRES_URL" in settings
    assert "password-of-dagster" not in settings
    with psycopg.connect(mlflow) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    assert [str(row[0]) for row in rows] == ["s3://models/of-everyone/default/0"]


def test_what_one_process_reports_another_reads_on_postgres(
    postgres: Postgres, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", of_dagster(postgres.new_database()))
    prepare_dagster_home(load_settings())
    with dg.DagsterInstance.get() as written:
        written.report_runless_asset_event(dg.AssetMaterialization(["tiny", "events"], partition="2024-01-01"))
    with dg.DagsterInstance.from_config(str(layout.dagster)) as read:
        assert read.get_materialized_partitions(dg.AssetKey(["tiny", "events"])) == {"2024-01-01"}


def test_without_postgres_it_is_sqlite_in_the_home_folder(layout: Layout) -> None:
    for _ in range(2):
        result = CliRunner().invoke(typer_app, ["migrate"])
        assert result.exit_code == 0, result.output
        assert f"Dagster's storage (SQLite) is ready; DAGSTER_HOME is {layout.dagster}" in result.output
    assert PlatformResource().registry().newest("tiny", 1) == []
    assert (layout.mlflow / "mlflow.db").exists()


def test_a_database_that_does_not_answer_is_one_line_without_the_password(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"127.0.0.1:{free_port}/dagster"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{POSTGRES_OF_DAGSTER}dagster:password-of-dagster@{address}")
    result = CliRunner().invoke(typer_app, ["migrate"])
    assert isinstance(result.exception, ShadowPlatformError)
    assert re.match(rf"Dagster's storage at {address} cannot be prepared \(.*\); check that it", str(result.exception))
    assert "password-of-dagster" not in f"{result.exception}{result.output}"


def test_an_address_without_the_driver_is_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://dagster:password-of-dagster@db.example.com/dagster")
    with pytest.raises(
        SettingsError, match=r"begins with postgresql://, expected postgresql\+psycopg2://; correct it"
    ) as e:
        prepare_dagster_home(load_settings())
    assert "password" not in str(e.value)
    assert not layout.dagster.exists()


def test_a_database_of_an_older_mlflow_is_upgraded(layout: Layout, start_process: StartProcess) -> None:
    from alembic import command
    from mlflow.store.db import utils

    assert CliRunner().invoke(typer_app, ["migrate"]).exit_code == 0
    url = f"sqlite:///{layout.mlflow / 'mlflow.db'}"
    command.downgrade(utils._get_alembic_config(url), "-1")
    done = start_process(MIGRATE)
    assert done.process.wait(MIGRATED_S) == 0, done.text()
    utils._verify_schema(create_engine(url))


def test_a_password_behind_the_address_is_not_printed(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port}/dagster"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", f"{POSTGRES_OF_DAGSTER}{address}?user=dagster&password=of-dagster")
    result = CliRunner().invoke(typer_app, ["migrate"])
    assert f"storage at {address} cannot be prepared" in str(result.exception)
    assert "of-dagster" not in f"{result.exception}{result.output}"


@pytest.mark.parametrize("name", ["TABLES_URL", "MLFLOW_ARTIFACTS_URL"])
@pytest.mark.parametrize("url", ["/data/tables", "s3://key:secret@bucket/tables"])
def test_a_place_that_is_no_object_store_or_holds_a_key_is_refused(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError, match=rf"^{name}=.*correct it in the environment or .env"):
        load_settings()
