"""Everything Dagster loads: the assets, checks, jobs, sensors and schedules of every use case.

Upstream: everything. Downstream: ``workspace.yaml``, ``dg``, the command line and tests. Loading must stay quick, so
nothing here or behind it imports Feast, MLflow, Evidently or BentoML at module level (a test holds this).
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from shadow_platform.assets.a_a import build_a_a_assets
from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.drift import build_drift_assets
from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.fairness import build_fairness_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.assets.gates import build_gate_assets
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.assets.parity import build_parity_assets
from shadow_platform.assets.performance import build_performance_assets
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.assets.quality import build_quality_assets
from shadow_platform.assets.shadow import build_shadow_assets
from shadow_platform.assets.simulation import build_simulation_assets
from shadow_platform.assets.training import build_training_assets
from shadow_platform.assets.warehouse import build_warehouse_assets
from shadow_platform.automation import build_automation
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.jobs import build_jobs
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform.telemetry.run_logs import take_over_runs
from shadow_platform.use_cases import load_use_case, use_case_names

STAGES: dict[str, Callable[[UseCase], Iterable[dg.AssetsDefinition]]] = {
    "simulation": build_simulation_assets,
    "events": build_event_assets,
    "features": build_feature_assets,
    "training": build_training_assets,
    "shadow": build_shadow_assets,
    "comparison": build_comparison_assets,
    "labels": build_label_assets,
    "performance": build_performance_assets,
    "fairness": build_fairness_assets,
    "quality": build_quality_assets,
    "parity": build_parity_assets,
    "drift": build_drift_assets,
    "a_a": build_a_a_assets,
    "gates": build_gate_assets,
    "promotion": build_promotion_assets,
    "warehouse": build_warehouse_assets,
}
EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor,
}


def executor_named(name: str) -> dg.ExecutorDefinition:
    """Executor of the setting ``DAGSTER_EXECUTOR``; ``k8s`` makes a Kubernetes job of every step."""
    if name != "k8s":
        return EXECUTORS[name]
    try:
        from dagster_k8s import k8s_job_executor
    except ImportError as missing:
        raise SettingsError(
            "DAGSTER_EXECUTOR=k8s needs dagster-k8s; install it: pip install 'shadow-platform[k8s]'"
        ) from missing
    return k8s_job_executor


def use_case_definitions(use_case: UseCase) -> dg.Definitions:
    """Assets with their checks, jobs, sensors and schedules of one use case; resources come from the caller."""
    jobs = build_jobs(use_case)
    automation = build_automation(use_case, jobs)
    return dg.Definitions(
        assets=[asset for build in STAGES.values() for asset in build(use_case)],
        jobs=list(jobs.values()),
        sensors=automation.sensors,
        schedules=automation.schedules,
    )


def build_definitions(
    use_cases: Sequence[UseCase] | None = None, platform: PlatformResource | None = None
) -> dg.Definitions:
    """Definitions of the given use cases (default: all known ones) with one platform resource."""
    settings = load_settings()
    take_over_runs(settings)
    if use_cases is None:
        use_cases = [load_use_case(name) for name in (*use_case_names(), *settings.extra_use_cases)]
    shared = dg.Definitions(
        resources={"platform": platform or PlatformResource()},
        executor=executor_named(settings.dagster_executor),
    )
    return dg.Definitions.merge(shared, *(use_case_definitions(use_case) for use_case in use_cases))


defs = build_definitions()
