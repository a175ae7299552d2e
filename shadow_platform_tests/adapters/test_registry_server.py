"""Guarantees of a shared registry: users, artifacts in an object store, and a server that may be away.

What every registry must do is held by ``test_registry``, which runs on these servers too.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.contracts.errors import BundleError, RegistryError
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.home_of_tiny import TinyHome
from shadow_platform_tests.poison import Poison
from shadow_platform_tests.registry_servers import PLATFORM, READER, TrackingServer
from shadow_platform_tests.tiny import USE_CASE
from shadow_platform_tests.trained import make_bundle

ADDED = {"actor": "tester", "reason": "because"}


def _run(platform: PlatformResource) -> str:
    registry = platform.registry()
    experiment = registry._client.get_experiment_by_name(registry.experiment("tiny"))
    assert experiment is not None
    return str(registry._client.create_run(experiment.experiment_id).info.run_id)


def _registered(platform: PlatformResource, folder: Path, seed: int) -> str:
    _, bundle = make_bundle(folder, seed=seed)
    return platform.registry().register("tiny", bundle, _run(platform), {"trigger": "manual"}).version


@pytest.fixture
def platform(
    guarded_server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PlatformResource]:
    """A home without versions whose registry is the server, told by the environment alone."""
    platform = PlatformResource(shadow_home=str(tmp_path / "home"))
    yield platform
    _become(PLATFORM, monkeypatch)
    registry = platform.registry()
    if registry.newest("tiny", 1):
        registry._client.delete_registered_model("tiny")


@pytest.fixture
def two_versions(platform: PlatformResource, tmp_path: Path) -> PlatformResource:
    """Version 1 serves, version 2 may replace it."""
    assert [_registered(platform, tmp_path / "made", seed) for seed in (1, 2)] == ["1", "2"]
    platform.deploy(USE_CASE, "deploy_initial", version="1", **ADDED)
    return platform


def _become(user: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", user[1])


def test_a_model_is_trained_registered_promoted_and_fetched_through_the_server(
    platform: PlatformResource, guarded_server: TrackingServer, tmp_path: Path
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        home = TinyHome(platform.layout.home, instance).make_data()
        home.materialize("training_frame", "champion_model")
    version = platform.registry().get("tiny", "1")
    platform.deploy(USE_CASE, "deploy_initial", version="1", **ADDED)
    assert platform.registry().get("tiny", "1").aliases == ("champion",)
    fetched = PlatformResource(shadow_home=str(tmp_path / "another machine"))
    bundle = fetched.bundle(USE_CASE, "1")
    assert bundle.folder == fetched.layout.bundles / version.bundle_hash
    assert callable(fetched.estimator(USE_CASE, "1").predict_proba)
    assert not list((platform.layout.mlflow / "artifacts").rglob("*.onnx")), "artifacts belong in the object store"
    assert any(version.bundle_hash in key for key in guarded_server.store.keys("model.onnx"))
    _assert_poison_is_not_executed(fetched, guarded_server, tmp_path)


def _assert_poison_is_not_executed(platform: PlatformResource, server: TrackingServer, folder: Path) -> None:
    poison = Poison(folder / "executed")
    (key,) = server.store.keys("model.skops")
    server.store.replace(key, poison.pickled())
    with pytest.raises(BundleError, match="is no skops file"):
        platform.estimator(USE_CASE, "1")
    assert not poison.marker.exists()


@pytest.mark.parametrize("kind", ["guarded_server", "open_server"])
def test_a_bundle_altered_or_lost_in_the_object_store_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    server: TrackingServer = request.getfixturevalue(kind)
    platform = PlatformResource(shadow_home=str(tmp_path / "home"))
    version = _registered(platform, tmp_path / "made", seed=3)
    digest = platform.registry().get("tiny", version).bundle_hash
    (key,) = [key for key in server.store.keys("model.onnx") if digest in key]
    server.store.replace(key, b"another model")
    with pytest.raises(BundleError, match=rf"has hash .*, expected {digest}; the artifact of version {version} was"):
        platform.bundle(USE_CASE, version)
    with pytest.raises(BundleError, match="was altered"):
        platform.deploy(USE_CASE, "deploy_initial", version=version, **ADDED)
    assert platform.manifest(USE_CASE) is None
    server.store.client().delete_object(Bucket="models", Key=key)
    with pytest.raises((BundleError, RegistryError)):
        platform.bundle(USE_CASE, version)
    assert list(platform.layout.bundles.iterdir()) == []
    platform.registry()._client.delete_registered_model("tiny")


@pytest.mark.parametrize("place", ["environment", "address"])
def test_a_wrong_password_is_an_error_that_does_not_tell_it(
    guarded_server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    uri = guarded_server.uri
    if place == "environment":
        _become((PLATFORM[0], "a-guess"), monkeypatch)
    else:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            monkeypatch.delenv(name)
        uri = uri.replace("http://", f"http://{PLATFORM[0]}:a-guess@")
    with pytest.raises(RegistryError, match=rf"model registry {guarded_server.uri} failed .*") as raised:
        MlflowRegistry(uri, tmp_path, lambda folder: folder.name).versions("tiny")
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in str(raised.value)
    assert "a-guess" not in "".join(traceback.format_exception(raised.value))


def test_who_may_only_read_lists_and_fetches_but_neither_promotes_nor_registers(
    two_versions: PlatformResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, (_, bundle) = _run(two_versions), make_bundle(tmp_path / "made", seed=3)
    _become(READER, monkeypatch)
    registry = two_versions.registry()
    assert [version.version for version in registry.newest("tiny", 20)] == ["2", "1"]
    assert (registry.alias("tiny", "champion"), registry.alias("tiny", "previous")) == ("1", None)
    assert registry.fetch_bundle("tiny", "2", tmp_path / "bundles").is_dir()
    refused = r"user 'reader' may not do this: .*permission MANAGE.*MLFLOW_TRACKING_USERNAME"
    with pytest.raises(RegistryError, match=refused):
        two_versions.deploy(USE_CASE, "promote", version="2", **ADDED)
    with pytest.raises(RegistryError, match=refused):
        registry.swap_alias("tiny", "champion", "1", None)
    with pytest.raises(RegistryError, match=refused):
        registry.register("tiny", bundle, run, {})
    _become(PLATFORM, monkeypatch)
    assert two_versions.registry().alias("tiny", "champion") == "1"
    manifest = two_versions.reconcile(USE_CASE)
    assert manifest is not None
    assert manifest.champion.version == "1"
    assert len(two_versions.registry().versions("tiny")) == 2


def test_while_the_server_is_away_nothing_changes_but_what_must_not_wait_for_it(
    two_versions: PlatformResource, guarded_server: TrackingServer
) -> None:
    before = two_versions.deploy(USE_CASE, "promote", version="2", **ADDED)
    guarded_server.stop()
    with pytest.raises(RegistryError, match=rf"model registry {guarded_server.uri} failed .*; check that it is reach"):
        two_versions.deploy(USE_CASE, "rollback", **ADDED)
    assert two_versions.manifest(USE_CASE) == before
    two_versions.bundles().load(before.champion.bundle_hash).selftest()
    back = two_versions.deploy_without_registry(
        USE_CASE, "emergency_rollback", actor="guard", reason="errors", expected_generation=before.generation
    )
    assert back.champion.version == "1"
    guarded_server.start()
    assert two_versions.registry().alias("tiny", "champion") == "2"
    assert two_versions.reconcile(USE_CASE) == back
    assert two_versions.registry().alias("tiny", "champion") == "1"
