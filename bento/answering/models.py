"""The models a worker answers with, and their exchange while requests go on.

Belongs here: reading the deployment manifest, loading, warming up and testing a bundle, replacing one reference. Does
not belong here: deciding what is deployed (``adapters.deployment``). Upstream: manifest, bundles. Downstream: the
predictor and the shadow worker, which hold on to the reference they took.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import NoChampion, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.canary import routing

LOGGER = logging.getLogger("shadow_platform.models")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in service and its bundle in memory."""

    deployed: DeployedModel
    bundle: Bundle


@dataclass(frozen=True, slots=True)
class LoadedCanary:
    """A canary that answers a share above 0."""

    rollout: Canary
    model: LoadedModel


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not everything of a manifest is in service.

    Attributes:
        generation: of that manifest; ``None``: it cannot be read.
        version: the model that is not in service.
    """

    reason: str
    generation: int | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker answers with, replaced as a whole.

    Attributes:
        rollout: the canary in force, whether or not it answers.
        canary: ``None`` as well when its share is 0, or its bundle was refused.
    """

    manifest: DeploymentManifest
    champion: LoadedModel
    rollout: Canary | None
    canary: LoadedCanary | None
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

    A canary whose bundle fails is left out: the champion of the manifest goes into service, and answers everybody.

    Args:
        use_case: name in the manifest.
        split: share of subjects for the newest challenger when no canary is set by hand.

    Attributes:
        current: what answers; ``None`` before the first model.
        newest: generation that was tried last, in service or refused.
        refusal: why not everything of the newest manifest is in service; ``None``: everything is.
    """

    def __init__(self, layout: Layout, use_case: str, split: float = 0.0) -> None:
        self._layout = layout
        self._use_case = use_case
        self._split = split
        self._file = ManifestFile(layout.manifest(use_case))
        self.current: Serving | None = None
        self.newest = 0
        self.refusal: Refusal | None = None

    @property
    def reason(self) -> str:
        """Why there is no model to answer with."""
        if self.refusal is not None:
            return self.refusal.reason
        return str(NoChampion(self._use_case, self._layout.manifest(self._use_case)))

    def refresh(self) -> bool:
        """Follow the manifest if it changed; returns whether another reference is in service. Never raises."""
        manifest = None
        try:
            manifest = self._file.changed()
            if manifest is None or not self._is_due(manifest):
                return False
            self.newest = manifest.generation
            champion = self._load(manifest.champion)
        except Exception as error:  # noqa: BLE001 - whatever a bundle does, the old model must go on answering
            kept = f"version {self.current.champion.deployed.version} stays" if self.current else "there is no other"
            reason = f"manifest refused, {kept}: {_text(error)}"
            about = (manifest.generation, manifest.champion.version) if manifest else (None, None)
            self._refuse(Refusal(reason, *about))
            return False
        rollout = routing(manifest, self._split)
        canary = self._load_canary(rollout, manifest.generation)
        if self.current and self.current.manifest.generation == manifest.generation and canary is None:
            return False
        self.current = Serving(manifest, champion, rollout, canary, datetime.now(UTC))
        share = f", {rollout.share:.1%} of subjects by canary {rollout.model.version}" if canary and rollout else ""
        LOGGER.info("generation %s: version %s answers%s", manifest.generation, manifest.champion.version, share)
        return True

    def retry(self) -> None:
        """Look at a refused manifest again at the next refresh; its bundle may have arrived."""
        if self.refusal:
            self._file.forget()

    def _is_due(self, manifest: DeploymentManifest) -> bool:
        """Whether it is newer than what is in service, or the same with something left out."""
        if self.current is None:
            return True
        news = manifest.generation - self.current.manifest.generation
        return news > 0 or (news == 0 and self.refusal is not None)

    def _load_canary(self, rollout: Canary | None, generation: int) -> LoadedCanary | None:
        if rollout is None or rollout.share == 0.0:
            self.refusal = None
            return None
        try:
            canary = LoadedCanary(rollout, self._load(rollout.model))
        except Exception as error:  # noqa: BLE001 - a canary must never keep the champion from answering
            reason = f"canary {rollout.model.version} refused, the champion answers all: {_text(error)}"
            self._refuse(Refusal(reason, generation, rollout.model.version))
            return None
        self.refusal = None
        return canary

    def _load(self, deployed: DeployedModel) -> LoadedModel:
        """The bundle in memory when it is there: a canary that is promoted need not be read again."""
        current = self.current
        loaded = () if current is None else (current.champion, current.canary and current.canary.model)
        for model in loaded:
            if model and model.deployed.bundle_hash == deployed.bundle_hash:
                return LoadedModel(deployed, model.bundle)
        return load_model(self._layout, deployed)

    def _refuse(self, refusal: Refusal) -> None:
        if self.refusal is None or refusal.reason != self.refusal.reason:
            LOGGER.error("%s", refusal.reason)
        self.refusal = refusal


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ShadowPlatformError | OSError) else f"{type(error).__name__}: {error}"
