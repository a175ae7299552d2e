"""Rows in a worker's memory: never older than the limit, never too many, and put together by entity."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from bento.answering.online_cache import OnlineCache
from bento.answering.store_thread import Rows
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform_tests.bento.test_online import KNOWN, NOW, FakeStore, opened, read, serve, store

__all__ = ["store"]


class Clock:
    """Seconds as the test sets them."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_cached_value_is_never_older_than_the_limit_and_its_age_is_the_rows(store: FakeStore) -> None:
    clock, counted = Clock(), list[tuple[int, int]]()
    cache = OnlineCache(10.0, lambda hits, misses: counted.append((hits, misses)), clock=clock)
    reader = opened(store, cache=cache)
    assert read(reader, "visitor-01", "nobody") == [5.0, None]
    store.rows["visitor-01"] = OnlineRow({"visits_7d": 6.0, "purchases_7d": 2.0}, NOW)
    store.rows["nobody"] = store.rows["visitor-01"]
    clock.now_s = 9.9
    assert read(reader, "visitor-01", "nobody", "visitor-01") == [5.0, None, 5.0]
    assert serve(reader, KNOWN, at=NOW + timedelta(hours=1))[0].age_s == 7200.0
    assert len(store.lookups) == 1
    clock.now_s = 10.0
    assert read(reader, "visitor-01", "nobody") == [6.0, 6.0]
    assert counted == [(0, 2), (3, 0), (1, 0), (0, 2)]


def test_the_time_a_lookup_takes_counts_against_the_limit(store: FakeStore) -> None:
    clock = Clock()
    reader = opened(store, cache=OnlineCache(10.0, clock=clock))
    store.manner = lambda: setattr(clock, "now_s", 8.0)
    assert read(reader, "visitor-01") == [5.0]
    clock.now_s = 10.0
    assert read(reader, "visitor-01") == [5.0]
    assert len(store.lookups) == 2


def test_a_cache_holds_a_bounded_number_of_entities_and_drops_the_oldest(store: FakeStore) -> None:
    cache = OnlineCache(10.0, max_entries=3, clock=Clock())
    reader = opened(store, cache=cache)
    for visitor in ("a", "b", "c", "d", "b"):
        read(reader, visitor)
    assert len(cache) == 3
    assert [keys[0]["visitor_id"] for keys in store.lookups] == ["a", "b", "c", "d"]
    read(reader, "a")
    assert len(store.lookups) == 5


def test_rows_of_several_entities_are_put_together_from_the_cache() -> None:
    asked: list[Mapping[str, str]] = []

    async def look_up(keys: Sequence[Mapping[str, str]]) -> Rows:
        asked.extend(keys)
        return [{f"view of {key}": OnlineRow({"of": value}, NOW)} for request in keys for key, value in request.items()]

    async def both() -> list[Rows]:
        cache = OnlineCache(10.0, clock=Clock())
        requests: list[dict[str, str]] = [{"user": "u1", "shop": "s1"}, {"user": "u2", "shop": "s1"}, {}]
        return [await cache.read([request], look_up) for request in requests]

    (first,), (second,), (third,) = asyncio.run(both())
    assert {view: row.values["of"] for view, row in first.items()} == {"view of user": "u1", "view of shop": "s1"}
    assert {view: row.values["of"] for view, row in second.items()} == {"view of user": "u2", "view of shop": "s1"}
    assert third == {}
    assert asked == [{"user": "u1"}, {"shop": "s1"}, {"user": "u2"}]
