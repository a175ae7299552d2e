"""Late events reopen the days they touch, once, and nothing else."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import create_run_for_test

from shadow_platform.adapters.feature_store import materializing
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.definitions import build_definitions
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

DAY = timedelta(days=1)
LATE_DAY, LAST_DAY = FIRST_DAY + DAY, FIRST_DAY + 12 * DAY
VIEW = USE_CASE.views[0]
REACH = 8
Identity = tuple[int, int]


class Home:
    """A home of some days, a sensor over it, and what a daemon does with its requests."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance, use_case: UseCase = USE_CASE) -> None:
        self.layout, self.instance, self.lake = layout, instance, Lake(layout)
        self.platform = PlatformResource(shadow_home=str(layout.home))
        self.definitions = build_definitions([use_case], self.platform)
        self.sensor = self.definitions.resolve_sensor_def("tiny_late_days")

    def run(self, job: str, **arguments: Any) -> None:
        made = self.definitions.resolve_job_def(f"tiny_{job}").execute_in_process(instance=self.instance, **arguments)
        assert made.success

    def ingest(self, last: date = LAST_DAY) -> None:
        self.run("ingest", tags=partition_range(FIRST_DAY, last))

    def at(self, now: datetime) -> None:
        """Let it be that time at the next ticks."""
        self.platform = PlatformResource(shadow_home=str(self.layout.home), simulated_now=now.isoformat())

    def tick(self) -> Any:
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": self.platform})
        return self.sensor.evaluate_tick(context)

    def reopen(self, request: dg.RunRequest, **arguments: Any) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def("tiny_reopen").execute_in_process(
            instance=self.instance,
            run_config=request.run_config,
            tags=request.tags,
            asset_selection=request.asset_selection,
            **arguments,
        )

    def fill(self) -> None:
        """Bring the last days online."""
        self.run("train", asset_selection=[dg.AssetKey(["tiny", "feature_definitions"])])
        self.run("materialize")

    def online(self, visitor: str) -> Any:
        (row,) = self.platform.feature_store(USE_CASE).online().read([{"visitor_id": visitor}])
        return row[VIEW.name].values["visits_7d"]

    def act(self) -> tuple[set[str], str, str]:
        """Run what a tick asks for: assets, first and last day."""
        (request,) = self.tick().run_requests
        assert self.reopen(request).success
        names = {key.path[-1] for key in request.asset_selection}
        first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
        return names, first, last

    def append(self, day: date, *rows: Mapping[str, Any], kind: str = "visits") -> None:
        """Let a raw file have grown an hour ago."""
        path = self.layout.raw_events("tiny", kind, day)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        age(path, 3600)

    def files(self, *folders: str) -> dict[str, Identity]:
        """What tells each partition's file from one that replaces it."""
        lake = self.layout.home / "lake"
        found = [path for folder in folders for path in (lake / folder).glob("**/data.parquet")]
        return {str(path.relative_to(lake)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def age(path: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(path, (at, at))


def late(day: date = LATE_DAY, name: str = "late") -> dict[str, Any]:
    """A visit nobody had told of."""
    at = datetime(day.year, day.month, day.day, 12, 30, tzinfo=UTC).isoformat()
    first = dict(TinySource().received_on(day)["visits"][0])
    return {**first, "event_id": f"visit:{name}", "visit_id": name, "event_at": at, "received_at": at}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen days of events and features."""
    folder = tmp_path_factory.mktemp("ingested") / "home"
    with dg.DagsterInstance.ephemeral() as instance:
        Home(Layout(folder), instance).ingest()
    return folder


@pytest.fixture
def home(ingested: Path, layout: Layout, instance: dg.DagsterInstance) -> Home:
    """Thirteen days of events and features, for one test."""
    shutil.copytree(ingested, layout.home, dirs_exist_ok=True)
    return Home(layout, instance)


def changed(before: Mapping[str, Identity], after: Mapping[str, Identity]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, identity in after.items() if before[name] != identity}


def test_a_late_event_reopens_its_day_then_the_rows_that_see_it_and_nothing_else(home: Home, layout: Layout) -> None:
    assert "no day is touched" in home.tick().skip_message
    before, rows = home.files("events", "features"), home.lake.read_features(USE_CASE, VIEW)
    home.append(LATE_DAY, late())

    assert home.act() == ({"events", "quarantined_events"}, str(LATE_DAY), str(LATE_DAY))
    assert changed(before, home.files("events", "features")) == {f"events/tiny/visits/dt={LATE_DAY}/data.parquet"}
    assert home.act() == ({VIEW.name}, str(LATE_DAY), str(LATE_DAY + REACH * DAY))
    assert "no day is touched" in home.tick().skip_message

    after = home.lake.read_features(USE_CASE, VIEW)
    key = ["visitor_id", "event_at"]
    both = rows.merge(after, how="outer", on=key, suffixes=("_before", ""), indicator=True)
    differs = (both["_merge"] != "both") | (both["visits_7d_before"] != both["visits_7d"])
    days = set(both.loc[differs, "event_at"].dt.date)
    assert min(days) == LATE_DAY
    assert max(days) < LATE_DAY + REACH * DAY
    assert changed(before, home.files("events", "features")) == {
        f"events/tiny/visits/dt={LATE_DAY}/data.parquet",
        *(f"features/tiny/{VIEW.name}/dt={day}/data.parquet" for day in days),
    }


def test_what_was_reopened_equals_what_is_made_from_all_events_at_once(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    home.append(LATE_DAY, late())
    home.append(LAST_DAY - DAY, late(LAST_DAY - DAY, "later"))
    while home.tick().run_requests:
        home.act()

    other = Home(Layout(tmp_path / "other"), instance)
    for kind in USE_CASE.events:
        for day in home.lake.event_days(USE_CASE, kind):
            path = other.layout.raw_events("tiny", kind.name, day)
            path.parent.mkdir(parents=True)
            path.write_bytes(home.layout.raw_events("tiny", kind.name, day).read_bytes())
    other.ingest()
    pd.testing.assert_frame_equal(home.lake.read_features(USE_CASE, VIEW), other.lake.read_features(USE_CASE, VIEW))


def test_the_online_store_gets_what_late_events_changed_once_it_was_filled(home: Home) -> None:
    home.fill()
    visitor = late(LAST_DAY)["visitor_id"]
    before = home.online(visitor)
    home.append(LAST_DAY, late(LAST_DAY))
    assert home.act()[0] == {"events", "quarantined_events"}
    assert home.act() == ({VIEW.name}, str(LAST_DAY), str(LAST_DAY))
    assert home.act() == ({"online_features"}, str(LAST_DAY), str(LAST_DAY))
    rows = home.lake.read_features(USE_CASE, VIEW)
    newest = rows[rows["visitor_id"] == visitor].sort_values("event_at").iloc[-1]
    assert home.online(visitor) == newest["visits_7d"] == before + 1
    assert "no day is touched" in home.tick().skip_message


def test_a_correction_that_the_online_store_could_not_take_is_brought_by_the_next_tick(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.fill()
    visitor = late(LAST_DAY)["visitor_id"]
    before = home.online(visitor)
    home.append(LAST_DAY, late(LAST_DAY))
    monkeypatch.setattr(materializing, "LOCK_TIMEOUT_S", 0.1)
    with materializing.exclusively(home.layout, "materialize-tiny"):
        while home.reopen(home.tick().run_requests[0], raise_on_error=False).success:
            pass
    assert home.online(visitor) == before
    assert "online_features" in home.act()[0]
    assert home.online(visitor) == before + 1
    assert "no day is touched" in home.tick().skip_message


def test_an_online_store_that_was_away_for_long_is_tried_again_the_next_day(
    home: Home,
) -> None:
    today = datetime.now(UTC)
    home.at(today)
    home.platform.partition_records(USE_CASE).note_online(VIEW, {LAST_DAY: "other rows"})
    for _ in range(3):
        (request,) = home.tick().run_requests
        create_run_for_test(
            home.instance, job_name="tiny_reopen", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE
        )
    told = home.tick().skip_message
    assert f"{VIEW.name} of {LAST_DAY} changed after it was brought online: 3 runs did not" in told

    home.at(today + DAY)
    assert [key.path[-1] for key in home.tick().run_requests[0].asset_selection] == ["online_features"]


def test_days_that_the_online_store_was_not_given_are_not_brought_to_it(home: Home) -> None:
    home.fill()
    home.append(FIRST_DAY, late(FIRST_DAY))
    assert [home.act()[0], home.act()[0]] == [{"events", "quarantined_events"}, {VIEW.name}]
    assert LAST_DAY - VIEW.ttl > FIRST_DAY + REACH * DAY
    assert "no day is touched" in home.tick().skip_message


def test_a_file_that_was_touched_or_repeats_what_is_known_reopens_no_features(home: Home) -> None:
    age(home.layout.raw_events("tiny", "visits", LATE_DAY), 600)
    assert "no day is touched" in home.tick().skip_message

    known = dict(TinySource().received_on(LATE_DAY)["visits"][3])
    home.append(LATE_DAY, known)
    before = home.files("events", "features")
    assert home.act()[0] == {"events", "quarantined_events"}
    assert changed(before, home.files("events", "features")) == set()
    assert "no day is touched" in home.tick().skip_message


def test_a_file_that_may_still_be_growing_and_a_run_that_is_not_finished_are_waited_for(home: Home) -> None:
    home.append(LATE_DAY, late())
    age(home.layout.raw_events("tiny", "visits", LATE_DAY), 1)
    assert "no day is touched" in home.tick().skip_message
    age(home.layout.raw_events("tiny", "visits", LATE_DAY), 600)

    run = create_run_for_test(home.instance, job_name="tiny_ingest", status=dg.DagsterRunStatus.STARTED)
    assert home.tick().skip_message == f"run {run.run_id} of tiny_ingest is not finished"
    home.instance.report_run_canceled(run)
    assert len(home.tick().run_requests) == 1


def test_one_change_is_one_run_key_however_often_it_is_seen_and_three_failures_end_it(home: Home) -> None:
    home.append(LATE_DAY, late())
    keys = []
    for _ in range(3):
        (request,) = home.tick().run_requests
        assert home.tick().run_requests[0].run_key == request.run_key
        assert request.tags["shadow/reason"] == f"raw visits of {LATE_DAY} changed after its events were made"
        create_run_for_test(
            home.instance, job_name="tiny_reopen", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE
        )
        keys.append(request.run_key)
    assert len(set(keys)) == 3
    assert "3 runs did not" in home.tick().skip_message

    home.append(LATE_DAY, late(name="another"))
    assert len(home.tick().run_requests) == 1


def test_a_day_whose_events_changed_their_form_makes_no_features_until_it_is_put_right(home: Home) -> None:
    path = home.layout.raw_events("tiny", "visits", LATE_DAY)
    sound, before = path.read_bytes(), home.files("features")
    path.write_bytes(sound.replace(b"cart_value", b"value"))
    age(path, 3600)
    (request,) = home.tick().run_requests
    assert not home.reopen(request, raise_on_error=False).success
    told = home.tick().skip_message
    assert f"{VIEW.name} of {LATE_DAY} to {LATE_DAY + REACH * DAY} could see changed" in told
    assert f"most rows of visits of {LATE_DAY} are quarantined" in told
    assert changed(before, home.files("features")) == set()

    path.write_bytes(sound)
    age(path, 1800)
    assert home.act() == ({"events", "quarantined_events"}, str(LATE_DAY), str(LATE_DAY))
    assert "no day is touched" in home.tick().skip_message


def test_days_that_a_person_made_with_misshapen_events_are_reopened_by_other_late_events(home: Home) -> None:
    path = home.layout.raw_events("tiny", "visits", LATE_DAY)
    path.write_bytes(path.read_bytes().replace(b"cart_value", b"value"))
    age(path, 3600)
    (request,) = home.tick().run_requests
    assert not home.reopen(request, raise_on_error=False).success
    accepted = LATE_DAY + 4 * DAY
    home.run("ingest", tags=partition_range(LATE_DAY, accepted), asset_selection=[dg.AssetKey(["tiny", VIEW.name])])

    home.append(LATE_DAY + DAY, late(LATE_DAY + DAY))
    assert home.act() == ({"events", "quarantined_events"}, str(LATE_DAY + DAY), str(LATE_DAY + DAY))
    assert home.act() == ({VIEW.name}, str(LATE_DAY + DAY), str(accepted))
    after_reach = LATE_DAY + (REACH + 1) * DAY
    assert home.act() == ({VIEW.name}, str(after_reach), str(after_reach))
    assert f"{accepted + DAY} to {LATE_DAY + REACH * DAY} could see changed" in home.tick().skip_message
