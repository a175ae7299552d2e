"""Warehouse: the published tables as one DuckDB file that anyone may open while everything runs.

Upstream: every table. Downstream: analysts, ``shadow sql``.
"""

from dataclasses import asdict

import dagster as dg

from shadow_platform.contracts.tables import TABLES
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

UPSTREAM = (
    "predictions",
    "shadow_comparisons",
    "shadow_comparison_hourly",
    "labels",
    "quarantined_labels",
    "performance_daily",
    "performance_verdict",
    "proxy_metrics",
    "drift_verdict",
    "a_a_run",
    "gate_decision",
    "gate_reviews",
    "model_transitions",
)


def build_warehouse_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the warehouse."""
    upstream = [*UPSTREAM, *(["fairness_groups"] if use_case.fairness else [])]

    @dg.asset(
        key=[use_case.name, "warehouse"],
        deps=[[use_case.name, name] for name in upstream],
        group_name="warehouse",
        kinds={"duckdb"},
        owners=[use_case.owner],
        code_version="1",
        pool="warehouse",
    )
    def warehouse(platform: PlatformResource) -> dg.MaterializeResult:
        """Views with comments over the Parquet files of all use cases, replaced atomically; holds no rows itself.

        Grain: one view a table. Not partitioned. With ``TABLES_URL`` it also brings the copies of the tables in the
        object store up to date; where that fails, the file stands and the step fails.
        """
        path = platform.lake().publish_warehouse()
        copies = platform.copy_tables()
        copied = {"copies": dg.MetadataValue.json(asdict(copies))} if copies else {}
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(path),
                "tables": dg.MetadataValue.json([t.name for t in TABLES]),
                **copied,
            }
        )

    return [warehouse]
