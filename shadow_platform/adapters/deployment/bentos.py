"""Which Bento of the store is ``latest``: the newest one of the champion in force, or none.

Belongs here: that file of the store, and the deployment that a Bento holds. Does not belong here: building a Bento
(``bento.build``), what else one carries (``bento.package``). Upstream: every change of the deployment, ``bento.build``.
Downstream: ``bento.image``, people who start or ship ``<use case>:latest``.

An image that is made of ``latest`` answers with its champion wherever no manifest is found. So ``latest`` follows the
deployment both ways: a version that was rolled back is in no image that is made afterwards.
"""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from shadow_platform.adapters.deployment.manifest import read_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.layout import Layout

LOGGER = logging.getLogger("shadow_platform.bentos")

PACKAGE = "packaged"
"""Folder of the deployment that a Bento holds, beside its code."""
LATEST = "latest"
_VERSION = re.compile(r"g(\d+)-\w+")


def bentos_of(layout: Layout, use_case: str) -> Path:
    """Folder of a use case's Bentos, one folder a version; BentoML takes lower case and few signs."""
    return layout.bentos / "bentos" / re.sub(r"[^a-z0-9_.-]", "-", use_case.lower())


def deployment_in(bento: Path) -> DeploymentManifest | None:
    """The deployment that a Bento holds; ``None`` when it cannot be told."""
    try:
        return next(filter(None, map(read_manifest, Layout(bento / "src" / PACKAGE).manifests())), None)
    except RegistryError:
        return None


def is_same_model(one: DeployedModel, other: DeployedModel) -> bool:
    """Whether both answer alike."""
    return (one.version, one.bundle_hash) == (other.version, other.bundle_hash)


def follow_champion(layout: Layout, use_case: str) -> None:
    """Let ``latest`` be the newest Bento of the champion in force, or be none. Never raises: nobody waits for it."""
    folder = bentos_of(layout, use_case)
    if not folder.is_dir():
        return
    try:
        # Who changes the deployment meanwhile points as well, perhaps before this process does.
        seen, manifest = None, read_manifest(layout.manifest(use_case))
        while manifest is not None and manifest != seen:
            _point(folder, next(_of_champion(folder, manifest), None))
            seen, manifest = manifest, read_manifest(layout.manifest(use_case))
    except (OSError, RegistryError) as error:
        LOGGER.warning("%s cannot follow the champion of %s: %s", folder / LATEST, use_case, error)


def read_latest(folder: Path) -> str | None:
    """Version that ``latest`` names; ``None`` when there is none."""
    try:
        return (folder / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def _of_champion(folder: Path, manifest: DeploymentManifest) -> Iterator[str]:
    """Versions that hold the champion of a deployment, the newest first; none of a deployment still to come."""
    named = {path: _VERSION.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()}
    built = {path: int(found[1]) for path, found in named.items() if found and int(found[1]) <= manifest.generation}
    current = read_latest(folder)
    # Of one deployment, the one that was asked for last stays.
    order = sorted(built, key=lambda path: (built[path], path.name == current, path.stat().st_mtime), reverse=True)
    for path in order:
        held = deployment_in(path)
        if held is not None and is_same_model(held.champion, manifest.champion):
            yield path.name


def _point(folder: Path, version: str | None) -> None:
    if version is None:
        (folder / LATEST).unlink(missing_ok=True)
    elif version != read_latest(folder):
        beside = folder / f".{LATEST}.{os.getpid()}"
        beside.write_text(version, encoding="utf-8")
        beside.replace(folder / LATEST)
