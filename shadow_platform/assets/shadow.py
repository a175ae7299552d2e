"""Shadow stage: what Dagster asks of the shadow worker. Live scoring is a process of its own, not an asset.

Upstream: deployment (which challenger), the prediction log, shadow_comparisons. Downstream: shadow_comparisons (of what
was replayed), MLflow (results for review).
"""

import dagster as dg

from shadow_platform.contracts.tables import SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.comparison import totals
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days
from shadow_platform.resources import PlatformResource


def build_shadow_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the shadow stage."""
    return [_challenger_replay(use_case), _shadow_results(use_case)]


def _challenger_replay(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "challenger_replay"],
        deps=[[use_case.name, "deployment"]],
        group_name="shadow",
        kinds={"onnx"},
        owners=[use_case.owner],
        code_version="1",
    )
    def challenger_replay(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Scores of every deployed challenger for the logged requests it has not seen yet, or dropped.

        Grain: one shadow record a request and challenger. Key: request_id, challenger_version. Not partitioned: a
        replay resumes where the challenger's own shadow log ends.
        """
        counts = platform.replay_challengers(use_case)
        context.log.info("replayed %s", counts)
        return dg.MaterializeResult(metadata={f"challenger_{version}": n for version, n in counts.items()})

    return challenger_replay


def _shadow_results(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "shadow_results"],
        deps=[[use_case.name, "shadow_comparisons"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="shadow",
        kinds={"mlflow", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def shadow_results(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Comparisons, summary and plot of every challenger, as a run below the one that trained it.

        Grain: one MLflow run a challenger and window of days materialized together; the same window again gives the
        same run. Key: challenger_version, window. Partition: UTC day of requested_at.
        """
        chosen = days(context.partition_keys)
        first, last = chosen[0], chosen[-1]
        rows = platform.lake().read_table(SHADOW_COMPARISONS, use_case, first, last.fromordinal(last.toordinal() + 1))
        window = str(first) if first == last else f"{first}..{last}"
        runs = {
            version: platform.log_shadow_result(
                use_case, version, window, rows[rows["challenger_version"].eq(version)], metrics
            )
            for version, metrics in totals(rows).items()
        }
        return dg.MaterializeResult(
            metadata={"window": window, **{f"mlflow_run_{version}": run for version, run in runs.items()}}
        )

    return shadow_results
