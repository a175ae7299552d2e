"""The online store keeps the newest row of an entity as one, and answers what Feast's SDK would."""

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import PlainReads, entity_key, open_online_store, plain
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.adapters.feature_rows import HISTORY, HOUR, REPOSITORY, START, USE_CASE, history

moments = st.integers(0, 5)
_CLOCK = count(1)
"""Examples share a store, so each needs entities, or a time, of its own."""


@pytest.fixture
def store(layout: Layout) -> FeastStore:
    opened = FeastStore(layout, REPOSITORY, USE_CASE)
    opened.apply()
    return opened


def test_a_file_that_is_replaced_or_deleted_is_never_read_again(store: FeastStore, layout: Layout) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    reader, path = store.online(), layout.feast / "online.db"
    assert reader.read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0
    other = FeastStore(Layout(layout.home / "other"), REPOSITORY, USE_CASE)
    other.apply()
    other.write_online(HISTORY, history(("u1", 1, 99, "z")))
    _moved(other.layout.feast / "online.db", path)
    assert reader.read([{"user": "u1"}])[0]["history"].values == {"visits": 99.0, "device": "z"}
    path.unlink()
    with pytest.raises(FeatureStoreError, match="No such file"):
        reader.read([{"user": "u1"}])
    assert not path.exists()


def _moved(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    source.replace(target)


def test_a_locked_store_says_so_soon(store: FeastStore, layout: Layout) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "a")))
    path = layout.feast / "online.db"
    without_log = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(without_log)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    _moved(without_log, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as greedy:
        greedy.execute("BEGIN EXCLUSIVE")
        reader = store.online()
        with pytest.raises(FeatureStoreError, match="database is locked"):
            reader.read([{"user": "u1"}])
        greedy.execute("ROLLBACK")
    assert reader.read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0


def test_values_of_one_row_always_belong_together_while_they_are_written(store: FeastStore) -> None:
    reader, stopped = store.online(), threading.Event()
    write = threading.Thread(target=_write_until, args=(store, stopped))
    store.write_online(HISTORY, history(*[(f"u{n}", 0, 0, "0") for n in range(20)]))
    write.start()
    seen: set[float] = set()
    try:
        while len(seen) < 10:
            for found in reader.read([{"user": f"u{n}"} for n in range(20)]):
                row = found["history"]
                visits = row.values["visits"]
                assert isinstance(visits, float)
                assert row.values["device"] == f"{visits:.0f}"
                assert row.event_at == START + visits * timedelta(seconds=1)
                seen.add(visits)
    finally:
        stopped.set()
        write.join()


def _write_until(store: FeastStore, stopped: threading.Event) -> None:
    second = 1 / 3600
    writer, version = FeastStore(store.layout, REPOSITORY, USE_CASE), 0
    while not stopped.is_set():
        version += 1
        writer.write_online(HISTORY, history(*[(f"u{n}", version * second, version, f"{version}") for n in range(20)]))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(moments, moments), min_size=1, max_size=8))
def test_whatever_the_order_of_writes_the_newest_event_then_the_newest_version_stays(
    store: FeastStore, writes: list[tuple[int, int]]
) -> None:
    user = f"u{next(_CLOCK)}"
    for event, late_h in writes:
        store.write_online(HISTORY, history((user, event, 10 * event + late_h, "a"), late_h=late_h))
    event, late_h = max(writes)
    found = store.online().read([{"user": user}])[0]["history"]
    assert found.values["visits"] == 10 * event + late_h
    assert found.event_at == START + event * HOUR


numbers = st.none() | st.floats(allow_nan=False)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(names, st.tuples(numbers, texts), min_size=1, max_size=4))
def test_plain_values_equal_what_the_sdk_answers(
    store: FeastStore, rows: dict[str, tuple[float | None, str | None]]
) -> None:
    import feast

    # Each example must outdate the one before, which may have used the same names.
    hour = float(next(_CLOCK))
    store.write_online(HISTORY, history(*[(user, hour, *row) for user, row in rows.items()]))
    entities = [{"user": user} for user in rows]
    references = ["shop_history:visits", "shop_history:device"]
    expected = feast.FeatureStore(config=store.config).get_online_features(references, entities).to_dict()
    for n, found in enumerate(store.online().read(entities)):
        values = found["history"].values if found else {"visits": None, "device": None}
        assert (values["visits"], values["device"]) == (expected["visits"][n], expected["device"][n])


INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
feast_values = st.one_of(
    st.just({}),
    st.floats().map(lambda x: {"double_val": x}),
    st.floats(width=32).map(lambda x: {"float_val": x}),
    INT32.map(lambda x: {"int32_val": x}),
    INT64.map(lambda x: {"int64_val": x}),
    INT64.map(lambda x: {"unix_timestamp_val": x}),
    st.booleans().map(lambda x: {"bool_val": x}),
    texts.map(lambda x: {"string_val": x or ""}),
    st.binary().map(lambda x: {"bytes_val": x}),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(names, feast_values, min_size=1, max_size=6), key=names)
def test_every_kind_of_value_comes_back_as_it_was_written(
    store: FeastStore, values: dict[str, dict[str, Any]], key: str
) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    opened, view = open_online_store(store.config), store.objects.views["history"]
    assert isinstance(opened, PlainReads)
    written = {name: Value(**value) for name, value in values.items()}
    at = START + next(_CLOCK) * HOUR
    opened.online_write_batch(store.config, view, [(entity_key("user", key), written, at, None)], None)
    ((moment, messages),) = opened.online_read(store.config, view, [entity_key("user", key)])
    assert moment == at
    assert messages is not None
    assert {n: m.SerializeToString() for n, m in messages.items()} == {
        n: m.SerializeToString() for n, m in written.items()
    }
    ((found_key, (plain_moment, plain_values)),) = opened.plain_lookup(store.config, view, "user")([key]).items()
    assert (found_key, plain_moment) == (key, at)
    assert repr(plain_values) == repr({n: plain(messages[n]) for n in plain_values})
    assert plain_values.keys() == written.keys()


def test_a_store_without_plain_values_is_read_through_feasts_interface(store: FeastStore, layout: Layout) -> None:
    rows = history(("u1", 2, 20, "b"), ("u2", 1, None, "c"), ("u3", 1, None, None))
    folder = layout.home / "stock"
    folder.mkdir(parents=True)
    text = (REPOSITORY / "feature_store.yaml").read_text(encoding="utf-8")
    stock_type = "shadow_platform.adapters.feature_store.sqlite.GuardedSqliteOnlineStore"
    (folder / "feature_store.yaml").write_text(text.replace(stock_type, "sqlite"), encoding="utf-8")
    stock = FeastStore(Layout(layout.home / "stock"), folder, USE_CASE)
    assert not isinstance(open_online_store(stock.config), PlainReads)
    asked = [{"user": f"u{n}"} for n in range(1, 5)]
    answers = []
    for opened in (store, stock):
        opened.apply()
        opened.write_online(HISTORY, rows)
        answers.append([{view: row.values for view, row in found.items()} for found in opened.online().read(asked)])
    assert answers[0] == answers[1]


def test_rows_in_the_layout_of_one_row_a_value_are_taken_over(store: FeastStore, layout: Layout) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    name, path = '"shadow_platform_shop_history"', layout.feast / "online.db"
    encoded = {user: _encoded(store, user) for user in ("u1", "u2", "u3")}
    at = {hour: int((START + hour * HOUR).timestamp() * 1e6) for hour in (1, 2, 3)}
    cells = [
        (encoded["u1"], "visits", Value(double_val=10).SerializeToString(), at[2], at[3]),
        (encoded["u1"], "device", Value(string_val="a").SerializeToString(), at[2], None),
        (encoded["u2"], "visits", Value(double_val=20).SerializeToString(), at[2], None),
        (encoded["u2"], "device", Value(string_val="old").SerializeToString(), at[1], None),
        (encoded["u3"], "visits", Value(double_val=30).SerializeToString(), at[1], None),
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f"CREATE TABLE {name} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, vector_value BLOB,"
            "event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))"
        )
        connection.executemany(
            f"INSERT INTO {name} (entity_key, feature_name, value, event_ts, created_ts) VALUES (?, ?, ?, ?, ?)", cells
        )
        connection.commit()
    store.write_online(HISTORY, history(("u3", 3, 33, "new")))
    for _ in range(2):
        FeastStore(layout, REPOSITORY, USE_CASE).apply()
        found = [row["history"] for row in store.online().read([{"user": f"u{n}"} for n in (1, 2, 3)])]
        assert [row.values for row in found] == [
            {"visits": 10.0, "device": "a"},
            {"visits": 20.0, "device": None},
            {"visits": 33.0, "device": "new"},
        ]
        assert [row.event_at for row in found] == [START + 2 * HOUR, START + 2 * HOUR, START + 3 * HOUR]
    with closing(sqlite3.connect(path)) as connection:
        assert not connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'shadow_platform_shop_history'"
        ).fetchall()
    store.write_online(HISTORY, history(("u1", 1, 1, "older")))
    assert store.online().read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0


def _encoded(store: FeastStore, user: str) -> bytes:
    from feast.infra.key_encoding_utils import serialize_entity_key

    encoded: bytes = serialize_entity_key(entity_key("user", user), store.config.entity_key_serialization_version)
    return encoded
