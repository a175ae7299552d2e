"""Which model serves: the registry, the deployment manifest, and every way to change it.

Upstream: ``home``, adapters. Downstream: ``PlatformResource``.
"""

import json
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import TransitionConflict
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources.home import Home

if TYPE_CHECKING:
    from shadow_platform.adapters.log import FileLogSink
    from shadow_platform.adapters.registry import MlflowRegistry


Transition = Literal[
    "deploy_initial",
    "promote",
    "rollback",
    "add_challenger",
    "remove_challenger",
    "set_shadow_policy",
    "start_canary",
    "set_canary_share",
    "stop_canary",
]
EmergencyChange = Literal["halt_canary", "emergency_rollback"]


class Deployments(Home):
    """The registry and the deployment manifest."""

    def registry(self) -> "MlflowRegistry":
        """Model registry."""
        from shadow_platform.adapters.bundle import bundle_hash
        from shadow_platform.adapters.registry import MlflowRegistry

        settings = self.settings
        return MlflowRegistry(
            settings.mlflow_uri, self.layout.mlflow / "artifacts", bundle_hash, settings.mlflow_artifacts_url
        )

    def transitions_log(self, use_case: UseCase) -> "FileLogSink":
        """Append-only log of alias changes."""
        from shadow_platform.adapters.log import FileLogSink

        return FileLogSink(self.layout.log("transitions", use_case.name))

    def transitions(self, use_case: UseCase) -> list[dict[str, Any]]:
        """Every transition so far, oldest first; a row that a repair appended again is one row."""
        from shadow_platform.adapters.log import FileLogSource

        source = FileLogSource(self.layout.log("transitions", use_case.name))
        rows = [json.loads(line.payload) for line in source.read({})]
        # Segments lie by the hour of a clock that may be put back; generations only grow.
        return sorted({row["transition_id"]: row for row in rows}.values(), key=lambda row: row["generation"])

    def manifest(self, use_case: UseCase) -> DeploymentManifest | None:
        """Deployment manifest in force; ``None`` before the first deployment."""
        from shadow_platform.adapters.deployment import read_manifest

        return read_manifest(self.layout.manifest(use_case.name))

    def require_manifest(self, use_case: UseCase, lacking: str) -> DeploymentManifest:
        """Deployment manifest in force; raises ``dg.Failure`` that says what is lacking before the first deployment."""
        manifest = self.manifest(use_case)
        if manifest is None:
            raise dg.Failure(
                f"{self.layout.manifest(use_case.name)} does not exist, so there is {lacking}; "
                f"run the job {use_case.name}_train first",
                allow_retries=False,
            )
        return manifest

    def deploy(
        self,
        use_case: UseCase,
        change: Transition,
        **arguments: Any,
    ) -> DeploymentManifest:
        """Carry out one transition of ``adapters.deployment`` with the registry and the audit log."""
        from shadow_platform.adapters import deployment

        try:
            with closing(self.transitions_log(use_case)) as audit:
                manifest: DeploymentManifest = getattr(deployment, change)(
                    self.registry(), self.layout, audit, use_case=use_case.name, now=self.now(), **arguments
                )
        except TransitionConflict as conflict:
            moved = self.transitions(use_case)[-1:]
            told = [f"; the last recorded change was by {row['actor']} at {row['transitioned_at']}" for row in moved]
            raise TransitionConflict(f"{conflict}{''.join(told)}") from conflict
        return manifest

    def deploy_without_registry(
        self, use_case: UseCase, change: EmergencyChange, **arguments: Any
    ) -> DeploymentManifest:
        """Carry out a transition that an outage of the registry must not delay."""
        from shadow_platform.adapters import deployment

        with closing(self.transitions_log(use_case)) as audit:
            manifest: DeploymentManifest = getattr(deployment, change)(
                self.layout, audit, use_case=use_case.name, now=self.now(), **arguments
            )
        return manifest

    def reconcile(self, use_case: UseCase) -> DeploymentManifest | None:
        """Finish what a dead process or an emergency began, follow an alias moved by hand; the manifest in force."""
        from shadow_platform.adapters import deployment

        with closing(self.transitions_log(use_case)) as audit:
            return deployment.reconcile(self.registry(), self.layout, audit, use_case=use_case.name, now=self.now())

    def replay_challengers(self, use_case: UseCase) -> dict[str, dict[str, int]]:
        """Let every deployed challenger score what was logged before it was live; counts by version.

        The shadow worker's own process does it: serving and Dagster meet in the log, not in calls.
        """
        from shadow_platform.adapters.deployment import read_manifest

        manifest = read_manifest(self.layout.manifest(use_case.name))
        versions = [model.version for model in manifest.challengers] if manifest else []
        return {version: json.loads(self._bento(use_case, "shadow", "--replay", version)) for version in versions}

    def build_bento(self, use_case: UseCase, manifest: DeploymentManifest) -> str:
        """Tag of a Bento that holds a deployment, verified in an empty folder; raises ``ShadowPlatformError``."""
        with tempfile.NamedTemporaryFile("w", prefix=f"{use_case.name}-", suffix=".json") as file:
            file.write(manifest.model_dump_json())
            file.flush()
            return self._bento(use_case, "build", "--manifest", file.name).strip()
