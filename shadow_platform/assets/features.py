"""Features stage: feature rows from events, their definitions in Feast, and the online store.

Upstream: events. Downstream: training_frame reads history through Feast, the service reads the online store.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pandas as pd

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.features import by_day, null_rates, runs_of_days, violations
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

# A longer run of days computes its history once; a month bounds the memory.
DAYS_PER_QUERY = 31
_SOUND = "rows_are_unique_complete_and_in_their_day"
_PRESENT = "no_feature_is_null_throughout"
_PARTITION_ROWS = "dagster/partition_row_count"
_INSTANT = timedelta(microseconds=1)


class OnlineWindow(dg.Config):
    """Rows to bring into the online store, by ``event_at``, RFC 3339.

    Attributes:
        start: default: the longest time to live before the end.
        end: default: the end of the last day that every view has rows of.
    """

    start: str | None = None
    end: str | None = None


def build_feature_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the features stage."""
    views = [_view_asset(use_case, view) for view in use_case.views]
    return [*views, _feature_definitions(use_case), _online_features(use_case)]


def _view_asset(use_case: UseCase, view: FeatureView) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, view.name])
    reach = math.ceil(view.lookback / timedelta(days=1))
    earlier_days = dg.TimeWindowPartitionMapping(start_offset=-reach, allow_nonexistent_upstream_partitions=True)

    @dg.asset(
        key=key,
        deps=[dg.AssetDep([use_case.name, "events"], partition_mapping=earlier_days)],
        description=f"{view.description}. Grain: one row a {view.entity} and event_at, using nothing received after "
        f"it. Key: {view.entity}, event_at. Partition: UTC day of event_at.",
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="features",
        kinds={"duckdb", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        metadata={
            "dagster/column_schema": _schema(use_case, view),
            "sql": dg.MetadataValue.md(f"```sql\n{view.sql}\n```"),
        },
        check_specs=[
            dg.AssetCheckSpec(_SOUND, asset=key, blocking=True, description="What point-in-time joins rely on."),
            dg.AssetCheckSpec(_PRESENT, asset=key, description="A feature without any value cannot teach anything."),
        ],
    )
    def feature_view(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        features = use_case.view_features(view.name)
        parts: list[pd.DataFrame] = []
        for run in runs_of_days(days(context.partition_keys), DAYS_PER_QUERY):
            rows = _compute(platform, use_case, view, run)
            found = violations(rows, view.entity, features, start_of(run[0]), end_of(run[-1]))
            if found:
                yield dg.AssetCheckResult(check_name=_SOUND, passed=False, metadata={"violations": found})
                raise FeatureStoreError(
                    f"view {view.name!r}, {run[0]} to {run[-1]}: {'; '.join(found)}; nothing was written, "
                    "correct its SQL"
                )
            for day, part in by_day(rows, run).items():
                platform.lake().write_features(use_case, view, day, part)
                context.add_asset_metadata({_PARTITION_ROWS: len(part)}, partition_key=day.isoformat())
            parts.append(rows)
        rates = null_rates(pd.concat(parts), [feature.name for feature in features])
        yield dg.AssetCheckResult(check_name=_SOUND, passed=True)
        empty = [name for name, rate in rates.items() if rate == 1.0]
        yield dg.AssetCheckResult(
            check_name=_PRESENT,
            passed=not empty,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"null_features": empty},
        )
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(len(part) for part in parts),
                "entities": int(pd.concat([part[view.entity] for part in parts]).nunique()),
                "null_rates": rates,
                "dagster/column_schema": _schema(use_case, view),
            }
        )

    return feature_view


def _compute(platform: PlatformResource, use_case: UseCase, view: FeatureView, run: Sequence[date]) -> pd.DataFrame:
    """Rows with ``event_at`` in the days of a run.

    The SQL's window is open below and closed above; an instant earlier at both ends makes it the whole days, so that
    the row of midnight needs no event of a day that has not yet been received.
    """
    start, end = start_of(run[0]) - _INSTANT, end_of(run[-1]) - _INSTANT
    return platform.lake().events_sql(
        view.sql, use_case, use_case.events, {"start": start, "end": end}, start=start - view.lookback, end=end
    )


def _feature_definitions(use_case: UseCase) -> dg.AssetsDefinition:
    @dg.asset(
        key=[use_case.name, "feature_definitions"],
        group_name="features",
        kinds={"feast"},
        owners=[use_case.owner],
        code_version="1",
    )
    def feature_definitions(platform: PlatformResource) -> dg.MaterializeResult[None]:
        """Entities, feature views and feature service of the use case in Feast's registry."""
        names = platform.feature_store(use_case).apply()
        columns = [
            dg.TableColumn(f.name, f.kind, f.description)
            for v in use_case.views
            for f in use_case.view_features(v.name)
        ]
        return dg.MaterializeResult(
            metadata={
                "views": list(names),
                "dagster/row_count": len(columns),
                "dagster/column_schema": dg.TableSchema(columns),
            }
        )

    return feature_definitions


def _online_features(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "online_features"])
    check = "every_view_has_rows_online"

    @dg.asset(
        key=key,
        deps=[
            dg.AssetKey([use_case.name, name]) for name in ("feature_definitions", *(v.name for v in use_case.views))
        ],
        group_name="features",
        kinds={"feast", "sqlite"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[dg.AssetCheckSpec(check, asset=key, description="A view without rows is imputed everywhere.")],
    )
    def online_features(config: OnlineWindow, platform: PlatformResource) -> Iterator[dg.MaterializeResult[None]]:
        """Latest row of every entity in an explicit window, in the online store, read back and compared.

        Grain: one row an entity and view. A window that is older than what the store holds changes nothing.
        """
        start, end = _window(config, platform, use_case)
        counts = platform.feature_store(use_case).materialize(start, end)
        empty = [name for name, n in counts.items() if n == 0]
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(counts.values()),
                "rows_by_view": counts,
                "window_start": dg.MetadataValue.timestamp(start),
                "window_end": dg.MetadataValue.timestamp(end),
                "dagster/column_schema": dg.TableSchema([dg.TableColumn(*c) for c in _online_columns(use_case)]),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=check,
                    passed=not empty,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"views_without_rows": empty},
                )
            ],
        )

    return online_features


def _online_columns(use_case: UseCase) -> list[tuple[str, str, str]]:
    return [(f.name, f.kind, f.description) for v in use_case.views for f in use_case.view_features(v.name)]


def _window(config: OnlineWindow, platform: PlatformResource, use_case: UseCase) -> tuple[datetime, datetime]:
    if config.end is None:
        last_days = [max(platform.lake().feature_days(use_case, view), default=None) for view in use_case.views]
        known = [day for day in last_days if day is not None]
        if len(known) < len(last_days):
            raise FeatureStoreError(f"not every view of {use_case.name!r} has rows; materialize the views first")
        end = end_of(min(known)) - _INSTANT
    else:
        end = _moment("end", config.end)
    longest = max(view.ttl for view in use_case.views)
    return (end - longest if config.start is None else _moment("start", config.start)), end


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FeatureStoreError(f"{name}={text!r} is no RFC 3339 time; write it as 2013-03-01T00:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
