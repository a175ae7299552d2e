"""Builds a Bento: the modules a service needs, the exact bundles of a deployment, its manifest and its HTTP schema.

Belongs here: staging, building and publishing. Does not belong here: which modules and requirements are needed
(``bento.contents``), reading a package (``bento.package``), checking one (``bento.verify``). Upstream: promotion
(manifest), bundles. Downstream: ``bentoml serve``, ``bentoml containerize``.

A Bento is built and checked in a folder of its own and then renamed into the store: one that is there is whole. Its tag
names what it holds (``content_hash``), so that the same deployment and code give the same tag, whenever and wherever.
"""

import argparse
import json
import shutil
import sys
import tempfile
from importlib.metadata import entry_points
from itertools import chain
from pathlib import Path

from filelock import FileLock

from bento.contents import NAMED_IN_CONFIGURATION, OURS, PROCESSES, pinned_requirements, reached_modules
from bento.package import PACKAGE, SCHEMA_FILE, USE_CASE_FILE, content_hash, copy_bundle, models_of, tree_hash
from bento.verify import run, verify_bento
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.deployment.bentos import LATEST, bentos_of, follow_champion
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import BundleError, NoChampion, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings, load_settings
from shadow_platform.use_cases import ENTRY_POINT_GROUP, load_use_case

BUILDING = ".building-"
DATA_FILES = ("feature_repo/feature_store.yaml", "feature_repo/feature_store.scale.yaml")


def build_bento(layout: Layout, manifest: DeploymentManifest, use_case: str | None = None) -> str:
    """Tag ``<use case>:g<generation>-<content hash>`` of the Bento in ``Layout.bentos``, built unless it is there.

    ``latest`` of the store becomes that Bento if its deployment is in force; one to come is not served yet, and becomes
    it with the deployment.

    Args:
        use_case: name or ``package.module:ATTR`` the service is started with; default: the manifest's.

    Raises:
        BundleError: a bundle of the manifest is not below ``Layout.bundles``, the build failed, or what it built does
            not pass its own check.
    """
    store = layout.bentos / "bentos"
    store.mkdir(parents=True, exist_ok=True)
    layout.locks("bento").parent.mkdir(parents=True, exist_ok=True)
    with FileLock(layout.locks("bento")):
        for left_by_a_killed_build in layout.bentos.glob(f"{BUILDING}*"):
            shutil.rmtree(left_by_a_killed_build, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="bento-") as staged:
            stage(Path(staged), layout, manifest, use_case or manifest.use_case)
            digest = tree_hash(Path(staged))
            folder = bentos_of(layout, manifest.use_case) / f"g{manifest.generation}-{digest[:12]}"
            if not (folder.is_dir() and content_hash(folder) == digest):
                _build(Path(staged), folder, digest)
            if read_manifest(layout.manifest(manifest.use_case)) == manifest:
                (folder.parent / LATEST).write_text(folder.name, encoding="utf-8")
            follow_champion(layout, manifest.use_case)
    return f"{folder.parent.name}:{folder.name}"


def stage(folder: Path, layout: Layout, manifest: DeploymentManifest, use_case: str) -> None:
    """Lay out what the Bento will hold, and nothing else: code for either ``FEATURE_STORE``, requirements of one."""
    _stage_deployment(Layout(folder / PACKAGE), layout, manifest)
    address = _address(use_case)
    declared_in = address.partition(":")[0]
    ours = (*OURS, declared_in.partition(".")[0])
    roots = [*PROCESSES, declared_in]
    modules, _ = reached_modules([*roots, *chain(*NAMED_IN_CONFIGURATION.values())], ours)
    _, others = reached_modules([*roots, *NAMED_IN_CONFIGURATION[load_settings().feature_store]], ours)
    for name, source in modules.items():
        stem = folder.joinpath(*name.split("."))
        _copy(source, stem / source.name if source.name == "__init__.py" else stem.with_name(source.name))
    top = {name: source.parent.parent for name, source in modules.items() if name in OURS}
    for data in DATA_FILES:
        _copy(top[Path(data).parts[0]] / data, folder / data)
    declaration = modules[declared_in]
    if declaration.name == "__init__.py":
        _copy_data(declaration.parent, folder.joinpath(*declared_in.split(".")))
    _copy(Path(__file__).with_name("bentofile.yaml"), folder / "bentofile.yaml")
    (folder / "requirements.txt").write_text("\n".join(pinned_requirements(others)) + "\n", encoding="utf-8")
    (folder / PACKAGE / USE_CASE_FILE).write_text(address + "\n", encoding="utf-8")
    (folder / PACKAGE / SCHEMA_FILE).write_text(_schema(address), encoding="utf-8")


def _stage_deployment(package: Layout, layout: Layout, manifest: DeploymentManifest) -> None:
    for model in models_of(manifest):
        source = layout.bundles / model.bundle_hash
        if not source.is_dir():
            raise BundleError(f"bundle {source} of version {model.version} is missing; fetch it from the registry")
        copy_bundle(source, package.bundles / model.bundle_hash)
    write_manifest(package.manifest(manifest.use_case), manifest)


def _address(use_case: str) -> str:
    """``package.module:ATTR`` of a use case: a package brings no entry points along."""
    if ":" in use_case:
        return use_case
    for point in entry_points(group=ENTRY_POINT_GROUP, name=use_case):
        return str(point.value)
    return f"shadow_platform.use_cases.{use_case}:USE_CASE"


def _schema(address: str) -> str:
    from bento.api.openapi import openapi_document

    max_batch_size = int(Settings.model_fields["max_batch_size"].default)
    return json.dumps(openapi_document(load_use_case(address), max_batch_size), indent=1, sort_keys=True) + "\n"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _copy_data(source: Path, target: Path) -> None:
    """Files beside a use case's modules: SQL and whatever else it reads."""
    for path in source.rglob("*"):
        if path.is_file() and path.suffix not in {".py", ".pyc"}:
            _copy(path, target / path.relative_to(source))


def _build(staged: Path, folder: Path, digest: str) -> None:
    """Let BentoML make a Bento of a staged folder in a store of its own, check it, and only then put it in place."""
    name, version = folder.parent.name, folder.name
    command = [sys.executable, "-m", "bentoml", "build", str(staged), "--name", name, "--version", version]
    with tempfile.TemporaryDirectory(dir=folder.parents[2], prefix=BUILDING) as home:
        environment = {"PYTHONPATH": str(staged), "BENTOML_HOME": home}
        done = run([*command, "--label", f"content_hash={digest}"], environment, staged)
        if done.returncode:
            raise BundleError(f"Bento {name}:{version} could not be built: {(done.stderr or done.stdout)[-2000:]}")
        built = Path(home, "bentos", name, version)
        verify_bento(built, digest)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        built.rename(folder)


def main(arguments: list[str] | None = None) -> int:
    """Build the Bento of a deployment, in force or to come, and print its tag."""
    parser = argparse.ArgumentParser(prog="python -m bento.build", description=__doc__.splitlines()[0])
    parser.add_argument("--use-case", help="default: SHADOW_USE_CASE")
    parser.add_argument("--manifest", type=Path, help="file with the deployment to hold; default: the one in force")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        address = options.use_case or settings.shadow_use_case
        name = load_use_case(address).name
        manifest = read_manifest(options.manifest or settings.layout.manifest(name))
        if manifest is None:
            raise NoChampion(name)
        print(build_bento(settings.layout, manifest, address))
    except ShadowPlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
