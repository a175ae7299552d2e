"""Guarantees of the loop as a whole: one demo of the tiny use case, looked at from every side.

Everything is real: Dagster instance and daemon, Feast, MLflow, BentoML service and shadow worker, DuckDB files.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest

from shadow_platform.resources import PlatformResource
from shadow_platform_tests.end_to_end.loop import PATIENT_MS
from shadow_platform_tests.tiny import USE_CASE

ADDRESS = "shadow_platform_tests.tiny:USE_CASE"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(1800)


def shadow(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the ``shadow`` command on a home folder as a user would."""
    environment = {
        **os.environ,
        "SHADOW_HOME": str(home),
        "SHADOW_EXTRA_USE_CASES": ADDRESS,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "ONLINE_TIMEOUT_MS": PATIENT_MS,
    }
    command = [sys.executable, "-c", "from shadow_platform.cli import app; app()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home.parent)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder on which the demo has been played once."""
    folder = tmp_path_factory.mktemp("loop") / "data"
    done = shadow(folder, "demo", "--use-case", ADDRESS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def warehouse(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published warehouse, held open by an analyst for the rest of the module."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        yield connection


def query(warehouse: duckdb.DuckDBPyConnection, sql: str) -> pd.DataFrame:
    return warehouse.execute(sql).df()


def test_every_prediction_is_compared_failed_or_dropped(warehouse: duckdb.DuckDBPyConnection) -> None:
    counts = query(
        warehouse,
        """SELECT count(*) AS predictions, count(c.request_id) AS compared
           FROM predictions p LEFT JOIN (SELECT DISTINCT request_id FROM shadow_comparisons) c USING (request_id)""",
    )
    assert counts["predictions"][0] > 0
    assert counts["predictions"][0] == counts["compared"][0]


def test_every_recorded_request_is_answered_once(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert USE_CASE.demo is not None
    n = (USE_CASE.demo.serve_until - USE_CASE.demo.serve_from).days * 200
    found = query(warehouse, "SELECT count(*) AS n, count(DISTINCT subject_id) AS subjects FROM predictions")
    assert (found["n"][0], found["subjects"][0]) == (n, n)


def test_features_come_from_request_and_online_store(warehouse: duckdb.DuckDBPyConnection) -> None:
    sources = query(
        warehouse, "SELECT avg(features_from_request) AS r, avg(features_from_online) AS o FROM predictions"
    )
    assert sources["r"][0] == 2
    assert sources["o"][0] > 1.5


def test_no_label_is_known_before_it_happened(warehouse: duckdb.DuckDBPyConnection) -> None:
    labels = query(warehouse, "SELECT count(*) AS n, count(*) FILTER (known_at < event_at) AS early FROM labels")
    assert labels["n"][0] > 0
    assert labels["early"][0] == 0


def test_the_injected_shift_fails_the_drift_verdict(warehouse: duckdb.DuckDBPyConnection) -> None:
    verdicts = query(warehouse, "SELECT window_end, outcome, explanation FROM drift_verdicts ORDER BY window_end")
    assert verdicts["outcome"].iloc[-1] == "fail"
    assert "channel" in verdicts["explanation"].iloc[-1]


def test_failing_drift_starts_exactly_one_retraining(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="tiny_retrain"))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]


def test_the_gate_states_every_criterion_with_its_numbers(warehouse: duckdb.DuckDBPyConnection) -> None:
    decisions = query(warehouse, "SELECT decision, criteria, reason FROM gate_decisions")
    assert len(decisions) >= 1
    assert set(decisions["decision"]) <= {"promote", "wait", "reject"}
    assert all('"limit"' in criteria and '"n"' in criteria for criteria in decisions["criteria"])


def test_the_better_challenger_is_promoted_and_rollback_undoes_it(home: Path) -> None:
    platform = PlatformResource(shadow_home=str(home))
    manifest = platform.manifest(USE_CASE)
    assert manifest is not None
    assert manifest.previous is not None
    assert manifest.champion.version == platform.registry().alias("tiny", "champion") != manifest.previous.version
    undone = platform.deploy(USE_CASE, "rollback", actor="test", reason="undo")
    assert undone.champion.version == manifest.previous.version
    assert platform.registry().alias("tiny", "champion") == manifest.previous.version


def test_a_bento_of_the_promoted_deployment_was_built(home: Path) -> None:
    built = [path for path in (home / "bentoml" / "bentos" / "tiny").iterdir() if path.is_dir()]
    assert built


def test_a_second_demo_continues_and_changes_nothing_it_already_did(
    home: Path, warehouse: duckdb.DuckDBPyConnection
) -> None:
    before = query(warehouse, "SELECT count(*) AS n FROM predictions")["n"][0]
    done = shadow(home, "demo", "--use-case", ADDRESS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        assert query(connection, "SELECT count(*) AS n FROM predictions")["n"][0] == before


def test_two_demos_at_once_are_refused_in_one_line(home: Path) -> None:
    from filelock import FileLock

    lock = PlatformResource(shadow_home=str(home)).layout.locks("demo-tiny")
    with FileLock(lock):
        done = shadow(home, "demo", "--use-case", ADDRESS)
    assert done.returncode == 2
    assert "another demo is running" in done.stderr
