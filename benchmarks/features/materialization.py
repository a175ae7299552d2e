"""How fast a day's latest rows come online: 100,000 entities x 25 features, proof of arrival included.

Run from the root of the repository: ``python -m benchmarks.features.materialization [--only local scale] [--profile]``.
Contenders: the platform with ``FEATURE_STORE=local`` (DuckDB, SQLite) and ``scale`` (Ray, an S3 object store, Valkey,
Postgres; all on this machine), and Feast's own local engine with its DuckDB and SQLite stores. Each runs in a home of
its own after a run over few rows, so that nothing is imported or started in the time that counts. Ratios are
what to compare. Upstream: feature store, servers as packages. Downstream: docs/benchmarks.md.
"""

import argparse
import contextlib
import cProfile
import io
import os
import pstats
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import feast
import numpy as np
import pandas as pd
import ray

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.contracts.use_case import Entity, Feature, FeatureView
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore
from shadow_platform_tests.scale_column import access

REPOSITORY = Path(__file__).parents[2] / "feature_repo"
VIEW = FeatureView("stats", "customer_id", timedelta(days=90), timedelta(days=1), "", "What the customer did")
USE_CASE = replace(
    load_use_case("flights"),
    name="materialization",
    entities=(Entity("customer_id", "Customer", "c-1"),),
    views=(VIEW,),
    features=(
        *(Feature(f"amount_{index:02d}", "Synthetic amount", view=VIEW.name) for index in range(19)),
        *(Feature(f"kind_{index}", "Synthetic kind", kind="categorical", view=VIEW.name) for index in range(6)),
    ),
    derivations=(),
)
START = datetime(2024, 1, 1, tzinfo=UTC)
N_DAYS = 5
N_WARM_DAYS = 8
STOCK = """project: shadow_platform
provider: local
registry: {registry_type: sql, path: "sqlite:///${SHADOW_HOME}/feast/registry.db"}
offline_store: {type: duckdb}
online_store: {type: sqlite, path: "${SHADOW_HOME}/feast/online.db"}
entity_key_serialization_version: 3
"""
SEED = 11
CONTENDERS = ("local", "scale", "feast")

Materialize = Callable[[datetime, datetime], object]


def rows_of(day: int, n_entities: int) -> pd.DataFrame:
    """Rows of one day: of every entity until the first that counts, of a third of them on the others."""
    random = np.random.default_rng([SEED, day + N_WARM_DAYS])
    chosen = np.arange(n_entities) if day <= 0 else random.choice(n_entities, n_entities // 3, replace=False)
    moments = START + timedelta(days=day) + pd.to_timedelta(random.integers(0, 86_400, len(chosen)), unit="s")
    rows = pd.DataFrame({"customer_id": [f"c-{n}" for n in chosen], "event_at": moments, "created_at": moments})
    kinds = {f"kind_{index}": random.choice(["red", "green", "blue"], len(chosen)) for index in range(6)}
    amounts = {f"amount_{index:02d}": random.normal(size=len(chosen)) for index in range(19)}
    return rows.assign(**amounts, **kinds)


def filled(store: FeastStore, n_entities: int) -> FeastStore:
    """The store with definitions and all partitions; the days before them hold few rows each, to warm up with."""
    lake = Lake(store.layout)
    days = [START.date() + timedelta(days=day) for day in range(-N_WARM_DAYS, N_DAYS)]
    for number, day in enumerate(days, start=-N_WARM_DAYS):
        lake.write_features(USE_CASE, VIEW, day, rows_of(number, 100 if number < 0 else n_entities))
    store.apply()
    store.publish(VIEW, days)
    return store


def stock(folder: Path) -> FeastStore:
    """Feast as it comes, over the same partitions."""
    (folder / "repository").mkdir(parents=True)
    (folder / "repository" / "feature_store.yaml").write_text(STOCK, encoding="utf-8")
    return FeastStore(Layout(folder), folder / "repository", USE_CASE)


def stock_materialize(store: FeastStore) -> Materialize:
    """Feast's own command, quiet."""
    sdk = feast.FeatureStore(config=store.config)

    def materialize(start: datetime, end: datetime) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            sdk.materialize(start, end)

    return materialize


@contextlib.contextmanager
def scale_stores(folder: Path) -> Iterator[FeatureStores]:
    """The column ``scale`` with servers of its own."""
    valkey, postgres, objects = Valkey(folder), Postgres(), ObjectStore(folder)
    try:
        valkey.start()
        os.environ.update(access(objects.start()))
        url = f"s3://{BUCKET}/features"
        yield FeatureStores("scale", valkey.url, postgres.start().new_database(), url)
    finally:
        for stop in (ray.shutdown, valkey.stop, postgres.remove, objects.stop):
            stop()


def measured(materialize: Materialize, profile: bool) -> tuple[float, float]:
    """Seconds, and seconds of this process's CPU, of one materialization of all days, after a warm-up."""
    materialize(START - timedelta(days=N_WARM_DAYS), START - timedelta(microseconds=1))
    profiler = cProfile.Profile()
    began, cpu = time.perf_counter(), time.process_time()
    if profile:
        profiler.runcall(materialize, START, START + timedelta(days=N_DAYS))
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(35)
    else:
        materialize(START, START + timedelta(days=N_DAYS))
    return time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """Measure every contender once and print rows a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {}
    with tempfile.TemporaryDirectory() as name, scale_stores(Path(name)) as stores:
        folder = Path(name)
        contenders: dict[str, Callable[[], Materialize]] = {
            "local": lambda: filled(FeastStore(Layout(folder / "a"), REPOSITORY, USE_CASE), given.entities).materialize,
            "scale": lambda: (
                filled(FeastStore(Layout(folder / "b"), REPOSITORY, USE_CASE, stores), given.entities).materialize
            ),
            "feast": lambda: stock_materialize(filled(stock(folder / "c"), given.entities)),
        }
        for contender, opened in contenders.items():
            if contender in given.only:
                found[contender] = measured(opened(), given.profile)
    print(f"{'':8}{'rows/s':>10}{'seconds':>10}{'CPU-s*':>10}{'x local':>10}   * of this process alone")
    for contender, (seconds, cpu) in found.items():
        ratio = seconds / found.get("local", (seconds, 0.0))[0]
        print(f"{contender:8}{given.entities / seconds:10,.0f}{seconds:10.1f}{cpu:10.1f}{ratio:10.2f}")


if __name__ == "__main__":
    main()
