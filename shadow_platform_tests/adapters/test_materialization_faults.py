"""Whatever fails while features come online, the cause is named, views go on serving, and the next run repairs."""

import resource
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from threading import Barrier, BrokenBarrierError, Event
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import redis

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.materializing import Materializer
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES, FeatureStores
from shadow_platform.contracts.use_case import Feature, FeatureView
from shadow_platform_tests.adapters.feature_rows import (
    HISTORY,
    HOUR,
    PLANS,
    REPOSITORY,
    START,
    USE_CASE,
    history,
    plans,
)
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore

MODULE = "shadow_platform.adapters.feature_store"
DAY = START.date()
SCALE = pytest.param("scale", marks=pytest.mark.processes)


def hold(store: FeastStore, *rows: tuple[str, float, float | None, str | None], day: date = DAY) -> None:
    """Partitions of both views, published."""
    lake = Lake(store.layout)
    lake.write_features(USE_CASE, HISTORY, day, history(*rows))
    lake.write_features(USE_CASE, PLANS, day, plans(("s1", 0, 4.5)))
    for view in (HISTORY, PLANS):
        store.publish(view, [day])


def visits(store: FeastStore, *users: str) -> list[Any]:
    found = store.online().read([{"user": user} for user in users])
    return [row["history"].values["visits"] if row else None for row in found]


@pytest.fixture(params=["local", SCALE])
def store(request: pytest.FixtureRequest, layout: Layout) -> FeastStore:
    """The feature store of either column, with its definitions applied."""
    stores = LOCAL_STORES if request.param == "local" else request.getfixturevalue("scale_stores")
    opened = FeastStore(layout, REPOSITORY, USE_CASE, stores)
    opened.apply()
    return opened


@pytest.fixture
def scale_store(layout: Layout, scale_stores: FeatureStores) -> FeastStore:
    """The feature store of the column ``scale``, with its definitions applied."""
    opened = FeastStore(layout, REPOSITORY, USE_CASE, scale_stores)
    opened.apply()
    return opened


@pytest.mark.parametrize("hours", [(5, 6), (100, 200)], ids=["between rows", "without a partition"])
def test_a_window_without_rows_leaves_everything_as_it_was(store: FeastStore, hours: tuple[int, int]) -> None:
    hold(store, ("u1", 1, 10, "ios"))
    store.materialize(START, START + 2 * HOUR)
    assert store.materialize(START + hours[0] * HOUR, START + hours[1] * HOUR) == {"history": 0, "plans": 0}
    assert visits(store, "u1") == [10]


@pytest.mark.parametrize("is_correction", [False, True], ids=["nothing stored", "a correction"])
def test_an_engine_that_reports_success_and_writes_nothing_is_caught(
    store: FeastStore, is_correction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast's own Ray engine drops every row of a past day."""
    if is_correction:
        hold(store, ("u1", 1, 8, "ios"), ("u2", 1, 9, "ios"))
        store.materialize(START, START + 2 * HOUR)
    corrected = history(("u1", 1, 10, "ios"), ("u2", 1, 11, "ios"), late_h=5)
    hold(store)
    Lake(store.layout).write_features(USE_CASE, HISTORY, DAY, corrected)
    store.publish(HISTORY, [DAY])
    with monkeypatch.context() as lazy:
        if store.stores.column == "local":
            lazy.setattr(f"{MODULE}.engine.write_rows", lambda *_: None)
        else:
            lazy.setattr(f"{MODULE}.ray_engine.latest_on_ray", lambda *_: [])
        with pytest.raises(FeatureStoreError, match="reported success, but 2 of 2 entities are missing or stale"):
            store.materialize(START, START + 2 * HOUR)
    assert store.materialize(START, START + 2 * HOUR)["history"] == 2
    assert visits(store, "u1", "u2") == [10, 11]


def test_two_materializations_at_once_take_turns(store: FeastStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both can be at work, the first to come waits long enough for the other to come, too."""
    hold(store, ("u1", 1, 10, "ios"), ("u2", 2, 20, "web"))
    work, both_at_work, n_overlaps = Materializer._materialize_view, Barrier(2, timeout=2), Counter[str]()

    def work_beside_the_other(self: Materializer, view: FeatureView, *window: datetime) -> int:
        with suppress(BrokenBarrierError):
            both_at_work.wait()
            n_overlaps[view.name] += 1
        return work(self, view, *window)

    monkeypatch.setattr(Materializer, "_materialize_view", work_beside_the_other)
    monkeypatch.setattr(f"{MODULE}.materializing.LOCK_TIMEOUT_S", 600)
    both = [FeastStore(store.layout, REPOSITORY, USE_CASE, store.stores) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        written = list(threads.map(lambda one: one.materialize(START, START + 3 * HOUR), both))
    assert written == [{"history": 2, "plans": 1}] * 2
    assert n_overlaps == {}
    assert visits(store, "u1", "u2") == [10, 20]


def test_threads_that_materialize_at_once_leave_the_process_its_output(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two threads, the first to begin would end first, and the second give back what the first had put there."""
    import feast

    of_history = tuple(feature for feature in USE_CASE.features if feature.view != "plans")
    one_view = replace(USE_CASE, views=(HISTORY,), features=of_history)
    stores = [FeastStore(layout, REPOSITORY, replace(one_view, name=name)) for name in ("first", "second")]
    for store in stores:
        store.apply()
        Lake(layout).write_features(store.use_case, HISTORY, DAY, history(("u1", 1, 10, "ios")))
    work, output = feast.FeatureStore.materialize, (sys.stdout, sys.stderr)
    first_began, second_began, first_ended = Event(), Event(), Event()

    def one_within_the_other(
        self: feast.FeatureStore, start: datetime, end: datetime, feature_views: list[str]
    ) -> None:
        if feature_views[0].startswith("first"):
            first_began.set()
            second_began.wait(1)
        else:
            second_began.set()
            first_ended.wait(100)
        work(self, start, end, feature_views)

    monkeypatch.setattr(feast.FeatureStore, "materialize", one_within_the_other)
    window = (START, START + 3 * HOUR)
    try:
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(stores[0].materialize, *window)
            first.add_done_callback(lambda _: first_ended.set())
            assert first_began.wait(100)
            second = threads.submit(stores[1].materialize, *window)
            assert first.result() == second.result() == {"history": 1}
        assert (sys.stdout, sys.stderr) == output
    finally:
        sys.stdout, sys.stderr = output


def test_a_feature_declared_since_the_definitions_were_applied_is_asked_for(store: FeastStore) -> None:
    hold(store, ("u1", 1, 10, "ios"))
    grown = replace(USE_CASE, features=(*USE_CASE.features, Feature("depth", "Depth", view="history")))
    with pytest.raises(FeatureStoreError, match=r"'history' is registered with .*'depth'.*; apply the definit"):
        FeastStore(store.layout, REPOSITORY, grown, store.stores).materialize(START, START + HOUR)


def test_a_column_gone_from_the_rows_is_named_and_old_values_stay(store: FeastStore) -> None:
    hold(store, ("u1", 1, 10, "ios"))
    store.materialize(START, START + HOUR)
    path = store.layout.features("shop", "history", DAY)
    pq.write_table(pq.read_table(path).drop_columns("visits"), path)
    store.publish(HISTORY, [DAY])
    with pytest.raises(FeatureStoreError, match=r"'?visits"):
        store.materialize(START, START + 3 * HOUR)
    assert visits(store, "u1") == [10]


def test_rows_that_nobody_made_are_named(store: FeastStore) -> None:
    with pytest.raises(FeatureStoreError, match=r"view 'history' has no rows below .*; materialize its"):
        store.materialize(START, START + HOUR)
    with pytest.raises(FeatureStoreError, match=r"view 'history' has no rows below"):
        store.historical(pd.DataFrame({"user": ["u1"], "shop": ["s1"], "requested_at": [START]}))


@pytest.mark.processes
@pytest.mark.parametrize("rows", [1, 2], ids=["a value of the same size", "a row more"])
def test_partitions_that_other_machines_do_not_have_are_asked_for(scale_store: FeastStore, rows: int) -> None:
    hold(scale_store, ("u1", 1, 10, "ios"))
    path = scale_store.layout.features("shop", "history", DAY)
    size_before = path.stat().st_size
    made = history(("u1", 1, 99, "ios"), ("u2", 1, 11, "web"))[:rows]
    Lake(scale_store.layout).write_features(USE_CASE, HISTORY, DAY, made)
    assert (path.stat().st_size == size_before) == (rows == 1)
    asked = pd.DataFrame({"user": ["u1"], "shop": ["s1"], "requested_at": [START + 2 * HOUR]})
    what = rf"1 partitions here are not those in s3://.*, first {DAY}; publish"
    with pytest.raises(FeatureStoreError, match=what):
        scale_store.materialize(START, START + 2 * HOUR)
    with pytest.raises(FeatureStoreError, match=what):
        scale_store.historical(asked)
    assert scale_store.unpublished(HISTORY) == [DAY]
    scale_store.publish(HISTORY, [DAY])
    assert scale_store.unpublished(HISTORY) == []
    assert scale_store.materialize(START, START + 2 * HOUR)["history"] == rows
    assert scale_store.historical(asked)["visits"].tolist() == [99]


@pytest.mark.processes
def test_a_copy_counts_only_once_its_publication_ended(
    scale_store: FeastStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published, corrected, killed after the bytes went over, and taken back here: of the same size, and another."""
    hold(scale_store, ("u1", 1, 10, "ios"))
    lake = Lake(scale_store.layout)
    lake.write_features(USE_CASE, HISTORY, DAY, history(("u1", 1, 99, "ios")))
    with monkeypatch.context() as dying:
        dying.setattr(f"{MODULE}.objects.hashlib.sha256", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            scale_store.publish(HISTORY, [DAY])
    lake.write_features(USE_CASE, HISTORY, DAY, history(("u1", 1, 10, "ios")))
    assert scale_store.unpublished(HISTORY) == [DAY]


@pytest.mark.processes
def test_objects_that_vanish_are_named(scale_store: FeastStore, object_store: ObjectStore) -> None:
    hold(scale_store, ("u1", 1, 10, "ios"))
    for key in object_store.keys("shop/history/dt=2024-01-01/data.parquet"):
        object_store.client().delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(FeatureStoreError, match=r"view 'history' has no rows below s3://"):
        scale_store.materialize(START, START + HOUR)


@pytest.mark.processes
def test_an_object_store_that_is_down_is_named(
    layout: Layout, scale_stores: FeatureStores, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    store = FeastStore(layout, REPOSITORY, USE_CASE, replace(scale_stores, features_url="s3://nowhere/features"))
    with pytest.raises(FeatureStoreError, match=r"s3://nowhere/features/shop/history.*check FEATURES_URL"):
        hold(store, ("u1", 1, 10, "ios"))


@pytest.mark.processes
def test_a_registry_that_is_down_is_named_and_online_reads_go_on(
    layout: Layout, scale_stores: FeatureStores, postgres: Postgres
) -> None:
    store = FeastStore(layout, REPOSITORY, USE_CASE, scale_stores)
    store.apply()
    hold(store, ("u1", 1, 10, "ios"))
    store.materialize(START, START + HOUR)
    postgres.stop()
    try:
        with pytest.raises(FeatureStoreError, match=r"registry does not answer: .*; check its address"):
            store.materialize(START, START + HOUR)
        assert visits(store, "u1") == [10]
    finally:
        postgres.start()
    assert store.materialize(START, START + HOUR)["history"] == 1


@pytest.mark.processes
def test_an_online_store_that_dies_in_the_middle_is_filled_by_the_next_run(
    scale_store: FeastStore, valkey: Valkey
) -> None:
    """The kernel kills it at the write by which its file would become too large."""
    users = [f"u{n:05}" for n in range(60_000)]
    hold(scale_store, *[(user, 1, 10, "ios") for user in users])
    with redis.Redis.from_url(valkey.url) as client:
        pid = int(client.info("server")["process_id"])
    held = max(path.stat().st_size for path in valkey.folder.rglob("*.aof"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (held + 2_000_000, resource.RLIM_INFINITY))
    with pytest.raises(FeatureStoreError, match="view 'history' could not be materialized"):
        scale_store.materialize(START, START + 2 * HOUR)
    valkey.stop()
    valkey.start()
    with redis.Redis.from_url(valkey.url) as client:
        assert 0 < client.dbsize() < len(users)
    assert scale_store.materialize(START, START + 2 * HOUR) == {"history": len(users), "plans": 1}
    assert set(visits(scale_store, *users)) == {10}
