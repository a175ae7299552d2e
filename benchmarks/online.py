"""How fast features are read online: 25 features in two views, one entity or a hundred at once.

Run from the root of the repository: ``python -m benchmarks.online [--rounds 7]``. The floor is SQL written by hand on
the same file, values decoded and nothing else; the ceiling is Feast's SDK. Between them the platform: ``FeastOnline``
as the store's thread calls it, and ``OnlineReader`` as a request awaits it, alone and sixteen at once, with its cache
and without. Contenders alternate, medians count, ratios are what to compare. Where the microseconds of one request of
sixteen go is printed last. Upstream: feature store, bento. Downstream: docs/benchmarks.md.
"""

import argparse
import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key

from bento.answering.online import OnlineReader
from bento.answering.online_cache import OnlineCache
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import entity_key
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import Entity, Feature, FeatureView
from shadow_platform.domain.serving import RequestContract
from shadow_platform.use_cases import load_use_case

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


def calls(look_up: Callable[[list[str]], object], n: int, repetitions: int) -> Timed:
    """A contender that is called with lists of ``n`` entities."""
    drawn = draws(n)

    def timed() -> float:
        asked = [next(drawn) for _ in range(repetitions)]
        began = time.perf_counter()
        for entities in asked:
            look_up(entities)
        return (time.perf_counter() - began) / repetitions * 1e6

    return timed


def raw(store: FeastStore) -> Callable[[list[str]], object]:
    """The same rows by hand: keys, one statement a view, decoded values."""
    connection = sqlite3.connect(f"file:{store.layout.feast / 'online.db'}?mode=ro", uri=True, isolation_level=None)
    version = store.config.entity_key_serialization_version
    keys = {f"c-{n}": serialize_entity_key(entity_key("customer_id", f"c-{n}"), version) for n in range(N_ENTITIES)}
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


def sdk(store: FeastStore) -> Callable[[list[str]], object]:
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
    online, by_hand, contract, now = store.online(), raw(store), RequestContract(USE_CASE), datetime.now(UTC)
    request = contract.parse({"order_id": "o-1", "customer_id": "c-1"}, now)
    rows = online.read([contract.lookup_keys(request)])[0]
    steps: dict[str, tuple[Callable[[list[str]], object], int, int]] = {
        "lookup keys of the request": (lambda _: contract.lookup_keys(request), 1, 2000),
        "SQL, keys and JSON (floor)": (by_hand, CONCURRENCY, 300),
        "FeastOnline in all": (lambda found: online.read([{"customer_id": e} for e in found]), CONCURRENCY, 300),
        "precedence and time to live": (lambda _: contract.assemble(request, rows, now), 1, 2000),
    }
    found = {title: calls(step, n, repetitions)() / n for title, (step, n, repetitions) in steps.items()}
    return found | {"awaited in all": awaited(OnlineReader(store.online, 5.0), CONCURRENCY, 4000)()}


def contenders(store: FeastStore) -> dict[str, Timed]:
    """Everything that is measured, by title."""
    online, by_hand, feast = store.online(), raw(store), sdk(store)
    plain, cached = OnlineReader(store.online, 5.0), OnlineReader(store.online, 5.0, OnlineCache(60.0))

    def ours(entities: list[str]) -> object:
        return online.read([{"customer_id": entity} for entity in entities])

    found: dict[str, Timed] = {}
    for n, repetitions in ((1, 2000), (MANY, 40)):
        found[f"{n}: SQL by hand"] = calls(by_hand, n, repetitions)
        found[f"{n}: FeastOnline"] = calls(ours, n, repetitions)
        found[f"{n}: Feast SDK"] = calls(feast, n, max(repetitions // 20, 5))
    for clients in (1, CONCURRENCY):
        found[f"awaited, {clients} at once"] = awaited(plain, clients, 4000)
        found[f"awaited, {clients} at once, cached"] = awaited(cached, clients, 4000)
    return found


def report(medians: Mapping[str, float]) -> None:
    """Print the table and what is compared."""
    for title, microseconds in medians.items():
        print(f"  {title:34} {microseconds:10.1f} us")
    for n in (1, MANY):
        ours, by_hand, feast = (medians[f"{n}: {name}"] for name in ("FeastOnline", "SQL by hand", "Feast SDK"))
        print(f"{n:4} entities: {ours / by_hand:5.2f} x SQL by hand, {feast / ours:6.1f} x faster than Feast's SDK")
    plain, cached = (medians[f"awaited, {CONCURRENCY} at once{kind}"] for kind in ("", ", cached"))
    print(f"{CONCURRENCY} at once: a request pays {plain:.1f} us for its lookup, {cached:.1f} us with the cache warm")


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="online-") as folder:
        store = FeastStore(Layout(Path(folder)), Path("feature_repo"), USE_CASE)
        fill(store)
        timed = contenders(store)
        runs: dict[str, list[float]] = {title: [] for title in timed}
        for round_no in range(rounds + 1):
            for title, run in timed.items():
                microseconds = run()
                if round_no:
                    runs[title].append(microseconds)
        print(f"medians of {rounds} rounds, 25 features in 2 views, {N_ENTITIES:,} entities")
        report({title: statistics.median(found) for title, found in runs.items()})
        print("where the microseconds of a request go, sixteen sharing a lookup:")
        for title, microseconds in profile(store).items():
            print(f"  {title:34} {microseconds:10.1f} us")


if __name__ == "__main__":
    main()
