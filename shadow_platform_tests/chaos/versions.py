"""A home whose registry holds a few versions, and what must hold of aliases, manifest and audit log at any time.

Belongs here: what races and kills of transitions share. Does not belong here: trainings (``trainings``). Upstream:
trained. Downstream: tests of races and kills.
"""

from pathlib import Path

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.deployment import aliases_of
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.chaos.trainings import USE_CASE
from shadow_platform_tests.trained import make_bundle

NAME = USE_CASE.name


class VersionsHome:
    """Home folder with versions 1, 2 and 3, of which 1 serves first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        self.platform = PlatformResource(shadow_home=str(folder))

    def make(self) -> "VersionsHome":
        """Register the versions and deploy the first."""
        registry = self.platform.registry()
        for seed in (1, 2, 3):
            registry.register(NAME, make_bundle(self.folder / "made", seed=seed)[1], new_run(registry), {})
        self.platform.deploy(USE_CASE, "deploy_initial", version="1", actor="training", reason="the first")
        return self

    @property
    def manifest(self) -> DeploymentManifest:
        """In force."""
        found = self.platform.manifest(USE_CASE)
        assert found is not None
        return found

    def promote(self, version: str) -> DeploymentManifest:
        """Let a version serve."""
        return self.platform.deploy(USE_CASE, "promote", version=version, actor="gate", reason="it is better")

    def require_whole_artifacts(self, scratch: Path) -> None:
        """Whatever an alias points to can be fetched, and answers as when it was made."""
        registry = self.platform.registry()
        for version in registry.versions(NAME):
            Bundle.load(registry.fetch_bundle(NAME, version.version, scratch)).selftest()
            if "champion" in version.aliases:
                Bundle.load(self.layout.bundles / version.bundle_hash).selftest()

    def require_agreement(self) -> None:
        """Registry, manifest and audit log tell the same."""
        registry, manifest = self.platform.registry(), self.manifest
        for alias, version in aliases_of(manifest).items():
            assert registry.alias(NAME, alias) == version, alias
        moves = [row for row in self.platform.transitions(USE_CASE) if row["alias"] == "champion"]
        assert [row["from_version"] for row in moves] == [None, *(row["to_version"] for row in moves[:-1])]
        assert [row["generation"] for row in moves] == list(range(1, manifest.generation + 1))
        assert moves[-1]["to_version"] == manifest.champion.version


def new_run(registry: MlflowRegistry) -> str:
    """Id of an MLflow run that was opened by nobody's training."""
    experiment = registry._client.get_experiment_by_name(registry.experiment(NAME))
    assert experiment is not None
    return str(registry._client.create_run(experiment.experiment_id).info.run_id)
