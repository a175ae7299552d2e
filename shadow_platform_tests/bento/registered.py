"""A home of use case ``shop`` whose models are registered in MLflow: one that is good, one slow, one that fails.

Upstream: registry, deployment, bundles. Downstream: tests of the guard, of the commands.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bento.guard import ACTOR
from shadow_platform.adapters import deployment
from shadow_platform.adapters.bundle import bundle_hash
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform_tests.bento.bundles import line_bundle, raising_bundle, slow_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, settings_at

GOOD, SLOW, FAILING = "1", "2", "3"


class RegisteredShop:
    """Version 1 is champion; 2 and 3 are registered."""

    def __init__(self, home: Path) -> None:
        self.settings = settings_at(
            home, slo_window_seconds=20.0, slo_min_requests=30, slo_p95_ms=15.0, max_concurrency=64
        )
        self.layout = self.settings.layout
        self.store = self.layout.mlflow / "mlflow.db"
        self.registry = MlflowRegistry(f"sqlite:///{self.store}", self.layout.mlflow / "artifacts", bundle_hash)
        experiment = self.registry._client.get_experiment_by_name(self.registry.experiment(USE_CASE))
        assert experiment is not None
        run_id = self.registry._client.create_run(experiment.experiment_id).info.run_id
        for make in (line_bundle, lambda parent: slow_bundle(parent, n_rounds=100_000), raising_bundle):
            self.registry.register(USE_CASE, self.layout.bundles / make(self.layout.bundles), run_id, {})
        self.change("deploy_initial", version=GOOD)

    def change(self, name: str, **arguments: Any) -> DeploymentManifest:
        who = {"use_case": USE_CASE, "actor": "tester", "reason": "test", "now": datetime.now(UTC)}
        transition: Callable[..., DeploymentManifest] = getattr(deployment, name)
        with closing(FileLogSink(self.layout.log("transitions", USE_CASE))) as audit:
            return transition(self.registry, self.layout, audit, **who, **arguments)

    def reconcile(self) -> DeploymentManifest | None:
        with closing(FileLogSink(self.layout.log("transitions", USE_CASE))) as audit:
            return deployment.reconcile(self.registry, self.layout, audit, use_case=USE_CASE, now=datetime.now(UTC))

    @property
    def manifest(self) -> DeploymentManifest:
        found = deployment.read_manifest(self.layout.manifest(USE_CASE))
        assert found is not None
        return found

    def by_guard(self, generation: int) -> list[dict[str, Any]]:
        """Audit rows of the guard from a generation on."""
        source = FileLogSource(self.layout.log("transitions", USE_CASE))
        rows = [json.loads(line.payload) for line in source.read({})]
        return [row for row in rows if row["actor"] == ACTOR and row["generation"] > generation]

    @contextmanager
    def without_registry(self) -> Iterator[None]:
        """The registry's store is away."""
        away = self.store.with_suffix(".away")
        self.store.rename(away)
        try:
            yield
        finally:
            self.store.unlink(missing_ok=True)
            away.rename(self.store)
