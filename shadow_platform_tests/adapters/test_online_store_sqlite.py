"""The SQLite online store: its file may be replaced, locked, or in the layout of before."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import PlainReads, entity_key, open_online_store
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.adapters.feature_rows import HISTORY, HOUR, REPOSITORY, START, USE_CASE, history


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
