"""How fast features are read online: 25 features in two views, one entity or a hundred at once.

Run from the root of the repository: ``python -m benchmarks.online [--rounds 7]``. Both online stores: SQLite, and Redis
on a Valkey server of this machine. The floor is a lookup written by hand on the same rows, values decoded and nothing
else; the ceiling is Feast's SDK, with Redis on Feast's own store. Between them the platform: ``FeastOnline`` as the
store's thread calls it, and ``OnlineReader`` as a request awaits it, alone and sixteen at once, with its cache and
without. Contenders alternate, medians count, ratios are what to compare. Where the microseconds of one request of
sixteen go is printed last. Upstream: feature store, bento. Downstream: docs/benchmarks.md.
"""

import argparse
import asyncio
import random
import sqlite3
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import orjson
import pandas as pd
import redis
from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key

from bento.answering.online import OnlineReader
from bento.answering.online_cache import OnlineCache
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import entity_key
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.contracts.use_case import Entity, Feature, FeatureView
from shadow_platform.domain.serving import RequestContract
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.feature_servers import Postgres, Valkey

STATS, PLANS = "customer_stats", "customer_plans"
DAY = timedelta(days=1)
USE_CASE = replace(
    load_use_case("flights"),
    name="online",
    subject="order_id",
    subject_example="o-1",
    entities=(Entity("customer_id", "Customer", "c-1"),),
    views=(
        FeatureView(STATS, "customer_id", 90 * DAY, DAY, "", "What the customer did"),
        FeatureView(PLANS, "customer_id", 365 * DAY, DAY, "", "What the customer has"),
    ),
    features=(
        *(Feature(f"amount_{index:02d}", "Synthetic amount", view=STATS) for index in range(19)),
        *(Feature(f"kind_{index}", "Synthetic kind", kind="categorical", view=PLANS) for index in range(6)),
    ),
)
N_ENTITIES = 10_000
CONCURRENCY = 16
MANY = 100
SEED = 11

LookUp = Callable[[list[str]], object]
"""Looks up these entities in both views."""
Timed = Callable[[], float]
"""Runs one contender once; returns microseconds a call."""


def fill(store: FeastStore) -> None:
    """Put every entity online."""
    store.apply()
    rng, at = np.random.default_rng(SEED), datetime.now(UTC) - timedelta(hours=1)
    for view in USE_CASE.views:
        rows = pd.DataFrame({"customer_id": [f"c-{n}" for n in range(N_ENTITIES)], "event_at": at, "created_at": at})
        for feature in USE_CASE.view_features(view.name):
            if feature.kind == "numeric":
                rows[feature.name] = rng.normal(0, 10, len(rows))
            else:
                rows[feature.name] = rng.choice(["north", "south", "east"], len(rows))
        store.write_online(view, rows)


def draws(n: int) -> Iterator[list[str]]:
    """Endless lists of entities, drawn evenly."""
    rng = random.Random(SEED)
    while True:
        yield [f"c-{rng.randrange(N_ENTITIES)}" for _ in range(n)]


def calls(look_up: LookUp, n: int, repetitions: int) -> Timed:
    """A contender that is called with lists of ``n`` entities."""
    drawn = draws(n)

    def timed() -> float:
        asked = [next(drawn) for _ in range(repetitions)]
        began = time.perf_counter()
        for entities in asked:
            look_up(entities)
        return (time.perf_counter() - began) / repetitions * 1e6

    return timed


def by_sql(store: FeastStore) -> LookUp:
    """The same rows by hand: one statement a view, decoded values."""
    connection = sqlite3.connect(f"file:{store.layout.feast / 'online.db'}?mode=ro", uri=True, isolation_level=None)
    keys = serialized_keys(store)
    tables = [f"{store.config.project}_{view.name}_latest" for view in store.objects.views.values()]

    def look_up(entities: list[str]) -> object:
        asked = [keys[entity] for entity in entities]
        marks = ",".join("?" * len(asked))
        return [
            (key, moment, orjson.loads(scalars))
            for table in tables
            for key, moment, scalars in connection.execute(
                f'SELECT entity_key, event_us, scalars FROM "{table}" WHERE entity_key IN ({marks})', asked
            ).fetchall()
        ]

    return look_up


def by_redis_client(store: FeastStore) -> LookUp:
    """The same rows by hand: one command a view, decoded values."""
    client = redis.Redis.from_url(store.stores.redis_url or "")
    keys, header = serialized_keys(store), struct.Struct(">qqI")
    prefixes = [f"{store.config.project}:{view.name}:".encode() for view in store.objects.views.values()]

    def look_up(entities: list[str]) -> object:
        asked = [keys[entity] for entity in entities]
        return [
            (entity, header.unpack_from(row)[0], orjson.loads(row[header.size :]))
            for prefix in prefixes
            for entity, row in zip(
                entities, cast("list[bytes]", client.mget([prefix + key for key in asked])), strict=True
            )
        ]

    return look_up


def serialized_keys(store: FeastStore) -> dict[str, bytes]:
    """Feast's key of every entity."""
    version = store.config.entity_key_serialization_version
    return {f"c-{n}": serialize_entity_key(entity_key("customer_id", f"c-{n}"), version) for n in range(N_ENTITIES)}


def sdk(store: FeastStore) -> LookUp:
    """Feast's own way."""
    feast = FeatureStore(config=store.config)
    names = [f"{view.name}:{feature.name}" for view in store.objects.views.values() for feature in view.features]

    def look_up(entities: list[str]) -> object:
        return feast.get_online_features(names, [{"customer_id": entity} for entity in entities]).to_dict()

    return look_up


def awaited(reader: OnlineReader, n_clients: int, repetitions: int) -> Timed:
    """Microseconds a request when so many clients ask one after the other for one entity each."""
    drawn = draws(1)

    async def client(asked: Sequence[list[str]]) -> None:
        for entities in asked:
            await reader.read([{"customer_id": entities[0]}])

    async def everybody() -> float:
        await reader.read([{"customer_id": "c-1"}])
        shares = [[next(drawn) for _ in range(repetitions // n_clients)] for _ in range(n_clients)]
        began = time.perf_counter()
        await asyncio.gather(*(client(share) for share in shares))
        return (time.perf_counter() - began) / repetitions * 1e6

    return lambda: asyncio.run(everybody())


def profile(store: FeastStore) -> dict[str, float]:
    """Microseconds of the steps of one request out of sixteen that share a lookup, each measured alone."""
    online, by_hand, contract, now = store.online(), by_sql(store), RequestContract(USE_CASE), datetime.now(UTC)
    request = contract.parse({"order_id": "o-1", "customer_id": "c-1"}, now)
    rows = online.read([contract.lookup_keys(request)])[0]
    steps: dict[str, tuple[LookUp, int, int]] = {
        "lookup keys of the request": (lambda _: contract.lookup_keys(request), 1, 2000),
        "SQL, keys and JSON (floor)": (by_hand, CONCURRENCY, 300),
        "FeastOnline in all": (lambda found: online.read([{"customer_id": e} for e in found]), CONCURRENCY, 300),
        "precedence and time to live": (lambda _: contract.assemble(request, rows, now), 1, 2000),
    }
    found = {title: calls(step, n, repetitions)() / n for title, (step, n, repetitions) in steps.items()}
    return found | {"awaited in all": awaited(OnlineReader(store.online, 5.0), CONCURRENCY, 4000)()}


def contenders(title: str, store: FeastStore, by_hand: LookUp, feast: LookUp) -> dict[str, Timed]:
    """Everything that is measured of one online store, by title."""
    online = store.online()
    plain, cached = OnlineReader(store.online, 5.0), OnlineReader(store.online, 5.0, OnlineCache(60.0))

    def ours(entities: list[str]) -> object:
        return online.read([{"customer_id": entity} for entity in entities])

    found: dict[str, Timed] = {}
    for n, repetitions in ((1, 2000), (MANY, 40)):
        found[f"{title}, {n}: by hand"] = calls(by_hand, n, repetitions)
        found[f"{title}, {n}: FeastOnline"] = calls(ours, n, repetitions)
        found[f"{title}, {n}: Feast SDK"] = calls(feast, n, max(repetitions // 20, 5))
    for clients in (1, CONCURRENCY):
        found[f"{title}, awaited, {clients} at once"] = awaited(plain, clients, 4000)
        found[f"{title}, awaited, {clients} at once, cached"] = awaited(cached, clients, 4000)
    return found


def report(title: str, medians: Mapping[str, float]) -> None:
    """Print what is compared of one online store."""
    for n in (1, MANY):
        ours, by_hand, feast = (medians[f"{title}, {n}: {name}"] for name in ("FeastOnline", "by hand", "Feast SDK"))
        print(f"{title}, {n:3}: {ours / by_hand:5.2f} x by hand, {feast / ours:6.1f} x faster than Feast's SDK")
    plain, cached = (medians[f"{title}, awaited, {CONCURRENCY} at once{kind}"] for kind in ("", ", cached"))
    print(f"{title}, {CONCURRENCY} at once: a lookup costs a request {plain:.1f} us, {cached:.1f} us in a warm cache")


def with_feasts_own_redis(store: FeastStore, folder: Path) -> FeastStore:
    """The same registry, rows in Feast's own Redis store, in a database of their own."""
    folder.mkdir()
    text = (Path("feature_repo") / "feature_store.scale.yaml").read_text(encoding="utf-8")
    address = (store.stores.redis_url or "").removeprefix("redis://")
    text = text.replace("shadow_platform.adapters.feature_store.redis.GuardedRedisOnlineStore", "redis")
    text = text.replace("url: ${REDIS_URL}", f"connection_string: {address},db=1")
    (folder / "feature_store.scale.yaml").write_text(text, encoding="utf-8")
    (folder / "feature_store.yaml").write_text("", encoding="utf-8")
    return FeastStore(store.layout, folder, USE_CASE, store.stores)


@contextmanager
def both_stores(folder: Path) -> Iterator[tuple[FeastStore, dict[str, Timed]]]:
    """The SQLite store, and the contenders on either."""
    local = FeastStore(Layout(folder / "local"), Path("feature_repo"), USE_CASE)
    valkey, postgres = Valkey(folder), Postgres()
    try:
        urls = valkey.start().url, postgres.start().new_database(), "s3://unused/rows"
        scale = FeastStore(Layout(folder / "scale"), Path("feature_repo"), USE_CASE, FeatureStores("scale", *urls))
        stock = with_feasts_own_redis(scale, folder / "stock")
        for store in (local, scale, stock):
            fill(store)
        yield (
            local,
            contenders("SQLite", local, by_sql(local), sdk(local))
            | contenders("Redis", scale, by_redis_client(scale), sdk(stock)),
        )
    finally:
        valkey.stop()
        postgres.remove()


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="online-") as folder, both_stores(Path(folder)) as (store, timed):
        runs: dict[str, list[float]] = {title: [] for title in timed}
        for round_no in range(rounds + 1):
            for title, run in timed.items():
                microseconds = run()
                if round_no:
                    runs[title].append(microseconds)
        print(f"medians of {rounds} rounds, 25 features in 2 views, {N_ENTITIES:,} entities")
        medians = {title: statistics.median(found) for title, found in runs.items()}
        for title, microseconds in medians.items():
            print(f"  {title:40} {microseconds:10.1f} us")
        report("SQLite", medians)
        report("Redis", medians)
        print("where the microseconds of a request go with SQLite, sixteen sharing a lookup:")
        for title, microseconds in profile(store).items():
            print(f"  {title:40} {microseconds:10.1f} us")


if __name__ == "__main__":
    main()
