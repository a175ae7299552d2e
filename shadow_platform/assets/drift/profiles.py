"""Hourly profiles of the requests served: counted once, so that a verdict on any window is a merge and not a scan.

Belongs here: which hours are counted, and keeping them. Does not belong here: counting (the drift stage), what is
concluded (``verdict``). Upstream: predictions as served, the champion bundle's frozen reference. Downstream:
drift_profiles, drift_correlation_sums, verdicts.

The tables hold nothing that ``predictions`` does not tell: whatever is missing or out of date is counted again.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import DRIFT_CORRELATION_SUMS, DRIFT_PROFILES, PREDICTIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.drift.grid import Grid, reference_grid
from shadow_platform.domain.drift.profiles import Profiles, empty_profiles, merge, profiles_of
from shadow_platform.domain.drift.storage import correlation_rows, from_rows, profile_rows
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days, end_of, start_of
from shadow_platform.resources import PlatformResource

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Champion:
    """What requests are compared with: the bundle that answers, its frozen reference, and the cells it fixes."""

    bundle_hash: str
    reference: pd.DataFrame
    grid: Grid


def champion_of(platform: PlatformResource, use_case: UseCase) -> Champion:
    """The champion in force; raises ``dg.Failure`` when there is none."""
    manifest = platform.require_manifest(use_case, "no champion and no reference")
    reference = platform.bundles().load(manifest.champion.bundle_hash).reference()
    grid = reference_grid(use_case.features, reference, use_case.drift)
    return Champion(manifest.champion.bundle_hash, reference, grid)


def build_drift_profiles(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``drift_profiles`` of a use case."""
    key = dg.AssetKey([use_case.name, "drift_profiles"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, "predictions"], [use_case.name, "deployment"]],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="drift",
        kinds={"numpy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        pool=f"{use_case.name}_drift_profiles",
    )
    def drift_profiles(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Counts of every feature and of the score by hour, in cells that the champion's reference fixes.

        Grain: one row an hour, reference and column, in drift_profiles and, of pairs of features, in
        drift_correlation_sums. Key: use_case, grid, hour_at, feature. Partition: UTC day of the requests. Hours whose
        requests are those of the last run are not counted again; rows of former champions stay.
        """
        champion = champion_of(platform, use_case)
        for day in days(context.partition_keys):
            facts = count_day(platform, use_case, champion.grid, champion.bundle_hash, day)
            context.add_asset_metadata(facts, asset_key=key, partition_key=day.isoformat())
            context.log.info("%s: %s", day, facts)
        return dg.MaterializeResult(metadata={"grid": champion.grid.fingerprint, "bundle": champion.bundle_hash})

    return drift_profiles


def stored_profiles(
    platform: PlatformResource,
    use_case: UseCase,
    grid: Grid,
    bundle_hash: str,
    start: datetime,
    end: datetime,
    compared: Collection[date] = (),
    *,
    keep: bool = True,
) -> Profiles:
    """Profiles of the requests in ``[start, end)``, whole hours: one period a UTC day, the ends cut at the hour.

    Hours that were never counted on the grid, or of other requests than there are now, are counted first.

    Args:
        bundle_hash: scores of other bundles' answers count as null: those of two models differ without any drift.
        compared: days whose counts the caller's run has compared with their requests already.
        keep: write what is counted into the tables.
    """
    parts = [empty_profiles(grid)]
    for day in platform.lake().table_days(PREDICTIONS, use_case):
        if start_of(day) < end and end_of(day) > start:
            due: list[datetime] = []
            if day not in compared and keep:
                count_day(platform, use_case, grid, bundle_hash, day)
            elif day not in compared:
                _, due, anew = _counted_anew(platform, use_case, grid, bundle_hash, day)
                parts.append(anew.window(start, end).by_day())
            parts.append(_read(platform, use_case, grid, day, due).window(start, end).by_day())
    return merge(parts)


def count_day(
    platform: PlatformResource, use_case: UseCase, grid: Grid, bundle_hash: str, day: date
) -> dict[str, float | int]:
    """Count the hours of a day whose requests are not those that were counted; what was done."""
    began, lake = time.perf_counter(), platform.lake()
    hours, due, profiles = _counted_anew(platform, use_case, grid, bundle_hash, day)
    wanted = _by_hour(hours)
    fingerprints = {hour: wanted.get(hour, "") for hour in due}
    # A run that dies in between leaves the old fingerprints, so that the next one counts again.
    sums, rows = correlation_rows(profiles, use_case.name), profile_rows(profiles, use_case.name, fingerprints)
    lake.append_rows(DRIFT_CORRELATION_SUMS, use_case, sums)
    lake.append_rows(DRIFT_PROFILES, use_case, rows)
    took, n = time.perf_counter() - began, int(profiles.n.sum())
    return {
        "dagster/row_count": int(hours["n"].sum()),
        "hours": len(wanted),
        "hours_counted": len(due),
        "requests_counted": n,
        "seconds": took,
        "requests_per_second": n / took,
    }


def _counted_anew(
    platform: PlatformResource, use_case: UseCase, grid: Grid, bundle_hash: str, day: date
) -> tuple[pd.DataFrame, list[datetime], Profiles]:
    """Hours of a day's requests, those of them that are not as they were counted, and the profiles of these."""
    lake = platform.lake()

    def count() -> tuple[pd.DataFrame, list[datetime], Profiles]:
        hours = lake.request_hours(use_case, start_of(day), end_of(day))
        wanted, known = _by_hour(hours), _known_hours(platform, use_case, grid, day)
        due = sorted(hour for hour in wanted.keys() | known.keys() if wanted.get(hour, "") != known.get(hour))
        return hours, due, _counted(platform, use_case, grid, bundle_hash, due)

    # Together, so that the fingerprints are those of the requests that were counted.
    return lake.undisturbed(use_case, start_of(day), end_of(day), count)


def _counted(
    platform: PlatformResource, use_case: UseCase, grid: Grid, bundle_hash: str, hours: Sequence[datetime]
) -> Profiles:
    """Profiles of the requests of some hours; of an hour without any, a period without rows."""
    counted = empty_profiles(grid, hours)
    if not hours:
        return counted
    for batch in platform.lake().request_batches(use_case, hours[0], hours[-1] + HOUR):
        own = batch[batch["requested_at"].dt.floor("h").isin(hours)]
        scores = own["score"].where(own["bundle_hash"] == bundle_hash)
        counted += profiles_of(own.assign(score=scores), grid)
    return counted


def _known_hours(platform: PlatformResource, use_case: UseCase, grid: Grid, day: date) -> dict[datetime, str]:
    """Fingerprint of the requests that each hour was counted of."""
    columns = ["hour_at", "grid", "input_fingerprint"]
    rows = platform.lake().read_table(DRIFT_PROFILES, use_case, day, end_of(day).date(), columns)
    return _by_hour(rows[rows["grid"] == grid.fingerprint].drop_duplicates("hour_at"))


def _by_hour(rows: pd.DataFrame) -> dict[datetime, str]:
    return {hour.to_pydatetime(): text for hour, text in zip(rows["hour_at"], rows["input_fingerprint"], strict=True)}


def _read(
    platform: PlatformResource, use_case: UseCase, grid: Grid, day: date, without: Sequence[datetime]
) -> Profiles:
    """Counts of a day in the tables, but for some hours."""
    lake, until = platform.lake(), end_of(day).date()
    columns, sums = (lake.read_table(t, use_case, day, until) for t in (DRIFT_PROFILES, DRIFT_CORRELATION_SUMS))
    return from_rows(columns[~columns["hour_at"].isin(without)], sums, grid)
