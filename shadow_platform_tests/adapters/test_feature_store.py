"""Feast answers point in time, online and offline alike, and its known faults stay closed."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from shadow_platform.adapters.feature_store import FeastOnline, FeastStore
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import AlreadyRunning, FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LOCAL_STORES
from shadow_platform_tests import tiny
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

DAY = START.date()


def requests(*rows: tuple[str | None, str, float]) -> pd.DataFrame:
    data = [(user, shop, START + hour * HOUR, n) for n, (user, shop, hour) in enumerate(rows)]
    return pd.DataFrame(data, columns=["user", "shop", "requested_at", "n"])


def offline(store: FeastStore, rows: pd.DataFrame, day: date = DAY) -> None:
    lake = Lake(store.layout)
    lake.write_features(USE_CASE, HISTORY, day, rows)
    store.publish(HISTORY, [day])
    if not lake.feature_days(USE_CASE, PLANS):
        lake.write_features(USE_CASE, PLANS, day, plans(("s1", 0, 4.5)))
        store.publish(PLANS, [day])


@pytest.fixture(params=["local", pytest.param("scale", marks=pytest.mark.processes)])
def store(request: pytest.FixtureRequest, layout: Layout) -> FeastStore:
    """The feature store of either column, with its definitions applied."""
    stores = LOCAL_STORES if request.param == "local" else request.getfixturevalue("scale_stores")
    opened = FeastStore(layout, REPOSITORY, USE_CASE, stores)
    opened.apply()
    return opened


@pytest.fixture
def local_store(layout: Layout) -> FeastStore:
    """The feature store on this machine alone, for what concerns its files."""
    opened = FeastStore(layout, REPOSITORY, USE_CASE)
    opened.apply()
    return opened


def values(found: pd.DataFrame, name: str) -> list[Any]:
    return [None if pd.isna(value) else value for value in found[name]]


def test_history_is_as_known_at_the_request_in_the_order_and_index_given(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "ios"), ("u1", 3, 30, None), ("u2", 2, 20, "web")))
    asked = requests(("u1", "s1", 3), ("u2", "s1", 1.99), ("u1", "s1", 2.99), ("u2", "s2", 2), ("u1", "s1", 3))
    asked.index = pd.Index([7, 3, 9, 1, 4])
    found = store.historical(asked)
    assert found.index.tolist() == [7, 3, 9, 1, 4]
    assert found["n"].tolist() == [0, 1, 2, 3, 4]
    assert list(found.columns) == [*asked.columns, "visits", "device", "rating"]
    assert values(found, "visits") == [30, None, 10, 20, 30]
    assert found["device"].tolist() == [None, None, "ios", "web", None]
    assert values(found, "rating") == [4.5, 4.5, 4.5, None, 4.5]


def test_a_row_created_one_second_after_the_request_never_shows_up(store: FeastStore) -> None:
    offline(store, pd.concat([history(("u1", 1, 10, "a")), history(("u1", 2, 20, "b"), late_h=1)]))
    second = 1 / 3600
    found = store.historical(requests(("u1", "s1", 3 - second), ("u1", "s1", 3)))
    assert values(found, "visits") == [10, 20]


def test_a_row_older_than_its_time_to_live_counts_as_missing(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "a")))
    found = store.historical(requests(("u1", "s1", 7), ("u1", "s1", 7.01)))
    assert values(found, "visits") == [10, None]


def test_history_needs_no_known_entity_and_no_request(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "a")))
    assert values(store.historical(requests((None, "s9", 3), ("u9", "s9", 3))), "visits") == [None, None]
    empty = store.historical(requests())
    assert list(empty.columns) == ["user", "shop", "requested_at", "n", "visits", "device", "rating"]


def test_threads_may_ask_for_history_at_once(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "a")))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(store.historical, [requests(("u1", "s1", 2))] * 4))
    assert [values(frame, "visits") for frame in found] == [[10]] * 4


def test_missing_input_is_named(store: FeastStore) -> None:
    with pytest.raises(FeatureStoreError, match=r"view 'history' has no rows below .* materialize its partitions"):
        store.historical(requests(("u1", "s1", 2)))
    offline(store, history(("u1", 1, 10, "a")))
    with pytest.raises(FeatureStoreError, match=r"requests have no \['user'\]"):
        store.historical(requests(("u1", "s1", 2)).drop(columns="user"))


def test_materializing_a_window_puts_its_latest_rows_online(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "a"), ("u1", 2, 20, None), ("u2", 3, 30, "c"), ("u3", 9, 90, "z")))
    assert store.materialize(START, START + 3 * HOUR) == {"history": 2, "plans": 1}
    first, second, third = store.online().read([{"user": "u1", "shop": "s1"}, {"user": "u2"}, {"user": "u3"}])
    assert first["history"].values == {"visits": 20.0, "device": None}
    assert first["history"].event_at == START + 2 * HOUR
    assert first["plans"].values == {"rating": 4.5}
    assert second["history"].values == {"visits": 30.0, "device": "c"}
    assert third == {}


def test_an_older_window_never_overwrites_newer_values(store: FeastStore) -> None:
    offline(store, history(("u1", 1, 10, "a"), ("u1", 2, 20, "b")))
    store.materialize(START, START + 2 * HOUR)
    store.materialize(START, START + HOUR)
    store.write_online("history", history(("u1", 1.5, 15, "x")))
    assert store.online().read([{"user": "u1"}])[0]["history"].values == {"visits": 20.0, "device": "b"}


def test_a_correction_of_the_same_moment_replaces_the_first_version_only_forwards(store: FeastStore) -> None:
    reader = store.online()
    for late_h, visits, expected in ((0, 1.0, 1.0), (2, 3.0, 3.0), (1, 2.0, 3.0)):
        store.write_online(HISTORY, history(("u1", 1, visits, "a"), late_h=late_h))
        assert reader.read([{"user": "u1"}])[0]["history"].values["visits"] == expected


def test_online_writes_keep_the_latest_row_of_each_entity_to_the_microsecond(store: FeastStore) -> None:
    rows = history(("u1", 2, 20, "b"), ("u1", 1, 10, "a"), ("u2", 1, None, None))
    rows["event_at"] += timedelta(microseconds=123_456)
    assert store.write_online(HISTORY, rows) == 2
    first, second = store.online().read([{"user": "u1"}, {"user": "u2"}])
    assert first["history"].event_at == START + 2 * HOUR + timedelta(microseconds=123_456)
    assert first["history"].values == {"visits": 20.0, "device": "b"}
    assert second == {}


def test_rows_go_online_without_a_message_a_value(store: FeastStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The messages cost more than all the rest; a stream writes the whole day."""

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("feast.infra.online_stores.online_store.OnlineStore.online_write_batch", refuse)
    monkeypatch.setattr(type(store._online_store), "online_write_batch", refuse)
    rows = history(("u1", 1, 10, "a"), ("u2", 1, None, "b"), ("u3", 1, 30, None))
    rows["visits"] = rows["visits"].astype("Int64")
    assert store.write_online(HISTORY, rows.astype({"device": "category"})) == 3
    found = [row["history"].values for row in store.online().read([{"user": f"u{n}"} for n in (1, 2, 3)])]
    assert [(row["visits"], row["device"]) for row in found] == [(10.0, "a"), (None, "b"), (30.0, None)]


def test_a_row_without_a_key_is_nobodys(store: FeastStore) -> None:
    rows = history(("u1", 1, 10, "a"), ("u2", 1, 20, "b"))
    rows.loc[1, "user"] = None
    assert store.write_online(HISTORY, rows) == 1
    assert [bool(row) for row in store.online().read([{"user": "u1"}, {"user": "None"}, {"user": "u2"}])] == [
        True,
        False,
        False,
    ]


def test_the_reader_agrees_with_the_sdk(store: FeastStore) -> None:
    offline(store, history(*[(f"u{n}", n % 5, n, f"d{n % 3}" if n % 4 else None) for n in range(40)]))
    store.materialize(START, START + 5 * HOUR)
    entities = [{"user": f"u{n}", "shop": f"s{n % 2}"} for n in range(45)]
    names = {"shop_history": ["visits", "device"], "shop_plans": ["rating"]}
    references = [f"{view}:{feature}" for view, features in names.items() for feature in features]
    import feast

    expected = feast.FeatureStore(config=store.config).get_online_features(references, entities).to_dict()
    for n, found in enumerate(store.online().read(entities)):
        for view, features in names.items():
            row = found.get(view.removeprefix("shop_"))
            for feature in features:
                assert (None if row is None else row.values[feature]) == expected[feature][n]


def test_a_batch_reads_as_its_requests_one_by_one(store: FeastStore) -> None:
    store.write_online(HISTORY, history(*[(f"u{n}", n % 7, n, "d") for n in range(1_500)]))
    reader = store.online()
    entities: list[dict[str, str]] = [*({"user": f"u{n}"} for n in range(1_500)), {"user": "u1"}, {"shop": "s1"}, {}]
    together = reader.read(entities)
    assert [together[n] for n in (0, 1_499, 1_500, 1_501, 1_502)] == [
        reader.read([entities[n]])[0] for n in (0, 1_499, 1_500, 1_501, 1_502)
    ]
    assert reader.read([]) == []


def test_reading_goes_on_without_a_registry(local_store: FeastStore, layout: Layout) -> None:
    local_store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    (layout.feast / "registry.db").unlink()
    reader = FeastStore(layout, REPOSITORY, USE_CASE).online()
    assert isinstance(reader, FeastOnline)
    assert reader.read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0
    assert not (layout.feast / "registry.db").exists()


def test_readers_are_not_blocked_by_an_open_write(local_store: FeastStore, layout: Layout) -> None:
    local_store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    writer = sqlite3.connect(layout.feast / "online.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute('UPDATE "shadow_platform_shop_history_latest" SET event_us = 0')
    assert local_store.online().read([{"user": "u1"}])[0]["history"].event_at == START + HOUR
    writer.execute("ROLLBACK")
    writer.close()


@pytest.mark.parametrize("has_folder", [True, False])
def test_an_online_store_that_is_missing_says_what_to_do(layout: Layout, has_folder: bool) -> None:
    if has_folder:
        layout.feast.mkdir(parents=True)
    absent = FeastStore(layout, REPOSITORY, USE_CASE)
    with pytest.raises(
        FeatureStoreError, match=r"view 'history' cannot be read online: .*; materialize feature_definit"
    ):
        absent.online().read([{"user": "u1"}])
    with pytest.raises(FeatureStoreError, match=r"could not be written online.*apply the definitions first"):
        absent.write_online(HISTORY, history(("u1", 1, 10, "a")))


def test_a_store_that_reports_success_but_wrote_nothing_is_caught(
    store: FeastStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import feast

    offline(store, history(("u1", 1, 10, "a")))
    monkeypatch.setattr(feast.FeatureStore, "materialize", lambda *_, **__: None)
    with pytest.raises(FeatureStoreError, match="reported success, but 1 of 1 entities are missing or stale online"):
        store.materialize(START, START + HOUR)


def test_a_view_left_materializing_is_freed_and_the_sdk_serves_again(store: FeastStore) -> None:
    import feast
    from feast.feature_view import FeatureViewState

    offline(store, history(("u1", 1, 10, "a")))
    store.materialize(START, START + HOUR)
    registry = feast.FeatureStore(config=store.config).registry
    stuck = registry.get_feature_view("shop_history", "shadow_platform")
    stuck.state, stuck.description = FeatureViewState.MATERIALIZING, "killed halfway"
    registry.apply_feature_view(stuck, "shadow_platform")
    fresh = FeastStore(store.layout, REPOSITORY, USE_CASE, store.stores)
    assert fresh.recover() == ("shop_history",)
    assert fresh.recover() == ()
    assert fresh.materialize(START, START + HOUR)["history"] == 1
    freed = feast.FeatureStore(config=fresh.config).get_feature_view("shop_history")
    assert freed.state == FeatureViewState.AVAILABLE_ONLINE


def test_two_materializations_at_once_are_refused(
    store: FeastStore, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.adapters.feature_store.materializing.LOCK_TIMEOUT_S", 0.05)
    with (
        FileLock(layout.locks("feast-materialize-shop")),
        pytest.raises(AlreadyRunning, match=r"another process holds .* wait for it to end"),
    ):
        store.materialize(START, START + HOUR)
    with pytest.raises(FeatureStoreError, match="the start must be before the end"):
        store.materialize(START, START)


def test_applying_twice_keeps_other_use_cases_and_online_values(store: FeastStore) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    other = FeastStore(store.layout, REPOSITORY, tiny.USE_CASE, store.stores)
    assert other.applied_views() == ()
    assert other.apply() == ("tiny_visitor_history",)
    assert store.apply() == ("shop_history", "shop_plans")
    again = FeastStore(store.layout, REPOSITORY, USE_CASE, store.stores)
    assert again.applied_views() == ("history", "plans")
    assert other.applied_views() == ("visitor_history",)
    assert again.online().read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0


def test_a_folder_without_configuration_means_the_one_installed(layout: Layout, tmp_path: Path) -> None:
    assert FeastStore(layout, tmp_path / "nowhere", USE_CASE).repo_path == REPOSITORY


def test_a_broken_configuration_is_named(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: [", encoding="utf-8")
    with pytest.raises(FeatureStoreError, match=r"feature_store\.yaml is no usable Feast configuration.*correct it"):
        FeastStore(layout, tmp_path, USE_CASE).apply()


def test_unknown_views_and_missing_columns_are_named(store: FeastStore) -> None:
    with pytest.raises(FeatureStoreError, match="view 'nope' is unknown in use case 'shop'; known: history, plans"):
        store.write_online("nope", history())
    with pytest.raises(FeatureStoreError, match=r"rows of view 'history' have no \['device'\]"):
        store.write_online(HISTORY, history().drop(columns="device"))


def test_opening_a_store_does_not_load_feast(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from shadow_platform.adapters.feature_store import FeastStore;"
        "from shadow_platform.contracts.layout import Layout; from shadow_platform_tests.tiny import USE_CASE;"
        "FeastStore(Layout(Path('x')), Path('y'), USE_CASE); sys.exit('feast' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=REPOSITORY.parent).returncode == 0
