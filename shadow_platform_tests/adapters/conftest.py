"""Servers that tests of adapters share, because they take seconds to start."""

from collections.abc import Iterator

import pytest

from shadow_platform_tests.feature_servers import _postgres, _valkey, postgres, valkey
from shadow_platform_tests.registry_servers import ObjectStore, TrackingServer
from shadow_platform_tests.scale_column import ray_here, scale_stores

__all__ = ["_postgres", "_valkey", "postgres", "ray_here", "scale_stores", "valkey"]


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 object store with one bucket."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    try:
        yield store.start()
    finally:
        store.stop()


@pytest.fixture(scope="session")
def _guarded(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("guarded"), object_store)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _open(tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("open"), object_store, is_guarded=False)
    yield server
    server.stop()


def _as_client_of(server: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> TrackingServer:
    # Once more, at once: a server closes an idle connection, and may do so while a request is on its way.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    for name, value in server.start().client_settings().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def guarded_server(_guarded: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> TrackingServer:
    """MLflow's server with users and proxied artifacts; the environment is that of its client, who has no S3 key."""
    return _as_client_of(_guarded, monkeypatch)


@pytest.fixture
def open_server(_open: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> TrackingServer:
    """MLflow's server for anyone; clients write artifacts to the object store themselves, with the key they have."""
    return _as_client_of(_open, monkeypatch)
