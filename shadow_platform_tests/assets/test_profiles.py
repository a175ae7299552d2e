"""The asset ``drift_profiles``: every hour is counted once, again when its requests changed, and never in half."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import orjson
import pandas as pd
import pytest

from shadow_platform.adapters.bundle import Bundle, write_bundle
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.drift.profiles import build_drift_profiles, champion_of, stored_profiles
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.monitoring_verdicts import SCORE
from shadow_platform.contracts.tables import DRIFT_CORRELATION_SUMS, DRIFT_PROFILES, PREDICTIONS, TableSchema
from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.profiles import Profiles, profiles_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.shop import USE_CASE as SHOP

USE_CASE = dataclasses.replace(SHOP, features=(*SHOP.features, Feature("visits_7d", "visits in 7 days")))
SERVED = ["cart_value", "visits_7d", "channel"]
FIRST, N_DAYS, PER_DAY = date(2024, 2, 1), 3, 60
START = datetime(2024, 2, 1, tzinfo=UTC)
END = START + timedelta(days=N_DAYS)
ASSET = build_drift_profiles(USE_CASE)


def requests(first: date, n_days: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_days * PER_DAY
    return pd.DataFrame(
        {
            "cart_value": rng.normal(50, 15, n).round(2),
            "visits_7d": rng.poisson(2, n).astype(float),
            "channel": rng.choice(["mail", "search", "山"], n),
            "score": rng.random(n),
            "requested_at": pd.Timestamp(first, tz="UTC") + pd.to_timedelta(np.sort(rng.random(n)) * n_days, unit="D"),
        }
    )


def deploy(layout: Layout, seed: int) -> str:
    """Put a champion in service whose reference is January, drawn anew by seed; its bundle's hash."""
    folder = layout.bundles / line_bundle(layout.bundles)
    model = (folder / "model.onnx").read_bytes()
    reference = requests(date(2024, 1, 1), 20, seed)
    digest, _ = write_bundle(layout.bundles, Bundle.load(folder).manifest, model, reference, [{"cart_value": 20.0}])
    now = datetime(2024, 2, 1, tzinfo=UTC)
    champion = DeployedModel(version=str(seed), bundle_hash=digest, model_name="line", since=now)
    manifest = DeploymentManifest(use_case=USE_CASE.name, generation=seed, champion=champion, written_at=now)
    write_manifest(layout.manifest(USE_CASE.name), manifest)
    return digest


def serve(layout: Layout, rows: pd.DataFrame, bundle_hash: str) -> None:
    """Write the requests' partitions of predictions, in place of what is there."""
    times = rows["requested_at"].astype("datetime64[us, UTC]")
    features = [orjson.dumps(row).decode() for row in rows[SERVED].to_dict("records")]
    table = pd.DataFrame(dict.fromkeys(PREDICTIONS.column_names), index=rows.index).assign(
        use_case=USE_CASE.name,
        request_id=[f"r{i:05d}" for i in range(len(rows))],
        requested_at=times,
        bundle_hash=bundle_hash,
        probability=rows["score"],
        features=features,
    )
    for day, part in table.groupby(times.dt.date):
        Lake(layout).write_table(PREDICTIONS, USE_CASE, day, part)


@dataclasses.dataclass
class Home:
    """A champion in service, three days of its answers, and the asset on them."""

    layout: Layout
    bundle_hash: str
    instance: dg.DagsterInstance
    platform: PlatformResource

    def count(self, first: date = FIRST, n_days: int = N_DAYS, platform: PlatformResource | None = None) -> Any:
        """Materialize some days."""
        last = first + timedelta(days=n_days - 1)
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        resources = {"platform": platform or self.platform}
        return dg.materialize([ASSET], resources=resources, tags=tags, instance=self.instance, raise_on_error=False)

    def facts(self) -> dict[str, dict[str, Any]]:
        """Metadata of the latest materialization by partition."""
        records = self.instance.fetch_materializations(ASSET.key, limit=100, ascending=True).records
        return {
            str(r.partition_key): {name: value.value for name, value in r.asset_materialization.metadata.items()}
            for r in records
            if r.asset_materialization
        }

    def read(self, start: datetime = START, end: datetime = END) -> Profiles:
        champion = champion_of(self.platform, USE_CASE)
        return stored_profiles(self.platform, USE_CASE, champion.grid, champion.bundle_hash, start, end)

    def expected(self, rows: pd.DataFrame) -> str:
        return profiles_of(rows, champion_of(self.platform, USE_CASE).grid).by_day().digest


@pytest.fixture
def home(layout: Layout) -> Iterator[Home]:
    bundle_hash = deploy(layout, 1)
    serve(layout, requests(FIRST, N_DAYS, 2), bundle_hash)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Home(layout, bundle_hash, instance, PlatformResource(shadow_home=str(layout.home)))


def test_what_is_stored_is_what_was_requested(home: Home) -> None:
    assert home.count().success

    assert home.read().digest == home.expected(requests(FIRST, N_DAYS, 2))
    facts = home.facts()
    assert sum(fact["dagster/row_count"] for fact in facts.values()) == N_DAYS * PER_DAY
    assert all(fact["requests_per_second"] > 0 for fact in facts.values())


def test_a_window_may_begin_and_end_within_a_day(home: Home) -> None:
    home.count()
    rows, start, end = requests(FIRST, N_DAYS, 2), START + timedelta(hours=7), END - timedelta(hours=5)
    within = rows[(rows["requested_at"] >= start) & (rows["requested_at"] < end)]

    assert home.read(start, end).digest == home.expected(within)


def test_hours_are_not_counted_again_while_their_requests_stay(home: Home) -> None:
    home.count()
    home.count()

    assert [fact["hours_counted"] for fact in home.facts().values()] == [0] * N_DAYS


def test_late_requests_change_their_hours_alone(home: Home) -> None:
    home.count()
    rows = requests(FIRST, N_DAYS, 2)
    late = rows.iloc[[PER_DAY // 2]].assign(cart_value=500.0)
    # Ids number the rows, so that the late one comes last.
    serve(home.layout, pd.concat([rows, late]), home.bundle_hash)
    home.count()

    counted = {day: fact["hours_counted"] for day, fact in home.facts().items()}
    assert sorted(counted.values()) == [0, 0, 1]
    assert home.read().digest == home.expected(pd.concat([rows, late]))


def test_an_hour_whose_requests_are_gone_is_counted_no_more(home: Home) -> None:
    home.count()
    rows = requests(FIRST, N_DAYS, 2)
    kept = rows[rows["requested_at"] >= START + timedelta(hours=12)]
    serve(home.layout, kept, home.bundle_hash)
    home.count()

    assert home.read().digest == home.expected(kept)


def test_days_that_nobody_counted_are_counted_when_they_are_read(home: Home) -> None:
    assert home.read().digest == home.expected(requests(FIRST, N_DAYS, 2))
    home.count()

    assert [fact["hours_counted"] for fact in home.facts().values()] == [0] * N_DAYS


def test_reading_days_that_were_served_again_tells_what_was_served_last(home: Home) -> None:
    home.count()
    serve(home.layout, requests(FIRST, N_DAYS, 3), home.bundle_hash)

    assert home.read().digest == home.expected(requests(FIRST, N_DAYS, 3))


def test_counts_on_one_grid_are_not_taken_for_current_because_another_grid_was_counted_since(home: Home) -> None:
    home.count()
    first = champion_of(home.platform, USE_CASE)
    late = pd.concat([requests(FIRST, N_DAYS, 2), requests(FIRST, N_DAYS, 3)])
    serve(home.layout, late, home.bundle_hash)
    deploy(home.layout, 2)
    home.count()

    back = stored_profiles(home.platform, USE_CASE, first.grid, first.bundle_hash, START, END)
    assert back.digest == profiles_of(late, first.grid).by_day().digest


class ReplacedLake(Lake):
    """A lake whose requests are replaced once, right after somebody asked which there are."""

    is_replaced = False

    def request_hours(self, uc: Any, start: datetime, end: datetime) -> pd.DataFrame:
        hours = super().request_hours(uc, start, end)
        if not ReplacedLake.is_replaced:
            ReplacedLake.is_replaced = True
            serve(self.layout, requests(FIRST, N_DAYS, 3), "another")
        return hours


class ReplacedPlatform(PlatformResource):
    """The platform on such a lake."""

    def lake(self) -> Lake:
        return ReplacedLake(self.layout)


def test_requests_replaced_while_they_are_counted_are_counted_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplacedLake, "is_replaced", False)
    assert home.count(platform=ReplacedPlatform(shadow_home=str(home.layout.home))).success

    home.count()
    assert [fact["hours_counted"] for fact in home.facts().values()] == [0] * N_DAYS


def test_scores_of_another_bundle_count_as_null(home: Home) -> None:
    serve(home.layout, requests(FIRST, 1, 2), "another")
    home.count()

    null = home.read().columns[SCORE].null
    assert null.tolist() == [PER_DAY, 0, 0]


def test_a_new_champion_counts_on_its_own_cells_and_the_old_rows_stay(home: Home) -> None:
    home.count()
    before = champion_of(home.platform, USE_CASE)
    former = home.read().digest
    deploy(home.layout, 2)
    home.count(FIRST, 1)

    stored = Lake(home.layout).read_table(DRIFT_PROFILES, USE_CASE)
    of_day = stored[stored["hour_at"] < START + timedelta(days=1)]
    assert of_day["grid"].nunique() == 2
    assert champion_of(home.platform, USE_CASE).grid.fingerprint != before.grid.fingerprint
    old = stored_profiles(home.platform, USE_CASE, before.grid, before.bundle_hash, START, END)
    assert old.digest == former


class DyingLake(Lake):
    """A lake whose disk is full when the counts are written, after the sums were."""

    def append_rows(self, schema: TableSchema, uc: Any, rows: Any) -> int:
        if schema is DRIFT_PROFILES:
            raise OSError("disk full")
        return super().append_rows(schema, uc, rows)


class DyingPlatform(PlatformResource):
    """The platform on such a disk."""

    def lake(self) -> Lake:
        return DyingLake(self.layout)


def test_a_run_that_died_between_the_tables_is_made_good_by_the_next(home: Home) -> None:
    home.count()
    serve(home.layout, requests(FIRST, N_DAYS, 3), home.bundle_hash)
    died = home.count(platform=DyingPlatform(shadow_home=str(home.layout.home)))
    assert not died.success
    assert not Lake(home.layout).read_table(DRIFT_CORRELATION_SUMS, USE_CASE).empty

    assert home.count().success
    assert home.read().digest == home.expected(requests(FIRST, N_DAYS, 3))


def test_a_day_without_requests_has_no_hours(home: Home) -> None:
    assert home.count(FIRST + timedelta(days=30), 1).success

    (fact,) = home.facts().values()
    assert (fact["dagster/row_count"], fact["hours"], fact["hours_counted"]) == (0, 0, 0)
    assert home.read(END, END + timedelta(days=1)).n.tolist() == []


def test_without_a_champion_the_run_fails_and_says_what_to_do(home: Home) -> None:
    Path(home.layout.manifest(USE_CASE.name)).unlink()
    result = home.count()

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "there is no champion and no reference; run the job shop_train first" in str(failure.event_specific_data)
