"""Comparison stage: the prediction log and the shadow log as tables, paired by hour, none lost.

Upstream: the append-only logs of the service and the shadow worker. Downstream: labels, performance, drift, gate.
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import PREDICTIONS, SHADOW_COMPARISON_HOURLY, SHADOW_COMPARISONS, TableSchema
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.comparison import Conservation, between_models, conservation, flips, hourly
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days
from shadow_platform.resources import PlatformResource

if TYPE_CHECKING:
    from shadow_platform.adapters.lake import Lake

CONSERVATION_CHECK = "every_prediction_is_compared_failed_or_dropped"


def build_comparison_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the comparison stage."""
    return [_predictions(use_case), _shadow_comparisons(use_case), _shadow_comparison_hourly(use_case)]


def _predictions(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "predictions"],
        deps=[[use_case.name, "deployment"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="comparison",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def predictions(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Answers as they were given, from the prediction log.

        Grain: one row an answered request. Key: request_id. Partition: UTC day of requested_at.
        """
        lake, chosen = platform.lake(), days(context.partition_keys)
        rows, n_unreadable = lake.ingest_predictions(use_case, chosen[0], chosen[-1])
        n_rows = _write_days(lake, PREDICTIONS, use_case, chosen, rows)
        return _ingested(context, PREDICTIONS, n_rows, n_unreadable)

    return predictions


def _shadow_comparisons(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "shadow_comparisons"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, "predictions"], [use_case.name, "challenger_replay"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="comparison",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                CONSERVATION_CHECK,
                asset=key,
                description="Every prediction a challenger was due has one record: compared, failed or dropped.",
            )
        ],
    )
    def shadow_comparisons(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """What every challenger made of every request, from the shadow log.

        Grain: one row a request and challenger. Key: request_id, challenger_version. Partition: UTC day of
        requested_at.
        """
        lake, chosen = platform.lake(), days(context.partition_keys)
        rows, n_unreadable = lake.ingest_shadow(use_case, chosen[0], chosen[-1])
        n_rows = _write_days(lake, SHADOW_COMPARISONS, use_case, chosen, rows)
        balances = _balances(platform, use_case, chosen)
        result = _ingested(context, SHADOW_COMPARISONS, n_rows, n_unreadable)
        return dg.MaterializeResult(metadata=result.metadata, check_results=[conservation_result(balances)])

    return shadow_comparisons


def _write_days(
    lake: "Lake", schema: TableSchema, use_case: UseCase, of_days: Sequence[date], rows: pd.DataFrame
) -> int:
    day_of = rows[schema.time_column].dt.date
    return sum(lake.write_table(schema, use_case, day, rows[day_of == day]) for day in of_days)


def _balances(
    platform: PlatformResource, use_case: UseCase, of_days: Sequence[date]
) -> list[tuple[date, Conservation]]:
    lake, manifest = platform.lake(), platform.manifest(use_case)
    active = {model.version: model.since for model in manifest.challengers} if manifest else {}
    raw = lake.doubled_comparisons(use_case, of_days[0], of_days[-1])
    found = []
    for day in of_days:
        end = date.fromordinal(day.toordinal() + 1)
        predictions = lake.read_table(PREDICTIONS, use_case, day, end)
        comparisons = lake.read_table(SHADOW_COMPARISONS, use_case, day, end)
        rows = raw[pd.to_datetime(raw["day"]).dt.date == day]
        doubled = dict(zip(rows["challenger_version"], rows["n_doubled"].astype(int), strict=True))
        found += [(day, balance) for balance in conservation(predictions, comparisons, active, doubled)]
    return found


def conservation_result(balances: Sequence[tuple[date, Conservation]]) -> dg.AssetCheckResult:
    """Check result of the balances of some days: passed when each is even.

    A prediction that only waits for the shadow worker is a warning; a lost, doubled or surplus record is an error.
    """
    uneven = [(day, balance) for day, balance in balances if not balance.is_balanced]
    is_waiting = all(not (b.n_lost or b.n_surplus or b.n_doubled) for _, b in uneven)
    lines = [
        f"{day}, challenger {b.challenger_version}: {b.n_lost} lost, {b.n_pending} pending, {b.n_surplus} surplus, "
        f"{b.n_doubled} doubled of {b.n_predictions}"
        for day, b in uneven
    ]
    advice = "materialize challenger_replay, then shadow_comparisons of these days again"
    return dg.AssetCheckResult(
        check_name=CONSERVATION_CHECK,
        passed=not uneven,
        severity=dg.AssetCheckSeverity.WARN if is_waiting else dg.AssetCheckSeverity.ERROR,
        description="\n".join([*lines, advice]) if lines else "every prediction has exactly one record",
        metadata={
            "predictions": sum(b.n_predictions for _, b in balances),
            "compared": sum(b.n_compared for _, b in balances),
            "failed": sum(b.n_failed for _, b in balances),
            "dropped": sum(b.n_dropped for _, b in balances),
        },
    )


def _ingested(
    context: dg.AssetExecutionContext, schema: TableSchema, n_rows: int, n_unreadable: int
) -> dg.MaterializeResult:
    if n_unreadable:
        context.log.warning("%s log: %d lines could not be read and were left out", schema.name, n_unreadable)
    columns = [dg.TableColumn(c.name, c.type, c.comment) for c in schema.columns]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": n_rows,
            "dagster/column_schema": dg.TableSchema(columns),
            "unreadable_lines": n_unreadable,
        }
    )


def _shadow_comparison_hourly(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "shadow_comparison_hourly"],
        deps=[[use_case.name, "shadow_comparisons"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="comparison",
        kinds={"pandas", "parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def shadow_comparison_hourly(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Counts, agreement, flips, differences and latencies of every hour.

        Grain: one row an hour of requests, champion and challenger. Key: hour_at, champion_version,
        challenger_version; where both are equal, the challenger answered as canary and was compared with itself.
        Partition: UTC day of hour_at.
        """
        lake, n_rows, parts = platform.lake(), 0, []
        for day in days(context.partition_keys):
            rows = lake.read_table(SHADOW_COMPARISONS, use_case, day, date.fromordinal(day.toordinal() + 1))
            n_rows += lake.write_table(SHADOW_COMPARISON_HOURLY, use_case, day, hourly(rows))
            parts.append(between_models(rows))
        compared = pd.concat(parts, ignore_index=True)
        metadata: dict[str, dg.MetadataValue[str] | int] = {
            "dagster/row_count": n_rows,
            "compared": len(compared),
            "flips": len(flips(compared)),
        }
        if len(compared):
            metadata["comparison"] = dg.MetadataValue.md(
                platform.pictures().comparison(
                    compared, f"{use_case.title}: champion and challenger on the same requests"
                )
            )
        return dg.MaterializeResult(metadata=metadata)

    return shadow_comparison_hourly
