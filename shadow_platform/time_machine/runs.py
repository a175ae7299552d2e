"""Executes the platform's assets in this process, with the time the journey has reached.

Belongs here: which assets a step needs, and one run of them. Does not belong here: what an asset does. Upstream:
``journey``. Downstream: the tables of the journey's home.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from shadow_platform.assets.a_a import build_a_a_assets
from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.drift import build_drift_assets
from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.assets.gates import build_gate_assets
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.assets.performance import build_performance_assets
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.assets.shadow import build_shadow_assets
from shadow_platform.assets.training import build_training_assets
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource

STAGES = (
    build_event_assets,
    build_feature_assets,
    build_training_assets,
    build_shadow_assets,
    build_comparison_assets,
    build_label_assets,
    build_performance_assets,
    build_drift_assets,
    build_a_a_assets,
    build_gate_assets,
    build_promotion_assets,
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Runs:
    """Jobs over the assets of one use case, on one ephemeral instance."""

    def __init__(self, use_case: UseCase, jobs: Mapping[str, Sequence[str]]) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self._use_case = use_case
        selections = {
            name: dg.AssetSelection.assets(*(dg.AssetKey([use_case.name, asset]) for asset in assets))
            for name, assets in jobs.items()
        }
        self._definitions = dg.Definitions(
            assets=[asset for build in STAGES for asset in build(use_case)],
            jobs=[dg.define_asset_job(self.job_name(name), found) for name, found in selections.items()],
            resources={"platform": PlatformResource()},
            executor=dg.in_process_executor,
        )

    def close(self) -> None:
        """Forget the instance."""
        self.instance.dispose()

    def job_name(self, name: str) -> str:
        """Name of a job, with the use case."""
        return f"{self._use_case.name}_{name}"

    def run(
        self,
        name: str,
        platform: PlatformResource,
        days: tuple[date, date] | None = None,
        tags: Mapping[str, str] | None = None,
        **config: Mapping[str, Any],
    ) -> str | None:
        """Execute a job; ``None``, or why it failed.

        Args:
            days: first and last partition.
            config: of assets, by name.
        """
        job = self._definitions.resolve_job_def(self.job_name(name))
        partitions = partition_range(*days) if days else {}
        result = job.execute_in_process(
            run_config={
                **QUIET,
                "ops": {
                    f"{self._use_case.name}__{asset}": {"config": dict(values)} for asset, values in config.items()
                },
            },
            instance=self.instance,
            tags={**partitions, **(tags or {})},
            resources={"platform": platform},
            raise_on_error=False,
        )
        return None if result.success else _failure(result)

    def must_run(
        self,
        name: str,
        platform: PlatformResource,
        days: tuple[date, date] | None = None,
        **config: Mapping[str, Any],
    ) -> None:
        """Execute a job; raises ``ShadowPlatformError`` when it fails."""
        reason = self.run(name, platform, days, None, **config)
        if reason is not None:
            raise ShadowPlatformError(f"{self.job_name(name)} failed at {platform.now():%Y-%m-%d}: {reason}")


def _failure(result: dg.ExecuteInProcessResult) -> str:
    checks = [check for check in result.get_asset_check_evaluations() if not check.passed]
    blocking = [check.description or check.check_name for check in checks if check.blocking]
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            # A check that blocks says more than Dagster's sentence that one did.
            return f"{event.step_key}: {'; '.join(blocking) or (error.cause or error).message.strip()}"
    return ", ".join(check.check_name for check in checks) or "no step says why"
