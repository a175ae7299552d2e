"""Parity stage: every served feature is computed again as training would, and each difference gets its cause.

Upstream: predictions as served, the feature store's point-in-time join, feature rows and when they were made.
Downstream: people, the warehouse. The check blocks nothing: the requests have been answered.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import FEATURE_PARITY, PREDICTIONS
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.parity import (
    COLUMNS,
    EXPECTED,
    LARGEST_SHIFT,
    MEANING,
    Cause,
    Evidence,
    compare,
    parity_rows,
    served_requests,
    suspected_entities,
)
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

PICTURED = timedelta(days=28)
MAX_OFFENDERS = 20
RECORDS_AT_ONCE = 1_000
_EQUAL = "served_features_equal_training_features"
_CODE_VERSION, _FINGERPRINT = "dagster/code_version", "fingerprint"


def build_parity_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the parity stage; none where every feature comes with the request."""
    return [_feature_parity(use_case)] if use_case.views or use_case.derivations else []


def _feature_parity(use_case: UseCase) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "feature_parity"])

    @dg.asset(
        key=key,
        deps=[
            [use_case.name, "predictions"],
            *(dg.AssetDep([use_case.name, view.name], partition_mapping=_within_ttl(view)) for view in use_case.views),
        ],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="quality",
        kinds={"feast", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                _EQUAL,
                asset=key,
                description="Served values are those that training computes for the same requests. Blocks nothing.",
            )
        ],
    )
    def feature_parity(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Served features against the features that training computes for the same requests.

        Grain: one row a day, feature and cause of its differences. Key: the same. Partition: UTC day of the requests;
        a day compared again replaces its rows, and sees what has become of the feature rows since.
        """
        lake, chosen = platform.lake(), days(context.partition_keys)
        audit = Audit(platform, use_case, context.instance)
        by_day = {day: audit.of(day) for day in chosen}
        for day, rows in by_day.items():
            lake.write_table(FEATURE_PARITY, use_case, day, rows)
            context.add_asset_metadata(_facts(rows), asset_key=key, partition_key=day.isoformat())
        last = chosen[-1]
        kept = lake.read_table(FEATURE_PARITY, use_case, end_of(last).date() - PICTURED, end_of(last).date())
        picture = platform.pictures().feature_parity(kept, f"{use_case.title}: served against training until {last}")
        context.add_asset_metadata({"plot": dg.MetadataValue.md(picture)}, asset_key=key, partition_key=str(last))
        return dg.MaterializeResult(check_results=[_check_result(by_day, audit.lacking)])

    return feature_parity


def _within_ttl(view: FeatureView) -> dg.TimeWindowPartitionMapping:
    reach = math.ceil(view.ttl / timedelta(days=1))
    return dg.TimeWindowPartitionMapping(start_offset=-reach, allow_nonexistent_upstream_partitions=True)


class Audit:
    """Compares the requests of a day; rows and their history are read only of entities with a difference.

    Attributes:
        lacking: views without any row in the lake.
    """

    def __init__(self, platform: PlatformResource, use_case: UseCase, instance: dg.DagsterInstance) -> None:
        self._lake, self._store = platform.lake(), platform.feature_store(use_case)
        self._use_case, self._instance = use_case, instance
        self.lacking = [view.name for view in use_case.views if not self._lake.feature_days(use_case, view)]

    def of(self, day: date) -> pd.DataFrame:
        """Rows of the day's partition; none while a view has no row at all that could be compared with."""
        if self.lacking:
            return pd.DataFrame(columns=list(FEATURE_PARITY.column_names))
        predictions = self._lake.read_table(PREDICTIONS, self._use_case, day, end_of(day).date(), COLUMNS)
        served, rows = served_requests(self._use_case, predictions), []
        if len(served):
            offline = self._store.historical(served.asked) if self._use_case.views else served.asked
            suspected = suspected_entities(self._use_case, served, offline)
            evidence = {view.name: self._evidence(view, day, suspected.get(view.name)) for view in self._use_case.views}
            known = {name: found for name, found in evidence.items() if found is not None}
            found = compare(self._use_case, served, offline, known)
            rows = parity_rows(self._use_case.name, start_of(day), served, offline, found)
        return pd.DataFrame(rows, columns=list(FEATURE_PARITY.column_names))

    def _evidence(self, view: FeatureView, day: date, entities: set[str] | None) -> Evidence | None:
        """The rows of some entities that a request of the day may have been served, and when they were made."""
        if entities is None:
            return None
        first, last = (start_of(day) - view.ttl - LARGEST_SHIFT).date(), (end_of(day) + LARGEST_SHIFT).date()
        due = [known for known in self._lake.feature_days(self._use_case, view) if first <= known <= last]
        parts = []
        for known in due:
            rows = self._lake.read_features(self._use_case, view, known, known + timedelta(days=1))
            parts.append(rows[rows[view.entity].isin(entities)])
        nothing = self._lake.read_features(self._use_case, view, date.max, date.max)
        made = materializations(self._instance, dg.AssetKey([self._use_case.name, view.name]), due)
        return Evidence(pd.concat(parts or [nothing], ignore_index=True), made)


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey, due: Sequence[date]) -> pd.DataFrame:
    """Materializations of days of a view that left other rows than the one before, as Dagster recorded them.

    Their fingerprints tell it even where a run that failed had rewritten the rows, of which nothing was recorded.
    """
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[str(day) for day in due])
    told, cursor = list[tuple[date, float, str, object]](), None
    while True:
        page = instance.fetch_materializations(asked, limit=RECORDS_AT_ONCE, cursor=cursor)
        for record in page.records:
            if (made := record.asset_materialization) is not None:
                day, fingerprint = date.fromisoformat(str(record.partition_key)), made.metadata.get(_FINGERPRINT)
                rows = record.storage_id if fingerprint is None else fingerprint.value
                told.append((day, record.timestamp, (made.tags or {}).get(_CODE_VERSION, ""), rows))
        if not page.has_more:
            break
        cursor = page.cursor
    frame = pd.DataFrame(told, columns=["day", "made_at", "code_version", "rows"]).sort_values("made_at")
    frame = frame[frame["rows"] != frame.groupby("day")["rows"].shift()].drop(columns="rows").reset_index(drop=True)
    return frame.assign(made_at=pd.to_datetime(frame["made_at"], unit="s", utc=True).astype("datetime64[us, UTC]"))


def _facts(rows: pd.DataFrame) -> dict[str, Any]:
    compared = rows.drop_duplicates("feature")["n_compared"].sum()
    faults = _faults(rows)
    return {
        "dagster/row_count": len(rows),
        "values_compared": int(compared),
        "values_different": int(faults["n"].sum()),
        "values_in_transit": int(rows.loc[rows["cause"].eq(Cause.IN_TRANSIT), "n"].sum()),
        "differences": dg.MetadataValue.md(_table(faults)),
    }


def _faults(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["cause"].isin(EXPECTED)].sort_values(["n", "feature"], ascending=[False, True], kind="stable")


def _check_result(by_day: Mapping[date, pd.DataFrame], lacking: Sequence[str]) -> dg.AssetCheckResult:
    """Result of the check on all days of a run."""
    rows = pd.concat(list(by_day.values()), ignore_index=True)
    faults = _faults(rows)
    by_cause = faults.groupby("cause")["n"].sum().sort_values(ascending=False)
    n_compared = int(rows.drop_duplicates(["day_at", "feature"])["n_compared"].sum())
    told = None
    if len(by_cause):
        cause = Cause(str(by_cause.index[0]))
        told = f"{int(by_cause.sum())} of {n_compared} values differ, most of them {cause}: {MEANING[cause]}"
    elif lacking:
        told = f"views {list(lacking)} have no rows, so that nothing could be compared: materialize their partitions"
    elif not n_compared:
        told = "no request was answered, so that nothing was compared"
    return dg.AssetCheckResult(
        check_name=_EQUAL,
        passed=faults.empty and not lacking,
        severity=dg.AssetCheckSeverity.WARN,
        description=told,
        metadata={
            "values_compared": n_compared,
            "values_by_cause": {str(cause): int(n) for cause, n in rows.groupby("cause")["n"].sum().items()},
            "differences": dg.MetadataValue.md(_table(faults)),
        },
    )


def _table(faults: pd.DataFrame) -> str:
    if faults.empty:
        return "none"
    lines = ["| day | feature | cause | n | of | example | what it means |", "|---|---|---|---|---|---|---|"]
    for row in faults.head(MAX_OFFENDERS).itertuples():
        meaning = MEANING[Cause(str(row.cause))]
        lines.append(
            f"| {row.day_at:%Y-%m-%d} | {row.feature} | {row.cause} | {row.n} | {row.n_compared} "
            f"| {row.example_request_id} | {meaning} |"
        )
    if len(faults) > MAX_OFFENDERS:
        lines.append(f"\n{len(faults) - MAX_OFFENDERS} more are in the table feature_parity.")
    return "\n".join(lines)
