"""What can be watched of every model before any label is known: scores, decisions, doubt, agreement.

Belongs here: the query and its asset. Does not belong here: what counts as drift (the drift stage). Upstream:
predictions, shadow_comparisons. Downstream: proxy_daily, the timeline.
"""

import dagster as dg

from shadow_platform.contracts.tables import PROXY_DAILY
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

NEAR_THRESHOLD = 0.05
# Answers count as the champion's where a canary did not fail to give them: such requests are no random ones.
PROXIES = """
WITH answers AS (
    SELECT requested_at, model_version, 'champion' AS role, probability, prediction, threshold,
           features_imputed AS imputed, features_from_request + features_from_online + features_imputed
               + coalesce(features_derived, 0) AS features,
           NULL::BOOLEAN AS prediction_match
    FROM predictions
    WHERE use_case = $use_case AND requested_at >= $start AND requested_at < $end
      AND variant = 'champion' AND is_fallback IS NOT TRUE
    UNION ALL
    SELECT requested_at, challenger_version, 'challenger', challenger_probability, challenger_prediction, $threshold,
           NULL, NULL, prediction_match
    FROM shadow_comparisons
    WHERE use_case = $use_case AND requested_at >= $start AND requested_at < $end AND outcome = 'compared'
),
bounded AS (
    SELECT *, least(greatest(probability, 1e-12), 1 - 1e-12) AS p FROM answers
)
SELECT
    $use_case AS use_case,
    date_trunc('day', requested_at) AS day_at,
    model_version,
    role,
    count(*) AS n,
    avg(probability) AS probability_mean,
    quantile_cont(probability, 0.05) AS probability_p05,
    quantile_cont(probability, 0.50) AS probability_p50,
    quantile_cont(probability, 0.95) AS probability_p95,
    avg(prediction::INT) AS positive_rate,
    avg((abs(probability - threshold) <= $near)::INT) AS near_threshold_share,
    avg(-p * ln(p) - (1 - p) * ln(1 - p)) AS entropy_mean,
    sum(imputed) / nullif(sum(features), 0) AS imputed_share,
    avg(prediction_match::INT) AS agreement_rate
FROM bounded
GROUP BY ALL
ORDER BY day_at, role, model_version
"""


def build_proxy_metrics(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``proxy_metrics`` of a use case."""

    @dg.asset(
        key=[use_case.name, "proxy_metrics"],
        deps=[[use_case.name, "predictions"], [use_case.name, "shadow_comparisons"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="performance",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def proxy_metrics(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Scores, decisions, doubt and agreement of every model, without labels.

        Grain: one row a request day, model version and role; table proxy_daily. Key: the same. Partition: UTC day of
        requested_at. A challenger's distance from the threshold is held against the use case's.
        """
        lake, chosen = platform.lake(), days(context.partition_keys)
        rows = lake.sql(
            PROXIES,
            {
                "use_case": use_case.name,
                "start": start_of(chosen[0]),
                "end": end_of(chosen[-1]),
                "threshold": use_case.answer.threshold,
                "near": NEAR_THRESHOLD,
            },
        )
        day_of = rows["day_at"].dt.date
        n_rows = sum(lake.write_table(PROXY_DAILY, use_case, day, rows[day_of == day]) for day in chosen)
        return dg.MaterializeResult(metadata={"dagster/row_count": n_rows, "n": int(rows["n"].sum())})

    return proxy_metrics
