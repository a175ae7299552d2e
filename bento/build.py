"""Builds a Bento: service code, the exact bundles of a deployment, its manifest and the use case's name.

Upstream: promotion (manifest), bundles. Downstream: ``bentoml serve``, ``bentoml containerize``. Only what the package
needs is copied to a staging folder first, so that a build takes seconds wherever the code is installed. The build
itself runs in a process of its own: BentoML reads its home from the environment when it is imported.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

import shadow_platform
from bento.package import PACKAGE, USE_CASE_FILE, copy_bundle, import_path, models_of
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import BundleError, RegistryError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

TIMEOUT_S = 120.0
NOT_SERVING = ("dagster", "evidently", "mlflow", "matplotlib", "rich", "typer", "skl2onnx", "skops")
"""Dependencies that a service never imports."""


def build_bento(layout: Layout, manifest: DeploymentManifest, use_case: str | None = None) -> str:
    """Tag ``<use case>:g<generation>`` of the Bento in ``Layout.bentos``; a deployment built before is not rebuilt.

    Args:
        use_case: name or ``package.module:ATTR`` the service is started with; default: the manifest's.

    Raises:
        BundleError: a bundle of the manifest is not below ``Layout.bundles``, or the build failed.
    """
    name = re.sub(r"[^a-z0-9_.-]", "-", manifest.use_case.lower())
    tag = f"{name}:g{manifest.generation}-{manifest.champion.bundle_hash[:12]}"
    if (layout.bentos / "bentos" / name / tag.partition(":")[2]).is_dir():
        return tag
    with tempfile.TemporaryDirectory(prefix="bento-") as folder:
        stage(Path(folder), layout, manifest, use_case or manifest.use_case)
        layout.bentos.mkdir(parents=True, exist_ok=True)
        name, _, version = tag.partition(":")
        command = [sys.executable, "-m", "bentoml", "build", folder, "--name", name, "--version", version]
        environment = {
            **os.environ,
            "BENTOML_HOME": str(layout.bentos),
            "SHADOW_USE_CASE": use_case or manifest.use_case,
            "PYTHONPATH": os.pathsep.join(import_path()),
        }
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if done.returncode:
        raise BundleError(f"Bento {tag} could not be built: {(done.stderr or done.stdout)[-2000:]}")
    return tag


def stage(folder: Path, layout: Layout, manifest: DeploymentManifest, use_case: str) -> None:
    """Lay out what the Bento will hold."""
    code = Path(__file__).resolve().parents[1]
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(code / "bento", folder / "bento", ignore=ignored)
    shutil.copytree(Path(shadow_platform.__file__).parent, folder / "shadow_platform", ignore=ignored)
    repository = find_spec("feature_repo")
    for found in (repository.submodule_search_locations or []) if repository else []:
        shutil.copytree(found, folder / "feature_repo", ignore=ignored, dirs_exist_ok=True)
    (folder / "feature_repo").mkdir(exist_ok=True)
    shutil.copy(code / "bento" / "bentofile.yaml", folder / "bentofile.yaml")
    (folder / "requirements.txt").write_text("\n".join(serving_requirements()) + "\n", encoding="utf-8")
    package = Layout(folder / PACKAGE)
    for model in models_of(manifest):
        source = layout.bundles / model.bundle_hash
        if not source.is_dir():
            raise BundleError(f"bundle {source} of version {model.version} is missing; fetch it from the registry")
        copy_bundle(source, package.bundles / model.bundle_hash)
    write_manifest(package.manifest(manifest.use_case), manifest)
    (package.home / USE_CASE_FILE).write_text(use_case + "\n", encoding="utf-8")


def serving_requirements() -> list[str]:
    """What the service imports, from the distribution's own metadata."""
    try:
        declared = requires("shadow-platform") or []
    except PackageNotFoundError:
        declared = []
    core = [line for line in declared if "extra ==" not in line]
    return sorted(line for line in core if not line.lower().startswith(NOT_SERVING))


def main(arguments: list[str] | None = None) -> int:
    """Build the Bento of the deployment in force and print its tag."""
    parser = argparse.ArgumentParser(prog="python -m bento.build", description=__doc__.splitlines()[0])
    parser.add_argument("--use-case", help="default: SHADOW_USE_CASE")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        address = options.use_case or settings.shadow_use_case
        name = load_use_case(address).name
        manifest = read_manifest(settings.layout.manifest(name))
        if manifest is None:
            raise RegistryError(f"use case {name} serves no model yet; deploy a champion first")
        print(build_bento(settings.layout, manifest, address))
    except ShadowPlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
