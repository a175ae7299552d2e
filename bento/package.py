"""What a Bento carries besides code: the use case's name, its manifest and the bundles it names.

Upstream: ``bento.build`` writes it. Downstream: the service, which puts it where the manifest is watched, so that a
container without a history answers as a running one does; a newer manifest on the volume wins.
"""

import os
import shutil
import sys
from pathlib import Path

import uuid_utils

from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings

PACKAGE = "packaged"
USE_CASE_FILE = "use_case"


def package_folder() -> Path:
    """Folder of the packaged deployment, beside the code of this module; absent outside a Bento."""
    return Path(__file__).resolve().parents[1] / PACKAGE


def models_of(manifest: DeploymentManifest) -> list[DeployedModel]:
    """Every model a manifest names, by its bundle once."""
    found = [manifest.champion, *manifest.challengers]
    if manifest.previous:
        found.append(manifest.previous)
    if manifest.canary:
        found.append(manifest.canary.model)
    return list({model.bundle_hash: model for model in found}.values())


def import_path() -> list[str]:
    """This process's import path, so that children find the same packages from any working directory."""
    return [str(Path(__file__).resolve().parents[1]), *(str(Path(entry).resolve()) for entry in sys.path if entry)]


def with_packaged_use_case(settings: Settings, folder: Path | None = None) -> Settings:
    """Settings that name the packaged use case, unless the environment names one."""
    name_file = (folder or package_folder()) / USE_CASE_FILE
    if "shadow_use_case" in settings.model_fields_set or not name_file.is_file():
        return settings
    return settings.model_copy(update={"shadow_use_case": name_file.read_text(encoding="utf-8").strip()})


def seed_from_package(layout: Layout, folder: Path | None = None) -> None:
    """Put the packaged deployment where the manifest is watched, unless a newer one is there."""
    package = Layout(folder or package_folder())
    for path in (package.home / "serving").glob("*.json"):
        manifest = read_manifest(path)
        if manifest is not None:
            _seed(package, layout, manifest)


def _seed(package: Layout, layout: Layout, manifest: DeploymentManifest) -> None:
    found = read_manifest(layout.manifest(manifest.use_case))
    if found is not None and found.generation >= manifest.generation:
        return
    for model in models_of(manifest):
        copy_bundle(package.bundles / model.bundle_hash, layout.bundles / model.bundle_hash)
    write_manifest(layout.manifest(manifest.use_case), manifest)


def copy_bundle(source: Path, target: Path) -> None:
    """Copy a bundle's folder, complete or not at all; nothing happens when it is there."""
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.{uuid_utils.uuid7()}")
    try:
        shutil.copytree(source, beside)
        beside.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
