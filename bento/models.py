"""The model a worker answers with, and its exchange while requests go on.

Belongs here: reading the deployment manifest, loading, warming up and testing a bundle, replacing one reference. Does
not belong here: deciding what is deployed (``adapters.deployment``). Upstream: manifest, bundles. Downstream: the
predictor and the shadow worker, which hold on to the reference they took.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout

LOGGER = logging.getLogger("shadow_platform.models")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in service and its bundle in memory."""

    deployed: DeployedModel
    bundle: Bundle


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker answers with, replaced as a whole."""

    manifest: DeploymentManifest
    champion: LoadedModel
    loaded_at: datetime


def load_model(layout: Layout, deployed: DeployedModel) -> LoadedModel:
    """Load, warm up and test a bundle; raises ``BundleError``."""
    bundle = Bundle.load(layout.bundles / deployed.bundle_hash)
    bundle.selftest()
    matrix, _ = bundle.encode([{}])
    bundle.predict(matrix)
    return LoadedModel(deployed, bundle)


class ManifestFile:
    """Notices when the manifest was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> DeploymentManifest | None:
        """The manifest if it is another file than at the last call; raises ``RegistryError`` when unreadable."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen == self._seen:
            return None
        manifest = read_manifest(self._path)
        self._seen = seen
        return manifest

    def forget(self) -> None:
        """Take the next look as the first."""
        self._seen = None


class ModelWatcher:
    """Keeps ``current`` equal to the manifest; a bundle that fails leaves the old one in service.

    Args:
        use_case: name in the manifest.
        on_swap: called with the new reference after it was put into service.
    """

    def __init__(self, layout: Layout, use_case: str, on_swap: Callable[[Serving], None] | None = None) -> None:
        self._layout = layout
        self._use_case = use_case
        self._file = ManifestFile(layout.manifest(use_case))
        self._on_swap = on_swap
        self.current: Serving | None = None
        self.refusal: str | None = None

    @property
    def reason(self) -> str:
        """Why there is no model to answer with."""
        return self.refusal or (
            f"no model of {self._use_case} is deployed ({self._layout.manifest(self._use_case)} is missing); "
            "run the training job, or `shadow demo`"
        )

    def refresh(self) -> bool:
        """Follow the manifest if it changed; returns whether another reference is in service. Never raises."""
        try:
            manifest = self._file.changed()
            if manifest is None or (self.current and manifest.generation <= self.current.manifest.generation):
                return False
            serving = Serving(manifest, self._load(manifest.champion), datetime.now(UTC))
        except (ShadowPlatformError, OSError) as error:
            self._refuse(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever a bundle does, the old model must go on answering
            self._refuse(f"{type(error).__name__}: {error}")
            return False
        self.current = serving
        self.refusal = None
        LOGGER.info("generation %s: version %s answers", manifest.generation, manifest.champion.version)
        if self._on_swap:
            self._on_swap(serving)
        return True

    def retry(self) -> None:
        """Look at a refused manifest again at the next refresh; its bundle may have arrived."""
        if self.refusal:
            self._file.forget()

    def _load(self, deployed: DeployedModel) -> LoadedModel:
        if self.current and self.current.champion.deployed.bundle_hash == deployed.bundle_hash:
            return LoadedModel(deployed, self.current.champion.bundle)
        return load_model(self._layout, deployed)

    def _refuse(self, reason: str) -> None:
        if reason != self.refusal:
            LOGGER.error("manifest refused, the model in service stays: %s", reason)
        self.refusal = reason
