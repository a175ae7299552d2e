"""A run of a view replaces the days whose rows differ, publishes them, and leaves whole days wherever it is killed."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets import parity
from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.features import build_feature_assets, views
from shadow_platform.contracts.layout import Layout
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.chaos.trainings import Death
from shadow_platform_tests.forked import ended, started
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

LAST_DAY = FIRST_DAY + timedelta(days=9)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(10)]
VIEW = USE_CASE.views[0]
EVENTS = ("raw_events", "events", "quarantined_events")
pytestmark = pytest.mark.timeout(600)


def run(
    home: Path,
    *assets: str,
    first: date = FIRST_DAY,
    last: date = LAST_DAY,
    instance: dg.DagsterInstance | None = None,
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*build_event_assets(USE_CASE), *build_feature_assets(USE_CASE)],
        selection=[dg.AssetKey(["tiny", name]) for name in assets],
        resources={"platform": PlatformResource(shadow_home=str(home))},
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags=partition_range(first, last),
        raise_on_error=False,
    )


def die(home: Path, death: Death, *assets: str) -> None:
    death.await_it()
    run(home, *assets)


def identities(home: Path, folder: str) -> dict[str, tuple[int, int]]:
    found = sorted((home / "lake" / folder).glob("**/data.parquet"))
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def told(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    """One fact of every partition."""
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {str(event.partition): event.metadata[name].value for event in events}


def versions(result: dg.ExecuteInProcessResult) -> set[str]:
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {(event.tags or {})["dagster/data_version"] for event in events}


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of events."""
    made = tmp_path_factory.mktemp("received")
    assert run(made, *EVENTS).success
    return made


@pytest.fixture
def home(received: Path, tmp_path: Path) -> Path:
    """Ten days of events, for one test."""
    return shutil.copytree(received, tmp_path / "home")


def test_a_day_of_the_same_rows_keeps_its_file_its_time_and_its_version(home: Path) -> None:
    first = run(home, VIEW.name)
    before = identities(home, "features"), identities(home, "events/tiny/visits")
    again = run(home, VIEW.name)
    assert run(home, *EVENTS).success
    assert (identities(home, "features"), identities(home, "events/tiny/visits")) == before
    assert set(told(first, "is_rewritten").values()) == {True}
    assert set(told(again, "is_rewritten").values()) == {False}
    assert told(again, "fingerprint") == told(first, "fingerprint")
    assert versions(again) == versions(first)
    alone = run(home, VIEW.name, first=LAST_DAY, last=LAST_DAY)
    assert versions(alone) == {told(first, "fingerprint")[str(LAST_DAY)]}


def test_only_the_days_whose_rows_differ_are_rewritten(home: Path) -> None:
    run(home, VIEW.name)
    before, changed_on = identities(home, "features"), FIRST_DAY + timedelta(days=8)
    lake, kind = Lake(Layout(home)), USE_CASE.events[0]
    events = lake.events_sql(
        "SELECT * FROM visits WHERE received_at::DATE = $day", USE_CASE, [kind], {"day": changed_on}
    )
    lake.write_events(USE_CASE, kind, changed_on, events.iloc[1:])
    result = run(home, VIEW.name)
    differs = {day for day, identity in identities(home, "features").items() if identity != before[day]}
    assert differs == {f"dt={changed_on}", f"dt={LAST_DAY}"}
    assert {day for day, is_rewritten in told(result, "is_rewritten").items() if is_rewritten} == {
        str(changed_on),
        str(LAST_DAY),
    }


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Makes the rest of a test run with the column ``scale``; returns the folder that other machines read."""

    def share() -> Path:
        folder = tmp_path_factory.mktemp("shared")
        monkeypatch.setenv("FEATURE_STORE", "scale")
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
        monkeypatch.setenv("POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/nothing")
        monkeypatch.setenv("FEATURES_URL", folder.as_uri())
        return folder

    return share


def test_a_copy_that_was_lost_or_is_another_is_published_again(home: Path, shared: Callable[[], Path]) -> None:
    folder = shared()
    assert run(home, VIEW.name).success
    copies = {path: path.read_bytes() for path in sorted(folder.glob("**/data.parquet"))}
    lost, emptied, *_ = copies
    lost.unlink()
    emptied.write_bytes(b"")
    assert run(home, VIEW.name).success
    assert {path: path.read_bytes() for path in sorted(folder.glob("**/data.parquet"))} == copies


def test_days_that_a_refused_run_rewrote_are_told_by_the_run_that_repeats_it(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(home, VIEW.name, instance=instance)
    monkeypatch.setattr(views, "DAYS_PER_QUERY", 5)
    lake, kind = Lake(Layout(home)), USE_CASE.events[0]
    events = lake.events_sql("SELECT * FROM visits WHERE received_at::DATE = $day", USE_CASE, [kind], {"day": DAYS[2]})
    lake.write_events(USE_CASE, kind, DAYS[2], events.iloc[1:])
    # The second five days are refused: one of their files cannot be read.
    broken = Layout(home).events("tiny", "visits", DAYS[7])
    content = broken.read_bytes()
    broken.write_bytes(b"")
    assert not run(home, VIEW.name, instance=instance).success
    broken.write_bytes(content)
    repeat = run(home, VIEW.name, instance=instance)
    assert repeat.success
    assert not told(repeat, "is_rewritten")[str(DAYS[2])]

    made = parity.materializations(instance, dg.AssetKey(["tiny", VIEW.name]), DAYS)

    # The view counts the visits of seven days.
    assert made.groupby("day").size().to_dict() == {day: 1 + (DAYS[2] <= day < DAYS[9]) for day in DAYS}


def test_what_was_rewritten_and_what_never_was_published_are_published(home: Path, shared: Callable[[], Path]) -> None:
    run(home, VIEW.name, last=DAYS[4])
    folder = shared()

    def copies() -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("**/data.parquet")}

    assert run(home, VIEW.name).success
    first = copies()
    assert sorted(first) == [f"dt={day}" for day in DAYS]
    assert run(home, VIEW.name).success
    assert copies() == first


DEATHS = [
    Death("some days written, none noted", "shadow_platform.adapters.lake.store:Lake.write_features", nth=4),
    Death("all written, some noted", "shadow_platform.adapters.lake.partition_records:_write", nth=3),
    Death("a file written, not in its place", "os:replace", nth=5),
]


@pytest.mark.processes
@pytest.mark.parametrize("death", DEATHS, ids=[death.what for death in DEATHS])
def test_a_killed_run_leaves_whole_days_and_the_next_one_makes_the_rest(home: Path, death: Death) -> None:
    assert ended(started(die, home, death, VIEW.name)) == -signal.SIGKILL
    lake = Lake(Layout(home))
    left = lake.read_features(USE_CASE, VIEW)
    made = {f"dt={day}" for day in lake.feature_days(USE_CASE, VIEW)}
    assert made <= {f"dt={day}" for day in DAYS}

    assert run(home, VIEW.name).success
    whole = lake.read_features(USE_CASE, VIEW)
    kept = whole["event_at"].dt.date.map(lambda day: f"dt={day}").isin(made)
    pd.testing.assert_frame_equal(whole[kept].reset_index(drop=True), left)
    notes = PlatformResource(shadow_home=str(home)).partition_records(USE_CASE)
    assert list(notes.features(VIEW)) == DAYS
    assert all(notes.rows_of_features(VIEW, day) == record.fingerprint for day, record in notes.features(VIEW).items())


@pytest.mark.processes
def test_a_run_of_events_that_is_killed_between_days_is_made_good_by_the_next(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert run(whole, *EVENTS).success
    killed = tmp_path / "killed"
    assert run(killed, "raw_events").success
    death = Death("some days in their places", "os:replace", nth=7)
    assert ended(started(die, killed, death, "events", "quarantined_events")) == -signal.SIGKILL
    assert run(killed, *EVENTS).success
    for kind in USE_CASE.events:
        query = f"SELECT * FROM {kind.name} ORDER BY event_id"
        one, other = (Lake(Layout(home)).events_sql(query, USE_CASE, [kind]) for home in (whole, killed))
        pd.testing.assert_frame_equal(one, other)
        notes = PlatformResource(shadow_home=str(killed)).partition_records(USE_CASE)
        assert list(notes.events(kind)) == DAYS


def test_every_view_says_what_its_columns_are_made_of_and_shows_its_days(home: Path) -> None:
    result = run(home, VIEW.name)
    events = {str(e.materialization.partition): e.materialization for e in result.get_asset_materialization_events()}
    metadata = events[str(LAST_DAY)].metadata
    lineage: Any = metadata["dagster/column_lineage"].value
    found = {name: [(dep.asset_key, dep.column_name) for dep in deps] for name, deps in lineage.deps_by_column.items()}
    key = dg.AssetKey(["tiny", "events"])
    assert found == {"visits_7d": [(key, "visits.event_id")], "purchases_7d": [(key, "purchases.event_id")]}
    assert str(metadata["plot"].value).startswith("![")
    assert metadata["null_rates"].value == {"visits_7d": 0.0, "purchases_7d": 0.0}
    rows = Lake(Layout(home)).read_features(USE_CASE, VIEW)
    assert metadata["entities"].value == rows.loc[rows["event_at"].dt.date == LAST_DAY, "visitor_id"].nunique()
    columns: Any = run(home, *EVENTS).asset_materializations_for_node("tiny__events")[0].metadata
    names = {column.name for column in columns["dagster/column_schema"].value.columns}
    assert {"visits.event_id", "purchases.event_id"} < names


def test_days_that_go_on_have_a_freshness_and_days_that_ended_have_none() -> None:
    ended_use_case = replace(USE_CASE, last_partition=LAST_DAY)
    for use_case, is_fresh in ((USE_CASE, True), (ended_use_case, False)):
        specs = [
            spec for made in (*build_feature_assets(use_case), *build_event_assets(use_case)) for spec in made.specs
        ]
        policies = {spec.key.path[-1]: spec.freshness_policy is not None for spec in specs}
        assert {name for name, has_policy in policies.items() if has_policy} == (
            {VIEW.name, "online_features", "events", "quarantined_events"} if is_fresh else set()
        )
