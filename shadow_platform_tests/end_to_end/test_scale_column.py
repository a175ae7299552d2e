"""Guarantees of the scale column, all of it at once: the flights loop passes when every part is a server of its own.

Dagster and MLflow on Postgres, artifacts, feature rows and table copies in an object store, features online in a server
that speaks Redis' protocol, events and logs through a broker that speaks Kafka's, two serving workers in a home of
their own, every run taken from the queue by a daemon and started by a code server. All of it is real.
"""

import json
from collections.abc import Iterator

import duckdb
import httpx
import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest
import redis
from pyarrow import fs

from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.cli.traffic import recorded_requests
from shadow_platform.contracts.retraining import HOST_TAG
from shadow_platform.contracts.tables import TABLES
from shadow_platform.partitions import start_of
from shadow_platform_tests.adapters.test_table_copies import S3
from shadow_platform_tests.end_to_end.columns import servers
from shadow_platform_tests.end_to_end.loop import PATIENCE_S, Loop
from shadow_platform_tests.end_to_end.short.flights import USE_CASE
from shadow_platform_tests.registry_servers import BUCKET

pytestmark = [pytest.mark.processes, pytest.mark.timeout(3600)]
JOBS = ("ingest", "train", "materialize", "monitor", "retrain", "compare", "label", "decide")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """The loop, played on the scale column; its processes go on until the last test."""
    folder = tmp_path_factory.mktemp("scale")
    with servers(folder / "servers") as column, Loop(folder, column) as loop:
        loop.play()
        yield loop


@pytest.fixture(scope="module")
def lake(played: Loop) -> Lake:
    """Tables of the platform's home."""
    return Lake(played.layout)


@pytest.fixture
def object_store_files(played: Loop, monkeypatch: pytest.MonkeyPatch) -> fs.FileSystem:
    """The object store, as one with its key reads it."""
    for name, value in played.column.settings.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return fs.FileSystem.from_uri(f"s3://{BUCKET}")[0]


def rows_of(played: Loop, setting: str, query: str) -> list[tuple[object, ...]]:
    """Rows that Postgres holds in the database of a setting."""
    with psycopg.connect(played.column.settings[setting].replace("+psycopg2", "")) as connection:
        return connection.execute(query.encode()).fetchall()


def test_two_workers_answer_every_request_and_it_lands_byte_for_byte(played: Loop, lake: Lake) -> None:
    here, there = (layout.log("predictions", "flights") for layout in (played.layout, played.layout_of_serving))
    logged = {path.relative_to(there): path.read_bytes() for path in there.rglob("*.jsonl")}
    assert {path.relative_to(here): path.read_bytes() for path in here.rglob("*.jsonl")} == logged
    assert len(httpx.get(f"{played.url}/model", timeout=PATIENCE_S, trust_env=False).json()["workers"]) == 2
    period = start_of(played.plan.serve_from), start_of(played.plan.serve_until)
    asked = recorded_requests(lake, USE_CASE, *period)
    answered = lake.sql("SELECT subject_id, features_from_online AS n FROM predictions")
    assert sorted(answered["subject_id"]) == sorted(asked["subject_id"])
    assert len(asked) > 1_500
    assert answered["n"].mean() > 10


def test_every_answer_is_compared_once_with_every_challenger(lake: Lake) -> None:
    n_answers = lake.sql("SELECT count(*) AS n FROM predictions")["n"][0]
    counts = lake.sql(
        """SELECT challenger_version, count(*) AS n, count(DISTINCT request_id) AS requests,
                  count(*) FILTER (outcome = 'compared') AS compared
           FROM shadow_comparisons GROUP BY ALL ORDER BY ALL"""
    )
    assert len(counts) == 2, "the first challenger, and the one that was trained on failing drift"
    assert set(counts["n"]) == set(counts["requests"]) == set(counts["compared"]) == {n_answers}


def test_every_run_waited_in_the_queue_and_lies_in_postgres(played: Loop) -> None:
    for job in JOBS:
        runs = played.runs(job)
        assert [run["status"] for run in runs].count("SUCCESS") == 1, (job, runs)
        assert all(HOST_TAG in run["tags"] for run in runs if run["status"] == "SUCCESS")
    found = rows_of(played, "DAGSTER_POSTGRES_URL", "SELECT DISTINCT pipeline_name FROM runs WHERE status = 'SUCCESS'")
    assert {f"flights_{job}" for job in JOBS} <= {str(row[0]) for row in found}
    queued = "SELECT count(DISTINCT run_id) FROM event_logs WHERE dagster_event_type = 'PIPELINE_ENQUEUED'"
    assert rows_of(played, "DAGSTER_POSTGRES_URL", queued)[0][0] >= len(JOBS)  # type: ignore[operator]
    assert not list(played.layout.dagster.rglob("*.db")), "SQLite was used"


def test_failing_drift_started_the_one_retraining(played: Loop, lake: Lake) -> None:
    assert set(lake.sql("SELECT outcome FROM drift_verdicts")["outcome"]) == {"fail"}
    (run,) = (run for run in played.runs("retrain") if run["status"] == "SUCCESS")
    assert run["tags"]["dagster/sensor_name"] == "flights_retrain_on_drift"


def test_labels_came_and_the_gate_judged_the_challengers_on_them(lake: Lake) -> None:
    labelled = lake.sql("SELECT count(*) AS n, count(*) FILTER (known_at < event_at) AS early FROM labels")
    assert labelled["n"][0] > 1_500
    assert labelled["early"][0] == 0
    daily = lake.sql("SELECT sum(n_labelled) AS n, max(log_loss) AS worst FROM performance_daily")
    assert daily["n"][0] > 1_500
    assert 0 < daily["worst"][0] < 1
    decisions = lake.sql("SELECT decision, criteria FROM gate_decisions")
    assert len(decisions) >= 1
    assert set(decisions["decision"]) <= {"promote", "wait", "reject"}
    assert all(json.loads(criteria) for criteria in decisions["criteria"])


def test_models_are_in_postgres_and_their_bundles_in_the_object_store(
    played: Loop, object_store_files: fs.FileSystem
) -> None:
    versions = rows_of(played, "MLFLOW_TRACKING_URI", "SELECT version, source FROM model_versions ORDER BY version")
    assert [row[0] for row in versions] == [1, 2, 3]
    for _, source in versions:
        held = object_store_files.get_file_info(f"{str(source).removeprefix('s3://')}/model.onnx")
        assert held.size > 1_000, source
    assert not list((played.layout.mlflow).rglob("*.onnx"))
    assert not list(played.layout.mlflow.rglob("*.db"))


def test_features_are_in_redis_and_the_object_store(
    played: Loop, lake: Lake, object_store_files: fs.FileSystem
) -> None:
    with redis.Redis.from_url(played.column.settings["REDIS_URL"]) as client:
        assert client.dbsize() > 1_000
    assert rows_of(played, "POSTGRES_URL", "SELECT count(*) FROM feature_views")[0][0] == len(USE_CASE.views)
    root = played.column.settings["FEATURES_URL"].removeprefix("s3://")
    for view in USE_CASE.views:
        day = lake.feature_days(USE_CASE, view)[-1]
        here = pq.read_table(played.layout.features("flights", view.name, day), partitioning=None)
        there = f"{root}/flights/{view.name}/dt={day}/data.parquet"
        assert pq.read_table(there, filesystem=object_store_files, partitioning=None).equals(here)
    assert not list(played.layout.feast.rglob("*.db"))


def test_events_came_through_the_broker(played: Loop, lake: Lake) -> None:
    lines = [line for path in (played.home / "stream").rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    n_events = sum(len(lake.events_sql(f"SELECT 1 FROM {kind.name}", USE_CASE, [kind])) for kind in USE_CASE.events)
    assert len(lines) == n_events > 30_000
    assert {json.loads(line)["topic"] for line in lines} == {kind.topic.name for kind in USE_CASE.events if kind.topic}


def test_an_analyst_far_away_reads_the_tables_of_here(
    played: Loop, lake: Lake, object_store_files: fs.FileSystem
) -> None:
    root = played.column.settings["TABLES_URL"].removeprefix("s3://")
    with object_store_files.open_input_file(f"{root}/views.sql") as file:
        views = bytes(file.read()).decode()
    with duckdb.connect() as far_away:
        far_away.execute("SET TimeZone = 'UTC'")
        far_away.register_filesystem(S3(object_store_files))
        far_away.execute(views)
        # The last job that copies is the last that writes; sensors note what they do at any time.
        for name in ("predictions", "shadow_comparisons", "labels", "performance_daily", "gate_decisions"):
            query = f"SELECT * FROM {name} ORDER BY ALL"
            pd.testing.assert_frame_equal(far_away.execute(query).df(), lake.sql(query))
        assert {
            row[0] for row in far_away.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        } == {schema.name for schema in TABLES}


def test_both_workers_answer_with_the_champion_of_the_manifest_in_the_other_home(played: Loop) -> None:
    manifest = read_manifest(played.layout.manifest("flights"))
    assert manifest is not None
    answers = [httpx.get(f"{played.url}/model", timeout=PATIENCE_S, trust_env=False).json() for _ in range(10)]
    assert {answer["champion"]["version"] for answer in answers} == {manifest.champion.version}
    assert not played.layout_of_serving.manifest("flights").exists()
    assert not played.layout_of_serving.bundles.exists()
