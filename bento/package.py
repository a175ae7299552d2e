"""What a Bento carries besides code: the use case's address, its manifest, the bundles it names, its HTTP schema.

Belongs here: reading it, its hash, and the check of the package this code lies in (``python -m bento.package``). Does
not belong here: making it. Upstream: ``bento.build``. Downstream: the service, the shadow worker and the guard, which
put it where the manifest is watched, so that a container without a history answers as a running one does; a newer
manifest on the volume wins.
"""

import hashlib
import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

import uuid_utils

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.deployment import bentos, read_manifest, write_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import BundleError, SettingsError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings

PACKAGE = bentos.PACKAGE
USE_CASE_FILE = "use_case"
SCHEMA_FILE = "openapi.json"
STARTED = ("bento.service", "bento.shadow", "bento.guard")
"""Modules started from a Bento; the service's brings its routes and the use case."""


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
    """Put the packaged deployment where the manifest is watched, unless a newer one is there.

    A shared folder is written by whoever promotes into it, and by nobody else: what it says is in force.

    Raises:
        SettingsError: the home lies within the Bento: BentoML changes the working directory to it before it imports
            the service, so a relative ``SHADOW_HOME`` would fill and alter what is meant to stay as it was built.
    """
    package = Layout(folder or package_folder())
    root = package.home.parent
    if package.home.is_dir() and (root / "bento").is_dir() and layout.home.is_relative_to(root):
        raise SettingsError(f"SHADOW_HOME={layout.home} lies within the Bento; set it to an absolute path elsewhere")
    if layout.shared is not None:
        return
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


def content_hash(bento: Path) -> str:
    """Hash of everything a built Bento runs from; what lies beside it is BentoML's rendering of that, with the time."""
    return tree_hash(bento / "src")


def tree_hash(folder: Path) -> str:
    """SHA-256 over the sorted names and contents of the files below a folder, byte code left out."""
    digest = hashlib.sha256()
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in sorted(names):
        if "__pycache__" not in name:
            content = names[name].read_bytes()
            digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def check(root: Path) -> dict[str, object]:
    """What the package in a folder holds; raises ``BundleError`` if it could not serve by itself.

    Its processes can be imported, all of their code comes from the folder, and every bundle passes its self-test.
    """
    package = Layout(root / PACKAGE)
    for name in STARTED:
        import_module(name)
    inside = {path.stem for path in root.iterdir()}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in inside and file and not Path(file).resolve().is_relative_to(root):
            raise BundleError(f"module {name} came from {file}, expected it below {root}; build the Bento again")
    manifests = [read_manifest(path) for path in (package.home / "serving").glob("*.json")]
    if len(manifests) != 1 or manifests[0] is None:
        raise BundleError(f"{package.home / 'serving'} holds {len(manifests)} manifests, expected one; build it again")
    for model in models_of(manifests[0]):
        Bundle.load(package.bundles / model.bundle_hash).selftest()
    found = {"use_case": manifests[0].use_case, "generation": manifests[0].generation}
    return {**found, "content_hash": tree_hash(root)}


def main() -> int:
    """Check the package this code lies in and print what it holds."""
    try:
        print(json.dumps(check(package_folder().parent)))
    except ShadowPlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
