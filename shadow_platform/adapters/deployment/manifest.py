"""The deployment manifest as a file, read whole, replaced whole; and the registry aliases that mirror it.

Upstream: ``journal``, ``emergency`` and the Bento's package write it. Downstream: serving workers, shadow worker and
guard watch it.
"""

import os
from pathlib import Path

import uuid_utils
from pydantic import ValidationError

from shadow_platform.contracts.deployment import MAX_CHALLENGERS, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.verdicts import Frozen

CHAMPION, PREVIOUS, CANARY = "champion", "previous", "canary"
CHALLENGERS = ("challenger", *(f"challenger-{n}" for n in range(2, MAX_CHALLENGERS + 1)))
ALIASES = (CHAMPION, PREVIOUS, *CHALLENGERS, CANARY)


def aliases_of(manifest: DeploymentManifest) -> dict[str, str | None]:
    """Where each alias points while the manifest is in force; ``challenger`` is the newest of them."""
    versions = [model.version for model in manifest.challengers]
    canary = manifest.canary
    return {
        CHAMPION: manifest.champion.version,
        PREVIOUS: manifest.previous.version if manifest.previous else None,
        **{alias: versions[i] if i < len(versions) else None for i, alias in enumerate(CHALLENGERS)},
        CANARY: canary.model.version if canary and canary.share > 0 else None,
    }


def read_manifest(path: Path) -> DeploymentManifest | None:
    """The manifest in force, ``None`` when nothing was deployed yet; raises ``RegistryError`` when unreadable."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RegistryError(f"deployment manifest {path}: cannot be read ({error.strerror}); check the disk") from error
    try:
        return DeploymentManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryError(
            f"deployment manifest {path}: {first['msg']} at {'.'.join(map(str, first['loc'])) or 'top level'}; "
            "put back the manifest of the last backup; the log of transitions names the versions"
        ) from error


def write_manifest(path: Path, manifest: DeploymentManifest) -> None:
    """Replace the manifest atomically and durably."""
    write_atomic(path, manifest)


def write_atomic(path: Path, value: Frozen) -> None:
    """Replace a file by a value as JSON, durably and never in part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{uuid_utils.uuid7()}")
    try:
        with beside.open("xb") as file:
            file.write(value.model_dump_json(indent=2).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
