"""Definitions of a use case in Feast, and the latest rows of its views in the online store.

Upstream: feature views. Downstream: training_frame reads history through Feast, the service reads the online store.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import dagster as dg

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.partition_records import FeaturesRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.partitions import INSTANT, daily_freshness, end_of, start_of
from shadow_platform.resources import PlatformResource


class OnlineWindow(dg.Config):
    """Rows to bring into the online store, by ``event_at``, RFC 3339.

    Attributes:
        start: default: the longest time to live before the end.
        end: default: the end of the last day that every view has rows of.
    """

    start: str | None = None
    end: str | None = None


def build_feature_definitions(use_case: UseCase) -> dg.AssetsDefinition:
    """Asset of what Feast knows of the use case."""

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


def build_online_features(use_case: UseCase) -> dg.AssetsDefinition:
    """Asset of the rows in the online store."""
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
        freshness_policy=daily_freshness(use_case),
        check_specs=[dg.AssetCheckSpec(check, asset=key, description="A view without rows is imputed everywhere.")],
    )
    def online_features(config: OnlineWindow, platform: PlatformResource) -> Iterator[dg.MaterializeResult[None]]:
        """Latest row of every entity in an explicit window, in the online store, read back and compared.

        Grain: one row an entity and view. A window that is older than what the store holds changes nothing.
        """
        start, end = _window(config, platform, use_case)
        notes = platform.partition_records(use_case)
        # Before they are read: a day that is made again meanwhile differs from what is noted, and is brought again.
        brought = [(view, _fingerprints(notes.features(view), start, end)) for view in use_case.views]
        counts = platform.feature_store(use_case).materialize(start, end)
        for view, fingerprints in brought:
            notes.note_online(view, fingerprints)
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


def _fingerprints(records: Mapping[date, FeaturesRecord], start: datetime, end: datetime) -> dict[date, str]:
    """Of the days that a window touches."""
    return {day: record.fingerprint for day, record in records.items() if start_of(day) <= end and start < end_of(day)}


def _online_columns(use_case: UseCase) -> list[tuple[str, str, str]]:
    return [(f.name, f.kind, f.description) for v in use_case.views for f in use_case.view_features(v.name)]


def _window(config: OnlineWindow, platform: PlatformResource, use_case: UseCase) -> tuple[datetime, datetime]:
    if config.end is None:
        last_days = [max(platform.lake().feature_days(use_case, view), default=None) for view in use_case.views]
        known = [day for day in last_days if day is not None]
        if len(known) < len(last_days):
            raise FeatureStoreError(f"not every view of {use_case.name!r} has rows; materialize the views first")
        end = end_of(min(known)) - INSTANT
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
