"""Assets of feature views: a Parquet file a day, replaced when its rows differ, with all that Dagster can tell of it.

Belongs here: one asset a view, its checks and metadata. Does not belong here: what is done with its days (``making``).
Upstream: events. Downstream: training_frame through Feast, online_features.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.features.history import VANISHED, history_results, history_specs, picture, vanished_features
from shadow_platform.assets.features.making import Making
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.features import null_rates, reach_days, runs_of_days
from shadow_platform.partitions import SINGLE_RUN, daily_freshness, daily_partitions, data_version, days
from shadow_platform.resources import PlatformResource

# A longer run of days computes its history once; a month bounds the memory.
DAYS_PER_QUERY = 31
_SOUND = "rows_are_unique_complete_and_in_their_day"
_PRESENT = "no_feature_is_null_throughout"


class ViewConfig(dg.Config):
    """What a person knows of the days that the data do not tell.

    Attributes:
        without_values: features that have no value any more, and rightly so.
    """

    without_values: list[str] = []


def build_view(use_case: UseCase, view: FeatureView) -> dg.AssetsDefinition:
    """Asset of a view."""
    key = dg.AssetKey([use_case.name, view.name])
    earlier_days = dg.TimeWindowPartitionMapping(
        start_offset=-reach_days(view), allow_nonexistent_upstream_partitions=True
    )

    @dg.asset(
        key=key,
        deps=[dg.AssetDep([use_case.name, "events"], partition_mapping=earlier_days)],
        description=f"{view.description}. Grain: one row a {view.entity} and event_at, using nothing received after "
        f"it. Key: {view.entity}, event_at. Partition: UTC day of event_at.",
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        freshness_policy=daily_freshness(use_case),
        group_name="features",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version=_code_version(view),
        metadata={
            "dagster/column_schema": _schema(use_case, view),
            "sql": dg.MetadataValue.md(f"```sql\n{view.sql}\n```"),
        },
        check_specs=[
            dg.AssetCheckSpec(_SOUND, asset=key, blocking=True, description="What point-in-time joins rely on."),
            dg.AssetCheckSpec(_PRESENT, asset=key, description="A feature without any value cannot teach anything."),
            *history_specs(key),
        ],
    )
    def feature_view(
        context: dg.AssetExecutionContext, config: ViewConfig, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        making, asked = Making(platform, use_case, view), days(context.partition_keys)
        parts: list[pd.DataFrame] = []
        for run in runs_of_days(asked, DAYS_PER_QUERY):
            rows = making.compute(run)
            if found := making.violations(rows, run):
                yield dg.AssetCheckResult(check_name=_SOUND, passed=False, metadata={"violations": found})
                raise _refusal(view, run, "; ".join(found), "correct its SQL")
            counted = making.counts(rows, run, config.without_values)
            if gone := vanished_features(making, counted):
                yield dg.AssetCheckResult(check_name=VANISHED, passed=False, metadata={"features_by_day": gone})
                names = sorted({name for of_day in gone.values() for name in of_day})
                raise _refusal(
                    view, run, f"no value any more of {names}", f"look upstream, or set without_values={names}"
                )
            for day, is_rewritten in making.replace(counted):
                facts = _facts(use_case, view, making, day) | {"is_rewritten": is_rewritten}
                context.add_asset_metadata(facts, partition_key=day.isoformat())
            parts.append(rows)
        plot = dg.MetadataValue.md(picture(platform, use_case, view, making, asked[-1]))
        context.add_asset_metadata({"plot": plot}, partition_key=asked[-1].isoformat())
        rates = null_rates(pd.concat(parts), [feature.name for feature in use_case.view_features(view.name)])
        yield from _check_results(rates, making, asked)
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(len(part) for part in parts),
                "entities": int(pd.concat([part[view.entity] for part in parts]).nunique()),
                "null_rates": rates,
                "days_rewritten": [day.isoformat() for day in making.rewritten],
                "dagster/column_schema": _schema(use_case, view),
                "dagster/column_lineage": _lineage(platform, use_case, view),
            },
            data_version=data_version({str(day): making.records[day].fingerprint for day in asked}),
        )

    return feature_view


def _code_version(view: FeatureView) -> str:
    """Changes with the SQL, so that nobody needs to remember to raise a number."""
    return f"1-{hashlib.sha256(repr((view.entity, view.lookback, view.sql)).encode()).hexdigest()[:12]}"


def _refusal(view: FeatureView, run: Sequence[date], wrong: str, remedy: str) -> FeatureStoreError:
    return FeatureStoreError(f"view {view.name!r}, {run[0]} to {run[-1]}: {wrong}; nothing was written, {remedy}")


def _check_results(rates: dict[str, float], making: Making, asked: Sequence[date]) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(check_name=_SOUND, passed=True)
    empty = [name for name, rate in rates.items() if rate == 1.0]
    yield dg.AssetCheckResult(
        check_name=_PRESENT,
        passed=not empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"null_features": empty},
    )
    yield from history_results(making, asked)


def _facts(use_case: UseCase, view: FeatureView, making: Making, day: date) -> dict[str, Any]:
    """What is told of one day; the fingerprint is its data version in runs of many days, which have only one."""
    record = making.records[day]
    names = [feature.name for feature in use_case.view_features(view.name)]
    rates = {name: round(record.nulls.get(name, 0) / record.n_rows, 6) for name in names} if record.n_rows else {}
    return {
        "dagster/partition_row_count": record.n_rows,
        "entities": record.n_entities,
        "null_rates": rates,
        "fingerprint": record.fingerprint,
    }


def _lineage(platform: PlatformResource, use_case: UseCase, view: FeatureView) -> dg.TableColumnLineage:
    events, names = dg.AssetKey([use_case.name, "events"]), [f.name for f in use_case.view_features(view.name)]
    columns = {kind.name: tuple(kind.schema.columns) for kind in use_case.events}
    lineage = platform.column_lineage(view.sql, names, columns, {kind.name: kind.key for kind in use_case.events})
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(events, f"{kind}.{column}") for kind, column in found]
            for name, found in lineage.items()
        }
    )


def _schema(use_case: UseCase, view: FeatureView) -> dg.TableSchema:
    entity = next(entity for entity in use_case.entities if entity.join_key == view.entity)
    required = dg.TableColumnConstraints(nullable=False)
    described = [
        dg.TableColumn(f.name, f.kind, f"{f.description} [{f.unit}]" if f.unit else f.description)
        for f in use_case.view_features(view.name)
    ]
    return dg.TableSchema(
        [
            dg.TableColumn(view.entity, "string", entity.description, required),
            dg.TableColumn("event_at", "timestamp", "when the values became true (UTC)", required),
            dg.TableColumn("created_at", "timestamp", "when the row could first be known (UTC)", required),
            *described,
        ]
    )
