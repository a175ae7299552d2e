"""A bundle that is not what was registered is refused before anything of it is opened, wherever it lies."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import onnxruntime
import pyarrow.parquet as pq
import pytest

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.contracts.errors import BundleError, RegistryError
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform_tests.chaos.versions import NAME, VersionsHome
from shadow_platform_tests.poison import Poison
from shadow_platform_tests.trained import make_bundle

NAMES = ("bundle.json", "model.onnx", "reference.parquet", "selftest.json")


def altered(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)


def truncated(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])


def emptied(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"")


def removed(bundle: Path, name: str) -> None:
    (bundle / name).unlink()


def linked_elsewhere(bundle: Path, name: str) -> None:
    elsewhere = bundle.parent.parent / f"elsewhere-{name}"
    shutil.copy(bundle / name, elsewhere)
    with elsewhere.open("ab") as file:
        file.write(b" ")
    (bundle / name).unlink()
    (bundle / name).symlink_to(elsewhere)


def made_a_folder(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()


def with_a_file_more(bundle: Path, name: str) -> None:
    shutil.copy(bundle / name, bundle / f"more-{name}")


def with_a_pickle(bundle: Path, name: str) -> None:
    Poison(bundle.parent / "was-unpickled").write(bundle / f"{name}.pkl")


HARMS = (altered, truncated, emptied, removed, linked_elsewhere, made_a_folder, with_a_file_more, with_a_pickle)
each_harm = pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
each_file = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> VersionsHome:
    """Version 1 serves."""
    return VersionsHome(tmp_path_factory.mktemp("tampered") / "home").make()


@pytest.fixture
def home(shared_home: VersionsHome, monkeypatch: pytest.MonkeyPatch) -> VersionsHome:
    """Version 1 serves, and whoever opens a model or a table in this test fails it."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", _opened)
    monkeypatch.setattr(pq, "read_table", _opened)
    return shared_home


def _opened(*_: object, **__: object) -> NoReturn:
    raise AssertionError("opened before it was refused")


def _registered(home: VersionsHome) -> RegisteredVersion:
    return home.platform.registry().get(NAME, "2")


@each_file
@each_harm
def test_tampered_folder_is_not_loaded(
    home: VersionsHome, harm: Callable[[Path, str], None], name: str, tmp_path: Path
) -> None:
    digest = _registered(home).bundle_hash
    bundle = Path(shutil.copytree(home.folder / "made" / digest, tmp_path / "bundles" / digest))
    harm(bundle, name)

    with pytest.raises(BundleError, match=digest):
        Bundle.load(bundle)
    with pytest.raises(BundleError, match=digest):
        home.platform.registry().fetch_bundle(NAME, "2", bundle.parent)
    assert not (bundle.parent / "was-unpickled").exists()


@each_harm
def test_tampered_artifact_is_not_fetched(
    home: VersionsHome, harm: Callable[[Path, str], None], tmp_path: Path
) -> None:
    digest = _registered(home).bundle_hash
    (artifact,) = (home.layout.mlflow / "artifacts").rglob(digest)
    intact = shutil.copytree(artifact, tmp_path / "intact")
    harm(artifact, "model.onnx")

    try:
        with pytest.raises((BundleError, RegistryError)):
            home.platform.registry().fetch_bundle(NAME, "2", tmp_path / "bundles")
    finally:
        shutil.rmtree(artifact)
        shutil.copytree(intact, artifact)

    assert list((tmp_path / "bundles").iterdir()) == []


def test_version_whose_artifact_is_tampered_gets_no_alias(home: VersionsHome, tmp_path: Path) -> None:
    digest = home.platform.registry().get(NAME, "3").bundle_hash
    (artifact,) = (home.layout.mlflow / "artifacts").rglob(digest)
    altered(artifact, "model.onnx")

    with pytest.raises(BundleError, match="the artifact of version 3 was altered: train and register again"):
        home.promote("3")

    assert home.manifest.champion.version == "1"
    assert home.platform.registry().get(NAME, "3").aliases == ()
    home.require_agreement()


def test_file_in_the_place_of_a_bundle_is_refused(shared_home: VersionsHome, tmp_path: Path) -> None:
    digest = _registered(shared_home).bundle_hash
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / digest).write_text("no bundle")

    with pytest.raises(BundleError, match=digest):
        Bundle.load(tmp_path / "bundles" / digest)
    with pytest.raises(BundleError, match=digest):
        shared_home.platform.registry().fetch_bundle(NAME, "2", tmp_path / "bundles")
    with pytest.raises(BundleError, match=digest):
        make_bundle(tmp_path / "bundles", seed=2)
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [digest]
