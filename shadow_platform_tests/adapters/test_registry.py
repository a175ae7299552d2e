"""Guarantees of every registry: versions, aliases and bundles, on MLflow and in memory alike; then MLflow's faults."""

import multiprocessing
import os
import re
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from sqlalchemy import event

from shadow_platform.adapters.bundle import Bundle, bundle_hash
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.contracts.errors import BundleError, RegistryError, TransitionConflict
from shadow_platform.contracts.ports import Registry
from shadow_platform.contracts.retraining import ENVIRONMENT_TAG, PROMOTE_TAG
from shadow_platform_tests.fakes import FakeRegistry
from shadow_platform_tests.feature_servers import Postgres
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore
from shadow_platform_tests.trained import make_bundle

SPAWN = multiprocessing.get_context("spawn")
PATIENCE_S = 150.0


def _mlflow(home: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts", bundle_hash)


def _run(registry: Registry) -> str:
    if not isinstance(registry, MlflowRegistry):
        return "run"
    experiment = registry._client.get_experiment_by_name(registry.experiment("tiny"))
    assert experiment is not None
    return str(registry._client.create_run(experiment.experiment_id).info.run_id)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store, made once: making one takes seconds."""
    home = tmp_path_factory.mktemp("store")
    _mlflow(home).experiment("tiny")
    return home


@pytest.fixture
def home(store: Path, tmp_path: Path) -> Path:
    """A fresh MLflow home."""
    with sqlite3.connect(store / "mlflow.db") as source, sqlite3.connect(tmp_path / "mlflow.db") as target:
        source.backup(target)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        location = (tmp_path / "artifacts" / "tiny").as_uri()
        database.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'tiny'", [location])
    return tmp_path


@pytest.fixture(scope="session")
def _shared_database(_postgres: Postgres) -> str:
    """Address of a Postgres database for MLflow, made once: making its tables takes seconds."""
    return _postgres.start().new_database().replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture
def shared_database(
    _shared_database: str, object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowRegistry]:
    """MLflow on Postgres, with the artifacts of new experiments in an object store."""
    for name, value in object_store.settings.items():
        monkeypatch.setenv(name, value)
    registry = MlflowRegistry(_shared_database, tmp_path / "artifacts", bundle_hash, f"s3://{BUCKET}/of-postgres")
    yield registry
    if registry.newest("tiny", 1):
        registry._client.delete_registered_model("tiny")


@pytest.fixture(params=["database", "shared_database", "open_server", "guarded_server", "fake"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry of each kind: MLflow on a file, on Postgres, behind a server, one with users, in memory."""
    if request.param == "fake":
        yield FakeRegistry()
    elif request.param == "database":
        yield _mlflow(request.getfixturevalue("home"))
    elif request.param == "shared_database":
        yield request.getfixturevalue("shared_database")
    else:
        server = request.getfixturevalue(request.param)
        registry = MlflowRegistry(server.uri, tmp_path / "artifacts", bundle_hash)
        yield registry
        if registry.newest("tiny", 1):
            registry._client.delete_registered_model("tiny")


@pytest.fixture
def registered(registry, tmp_path):
    """Registry with versions 1 and 2."""
    run = _run(registry)
    for seed in (1, 2):
        registry.register("tiny", make_bundle(tmp_path / "made", seed=seed)[1], run, {"role": "champion"})
    return registry


def test_version_says_what_was_registered(registry, tmp_path):
    digest, folder = make_bundle(tmp_path / "made")
    run = _run(registry)
    version = registry.register("tiny", folder, run, {"trigger": "drift"})
    assert (version.use_case, version.version, version.model_name) == ("tiny", "1", "line")
    assert (version.bundle_hash, version.run_id, version.tags) == (digest, run, {"trigger": "drift"})
    assert version.metrics == {"roc_auc": 0.7, "log_loss": 0.5}
    assert version.aliases == ()
    assert version == registry.get("tiny", "1") == registry.versions("tiny")[0]


def test_same_bundle_gives_the_version_it_has(registered, tmp_path):
    _, folder = make_bundle(tmp_path / "made", seed=1)
    assert registered.register("tiny", folder, _run(registered), {}).version == "1"
    assert [version.version for version in registered.versions("tiny")] == ["1", "2"]


def test_a_version_that_is_trained_again_is_restricted_further_and_never_freed(registered, tmp_path):
    _, folder = make_bundle(tmp_path / "made", seed=1)
    run = _run(registered)
    strict = {PROMOTE_TAG: "false", ENVIRONMENT_TAG: "production"}
    for asked in (strict, {PROMOTE_TAG: "true", ENVIRONMENT_TAG: "staging", "role": "challenger"}):
        found = registered.register("tiny", folder, run, asked)
        assert found.tags == {"role": "champion"} | strict
    assert registered.get("tiny", "1").tags == {"role": "champion"} | strict


def _alias_or_refusal(registry, model):
    try:
        return str(registry.alias(model, "champion"))
    except RegistryError as refusal:
        return str(refusal)


def test_unknown_names_are_refused_or_empty(registered):
    with pytest.raises(RegistryError, match="version '9' of tiny does not exist"):
        registered.get("tiny", "9")
    # A server with users does not tell a stranger whether a model exists.
    with pytest.raises(RegistryError, match=r"version '1' of other does not exist|may not do this"):
        registered.get("other", "1")
    assert registered.versions("other") == []
    assert re.fullmatch("None|.*may not do this.*", _alias_or_refusal(registered, "other"), re.DOTALL)
    assert registered.alias("tiny", "champion") is None


def test_newest_versions_come_first_and_no_more_than_asked_for(registered):
    registered.swap_alias("tiny", "champion", None, "1")
    newest = registered.newest("tiny", 20)
    assert [(version.version, version.aliases) for version in newest] == [("2", ()), ("1", ("champion",))]
    assert registered.newest("tiny", 1) == newest[:1]
    assert registered.newest("other", 20) == []


def test_no_alias_exists_that_nobody_set(registered):
    assert registered.alias("tiny", "latest") is None


def test_bundle_of_another_use_case_is_refused(registry, tmp_path):
    _, folder = make_bundle(tmp_path / "made", use_case="other")
    with pytest.raises(RegistryError, match="is of use case 'other', expected 'tiny'"):
        registry.register("tiny", folder, _run(registry), {})
    assert registry.versions("tiny") == []


def test_incomplete_bundle_is_refused(registry, tmp_path):
    _, folder = make_bundle(tmp_path / "made")
    (folder / "selftest.json").unlink()
    with pytest.raises(BundleError, match=r"lacks selftest\.json"):
        registry.register("tiny", folder, _run(registry), {})
    assert registry.versions("tiny") == []


def test_alias_moves_only_from_where_it_is(registered):
    registered.swap_alias("tiny", "champion", None, "1")
    with pytest.raises(TransitionConflict, match="alias 'champion' of tiny is at version 1, expected None"):
        registered.swap_alias("tiny", "champion", None, "2")
    with pytest.raises(TransitionConflict, match="is at version 1, expected 2"):
        registered.swap_alias("tiny", "champion", "2", None)
    assert registered.alias("tiny", "champion") == "1"
    registered.swap_alias("tiny", "champion", "1", "2")
    assert registered.get("tiny", "2").aliases == ("champion",)
    assert registered.get("tiny", "1").aliases == ()
    registered.swap_alias("tiny", "champion", "2", None)
    assert registered.alias("tiny", "champion") is None


def test_alias_never_points_to_a_version_that_does_not_exist(registered):
    with pytest.raises(RegistryError, match="version '9'"):
        registered.swap_alias("tiny", "champion", None, "9")
    assert registered.alias("tiny", "champion") is None


def test_fetched_bundle_is_the_registered_one(registered, tmp_path):
    version = registered.get("tiny", "2")
    folder = registered.fetch_bundle("tiny", "2", tmp_path / "bundles")
    assert folder == tmp_path / "bundles" / version.bundle_hash
    assert Bundle.load(folder).manifest.seed == 2
    assert registered.fetch_bundle("tiny", "2", tmp_path / "bundles") == folder
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [version.bundle_hash]


def test_altered_copy_is_refused(registered, tmp_path):
    folder = registered.fetch_bundle("tiny", "1", tmp_path / "bundles")
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"has hash .*, expected"):
        registered.fetch_bundle("tiny", "1", tmp_path / "bundles")


def test_one_of_many_threads_wins_an_alias(registered):
    def swap(version: str) -> bool:
        try:
            registered.swap_alias("tiny", "champion", None, version)
        except TransitionConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(swap, ["1", "2"] * 4))
    assert sum(won) == 1


def test_tampered_artifact_is_refused_and_leaves_nothing(home, tmp_path):
    registry = _mlflow(home)
    _, folder = make_bundle(tmp_path / "made")
    registry.register("tiny", folder, _run(registry), {})
    next((home / "artifacts").rglob("bundle.json")).write_text("{}")
    with pytest.raises(BundleError, match="the artifact of version 1 was altered"):
        registry.fetch_bundle("tiny", "1", tmp_path / "bundles")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_lost_artifact_is_an_error_that_names_the_registry(home, tmp_path):
    registry = _mlflow(home)
    registry.register("tiny", make_bundle(tmp_path / "made")[1], _run(registry), {})
    for path in (home / "artifacts").rglob("*/bundles/*/*"):
        path.unlink()
    with pytest.raises((RegistryError, BundleError)):
        registry.fetch_bundle("tiny", "1", tmp_path / "bundles")


def _swap(home: Path, barrier, outcomes, version: str) -> None:
    registry = _mlflow(home)
    registry.alias("tiny", "champion")
    barrier.wait()
    try:
        registry.swap_alias("tiny", "champion", None, version)
        outcomes.put(version)
    except TransitionConflict:
        outcomes.put(None)


def test_one_of_two_processes_wins_an_alias(home, tmp_path):
    registry = _mlflow(home)
    for seed in (1, 2):
        registry.register("tiny", make_bundle(tmp_path / "made", seed=seed)[1], _run(registry), {})
    barrier, outcomes = SPAWN.Barrier(2), SPAWN.Queue()
    processes = [SPAWN.Process(target=_swap, args=(home, barrier, outcomes, version)) for version in ("1", "2")]
    for process in processes:
        process.start()
    won = [outcomes.get(timeout=PATIENCE_S) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(won, key=str) == sorted([registry.alias("tiny", "champion"), None], key=str)


def _register_and_hang(home: Path, bundle: Path, run: str, uploaded) -> None:
    registry = _mlflow(home)
    upload = registry._client.log_artifacts

    def hang(*arguments: str) -> None:
        upload(*arguments)
        uploaded.set()
        time.sleep(2 * PATIENCE_S)

    registry._client.log_artifacts = hang  # type: ignore[method-assign, assignment]
    registry.register("tiny", bundle, run, {})


def test_killed_registration_leaves_no_half_version(home, tmp_path):
    registry = _mlflow(home)
    digest, folder = make_bundle(tmp_path / "made")
    run, uploaded = _run(registry), SPAWN.Event()
    process = SPAWN.Process(target=_register_and_hang, args=(home, folder, run, uploaded))
    process.start()
    assert uploaded.wait(PATIENCE_S)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert registry.versions("tiny") == []
    version = registry.register("tiny", folder, run, {})
    assert (version.version, version.bundle_hash) == ("1", digest)
    Bundle.load(registry.fetch_bundle("tiny", "1", tmp_path / "bundles")).selftest()


def test_store_may_be_opened_by_many_at_once(tmp_path):
    registries = [_mlflow(tmp_path) for _ in range(3)]
    threads = [threading.Thread(target=registry.experiment, args=("tiny",)) for registry in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([e for e in registries[0]._client.search_experiments() if e.name == "tiny"]) == 1


def test_artifacts_lie_where_they_were_told_to(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    registry = _mlflow(tmp_path)
    registry.experiment("tiny")
    for experiment in registry._client.search_experiments():
        assert experiment.artifact_location.startswith((tmp_path / "artifacts").as_uri())
    assert list((tmp_path / "cwd").iterdir()) == []


def test_artifacts_of_a_shared_database_lie_in_the_object_store(
    shared_database: MlflowRegistry, object_store: ObjectStore, tmp_path: Path
) -> None:
    digest, folder = make_bundle(tmp_path / "made")
    shared_database.register("tiny", folder, _run(shared_database), {})
    assert [key for key in object_store.keys("model.onnx") if key.startswith("of-postgres/tiny/") and digest in key]
    assert not [path for path in tmp_path.rglob("*.onnx") if not path.is_relative_to(tmp_path / "made")]
    assert shared_database.fetch_bundle("tiny", "1", tmp_path / "fetched").name == digest


def test_a_shared_database_that_is_away_is_named_without_its_password(tmp_path: Path, free_port: int) -> None:
    place = f"127.0.0.1:{free_port}/mlflow"
    registry = MlflowRegistry(f"postgresql+psycopg2://mlflow:a-secret@{place}", tmp_path, bundle_hash)
    with pytest.raises(RegistryError, match=f"model registry postgresql.psycopg2://{place} failed") as raised:
        registry.newest("tiny", 1)
    assert "a-secret" not in "".join(traceback.format_exception(raised.value))


def test_database_that_is_none_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is not a database, but long enough to be read as one" * 10)
    with pytest.raises(RegistryError, match=r"model registry sqlite:///.*mlflow\.db failed .*not a database"):
        _mlflow(tmp_path).versions("tiny")


def test_asking_for_one_version_or_alias_reads_no_other(home, tmp_path):
    registry = _mlflow(home)
    run = _run(registry)
    for seed in (1, 2, 3):
        registry.register("tiny", make_bundle(tmp_path / "made", seed=seed)[1], run, {})
    registry.swap_alias("tiny", "champion", None, "2")
    loaded: list[int] = []

    def listener(version: SqlModelVersion, _: object) -> None:
        loaded.append(int(str(version.version)))

    event.listen(SqlModelVersion, "load", listener)
    try:
        assert registry.get("tiny", "2").aliases == ("champion",)
        assert registry.alias("tiny", "champion") == "2"
        assert registry.register("tiny", make_bundle(tmp_path / "made", seed=2)[1], run, {}).version == "2"
        registry.swap_alias("tiny", "previous", None, "2")
        registry.swap_alias("tiny", "champion", "2", None)
    finally:
        event.remove(SqlModelVersion, "load", listener)
    assert set(loaded) == {2}


def test_server_that_does_not_answer_is_named(tmp_path, monkeypatch, free_port):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = MlflowRegistry(f"http://someone:secret@127.0.0.1:{free_port}", tmp_path, bundle_hash)
    with pytest.raises(RegistryError, match=rf"model registry http://127\.0\.0\.1:{free_port} failed") as raised:
        registry.alias("tiny", "champion")
    assert "MLFLOW_TRACKING_URI" in str(raised.value)
    assert "secret" not in "".join(traceback.format_exception(raised.value))
