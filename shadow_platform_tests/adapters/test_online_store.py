"""Either online store keeps the newest row of an entity as one, and answers what Feast's SDK would."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import PlainReads, entity_key, open_online_store, plain
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
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

moments = st.integers(0, 5)
_CLOCK = count(1)
"""Examples share a store, so each needs entities, or a time, of its own."""


Opened = Callable[[], FeastStore]
"""Opens the store anew, as another process would."""


@pytest.fixture(params=["local", "scale"])
def opened(request: pytest.FixtureRequest, layout: Layout) -> Opened:
    """Each column in turn, with its definitions applied."""
    stores = FeatureStores()
    if request.param == "scale":
        redis, registry = request.getfixturevalue("valkey"), request.getfixturevalue("postgres").new_database()
        stores = FeatureStores("scale", redis.url, registry, "s3://features/rows")
    open_store = partial(FeastStore, layout, REPOSITORY, USE_CASE, stores)
    open_store().apply()
    return open_store


@pytest.fixture
def store(opened: Opened) -> FeastStore:
    return opened()


def test_values_of_one_row_always_belong_together_while_they_are_written(opened: Opened) -> None:
    store, stopped = opened(), threading.Event()
    reader, write = store.online(), threading.Thread(target=_write_until, args=(opened(), stopped))
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


def _write_until(writer: FeastStore, stopped: threading.Event) -> None:
    second, version = 1 / 3600, 0
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


def test_of_writers_at_once_the_newest_row_of_each_entity_stays(opened: Opened) -> None:
    n_writers, n_users, n_rounds = 4, 20, 15
    hours = {(writer, n): float((7 * writer + 5 * n) % 97) for writer in range(n_writers) for n in range(n_rounds)}

    def write(writer: int) -> None:
        store = opened()
        for n in range(n_rounds):
            hour = hours[writer, n]
            store.write_online(HISTORY, history(*[(f"u{user}", hour, hour, f"{hour:.0f}") for user in range(n_users)]))

    with ThreadPoolExecutor(n_writers) as pool:
        list(pool.map(write, range(n_writers)))
    newest = max(hours.values())
    for found in opened().online().read([{"user": f"u{user}"} for user in range(n_users)]):
        assert found["history"].values == {"visits": newest, "device": f"{newest:.0f}"}


def test_thousands_of_entities_are_written_and_read_at_once_in_the_order_asked(store: FeastStore) -> None:
    users = [f"u{n}" for n in range(2_000)]
    assert store.write_online(HISTORY, history(*[(user, 1, n, None) for n, user in enumerate(users)])) == 2_000
    asked = [*reversed(users), "nobody", users[0]]
    found = store.online().read([{"user": user} for user in asked])
    assert [row["history"].values["visits"] if row else None for row in found] == [*range(1999, -1, -1), None, 0]


def test_entities_and_views_with_look_alike_names_are_kept_apart(store: FeastStore) -> None:
    names = ["u", "u:u", "*", "u*", "[u]", "\\", "ü", "\x00", " ", "u\nu", "shadow_platform:shop_history:u"]
    store.write_online(HISTORY, history(*[(name, 1, n, None) for n, name in enumerate(names)]))
    store.write_online(PLANS, plans(*[(name, 1, -n) for n, name in enumerate(names)]))
    found = store.online().read([{"user": name, "shop": name} for name in names])
    for n, rows in enumerate(found):
        assert (rows["history"].values["visits"], rows["plans"].values["rating"]) == (n, -n)


def test_an_entity_without_a_row_and_one_whose_values_are_all_null_are_missing(store: FeastStore) -> None:
    store.write_online(HISTORY, history(("known", 1, None, None)))
    assert store.online().read([{"user": "known"}, {"user": "unknown"}, {"shop": "known"}, {}]) == [{}, {}, {}, {}]


def test_a_newer_row_replaces_the_older_one_wholly(store: FeastStore) -> None:
    store.write_online(HISTORY, history(("u1", 1, 10, "web")))
    store.write_online(HISTORY, history(("u1", 2, 20, None)))
    assert store.online().read([{"user": "u1"}])[0]["history"].values == {"visits": 20.0, "device": None}


def test_applying_again_keeps_the_rows(opened: Opened) -> None:
    store = opened()
    store.write_online(HISTORY, history(("u1", 1, 10, "web")))
    assert opened().apply() == ("shop_history", "shop_plans")
    assert store.online().read([{"user": "u1"}])[0]["history"].values["visits"] == 10.0
