"""The point-in-time join: 19 features of 4.5 million rows, as known to 10,000, 100,000 and 1,000,000 requests.

Contenders: an ``ASOF JOIN`` written by hand for DuckDB (the floor: what SQL costs that asks for no creation time, time
to live or tie), the platform's offline store through Feast's SDK, polars, and Feast's own DuckDB and file stores.
Each run is a process of its own, so that its peak of memory is its own; imports and opening Feast do not count.
Contenders alternate, medians count, CPU-seconds are what to compare on a machine that is not alone.

Belongs here: rows, contenders, runs. Does not belong here: whether answers are right (the tests), except how many of
them differ from the platform's. Upstream: the feature store. Downstream: ``__main__``.
"""

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.features.report import Cost, load, median, table

N_ENTITIES, N_DAYS, N_FEATURES = 50_000, 90, 19
LATE_SHARE, LATE_DAYS = 0.05, 3
TTL = timedelta(days=90)
SEED = 0
FEATURES = [f"amount_{index:02d}" for index in range(N_FEATURES)]
START, DAY_US = np.datetime64("2024-01-01", "us"), 86_400_000_000
INSTANT = pa.timestamp("us", "UTC")
FLOOR, OURS = "DuckDB by hand", "platform"
TOO_BIG = {"Feast duckdb": 100_000, "Feast file": 100_000}
"""Most requests for which a contender fits a machine of 16 GB."""

Join = Callable[[pa.Table], pa.Table]


def make_rows(folder: Path) -> None:
    """A file a day with a row of every entity, one in twenty of them created up to three days late."""
    rng = np.random.default_rng(SEED)
    keys = pa.array([f"c-{n:06d}" for n in range(N_ENTITIES)])
    for day in range(N_DAYS):
        event_at = START + (day * DAY_US + rng.integers(0, DAY_US, N_ENTITIES)).astype("timedelta64[us]")
        late_us = rng.integers(0, LATE_DAYS * DAY_US, N_ENTITIES) * (rng.random(N_ENTITIES) < LATE_SHARE)
        columns = {
            "customer_id": keys,
            "event_at": pa.array(event_at).cast(INSTANT),
            "created_at": pa.array(event_at + late_us.astype("timedelta64[us]")).cast(INSTANT),
        } | {name: rng.normal(size=N_ENTITIES) for name in FEATURES}
        path = folder / f"dt={np.datetime64('2024-01-01') + day}" / "data.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), path, compression="zstd")


def make_requests(path: Path, n: int) -> None:
    """Requests of entities drawn evenly, one in fifty unknown, at any time after the first days."""
    rng = np.random.default_rng([SEED, n])
    keys = pa.array([f"c-{entity:06d}" for entity in rng.integers(0, N_ENTITIES * 51 // 50, n)])
    at = START + rng.integers(4 * DAY_US, N_DAYS * DAY_US, n).astype("timedelta64[us]")
    pq.write_table(
        pa.table({"customer_id": keys, "event_timestamp": pa.array(at).cast(INSTANT), "n": np.arange(n)}), path
    )


def by_hand(rows: Path) -> Join:
    """What one writes who knows DuckDB."""
    import duckdb

    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")

    def join(requests: pa.Table) -> pa.Table:
        con.register("requests", requests)
        names = ", ".join(FEATURES)
        return con.sql(f"""
            SELECT requests.*, {names}
            FROM requests ASOF LEFT JOIN (
                SELECT customer_id, event_at, {names} FROM read_parquet('{rows}/*/data.parquet')
            ) AS stored
            ON requests.customer_id = stored.customer_id AND requests.event_timestamp >= stored.event_at
            ORDER BY n""").to_arrow_table()

    return join


def by_polars(rows: Path) -> Join:
    """What one writes who knows polars."""
    import polars as pl

    def join(requests: pa.Table) -> pa.Table:
        stored = pl.scan_parquet(f"{rows}/*/data.parquet", hive_partitioning=False).drop("created_at").sort("event_at")
        asked = pl.from_arrow(requests).lazy().sort("event_timestamp")  # type: ignore[union-attr]
        found = asked.join_asof(
            stored, left_on="event_timestamp", right_on="event_at", by="customer_id", check_sortedness=False
        )
        return found.sort("n").collect().to_arrow()

    return join


def by_feast(store: Mapping[str, Any]) -> Callable[[Path], Join]:
    """Feast's SDK with one of its offline stores."""

    def opened(rows: Path) -> Join:
        import feast
        from feast.data_format import ParquetFormat
        from feast.repo_config import RepoConfig
        from feast.types import Float64, String

        # The file store cannot read a pattern, and takes a folder.
        path = str(rows) if store["type"] == "file" else f"{rows}/*/data.parquet"
        registry = f"sqlite:///{rows.parent / store['type']}-{os.getpid()}.db"
        config = RepoConfig(
            project="join",
            provider="local",
            registry={"registry_type": "sql", "path": registry},
            offline_store=dict(store),
            entity_key_serialization_version=3,
        )
        customer = feast.Entity(name="customer_id", value_type=feast.ValueType.STRING)
        source = feast.FileSource(
            path=path,
            file_format=ParquetFormat(),
            timestamp_field="event_at",
            created_timestamp_column="created_at",
        )
        fields = {"customer_id": String} | dict.fromkeys(FEATURES, Float64)
        schema = [feast.Field(name=name, dtype=kind) for name, kind in fields.items()]
        view = feast.FeatureView(name="stats", entities=[customer], schema=schema, source=source, ttl=TTL)
        sdk = feast.FeatureStore(config=config)
        sdk.apply([customer, view])

        def join(requests: pa.Table) -> pa.Table:
            features = [f"stats:{name}" for name in FEATURES]
            job = sdk.get_historical_features(requests.to_pandas(), features, filter_by_created_timestamp=True)
            return job.to_arrow()

        return join

    return opened


OURS_TYPE = "shadow_platform.adapters.feature_store.offline.AsofOfflineStore"
OTHERS = ["polars", "Feast duckdb", "Feast file"]
CONTENDERS: Mapping[str, Callable[[Path], Join]] = {
    FLOOR: by_hand,
    OURS: by_feast({"type": OURS_TYPE}),
    "polars": by_polars,
    "Feast duckdb": by_feast({"type": "duckdb"}),
    "Feast file": by_feast({"type": "file"}),
}


def child(name: str, rows: Path, requests: Path, answer: Path) -> None:
    """Join once, keep two columns of the answer, print the cost."""
    warnings.simplefilter("ignore")
    join, asked = CONTENDERS[name](rows), pq.read_table(requests)
    began, cpu = time.perf_counter(), time.process_time()
    found = join(asked)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    pq.write_table(found.select(["n", FEATURES[0]]), answer)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(Cost(wall_s, cpu_s, peak_gb)))


def run(name: str, rows: Path, requests: Path, answer: Path) -> Cost:
    """One run in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.features.join", name, str(rows), str(requests), str(answer)]
    found = subprocess.run(
        arguments, check=True, capture_output=True, text=True, env=os.environ | {"FEAST_USAGE": "False"}
    )
    return Cost(*json.loads(found.stdout.splitlines()[-1]))


def differing(answer: Path, ours: Path, n: int) -> str:
    """In words, how an answer differs from the platform's."""
    theirs = pq.read_table(answer).to_pandas().set_index("n")[FEATURES[0]]
    expected = pq.read_table(ours).to_pandas().set_index("n")[FEATURES[0]]
    missing = n - len(theirs)
    both = expected.reindex(theirs.index)
    others = int(((theirs != both) & ~(theirs.isna() & both.isna())).sum())
    said = [f"{others:,} other values"] if others else []
    return ", ".join([*said, f"{missing:,} rows missing"] if missing else said)


def compare(folder: Path, n: int, rounds: int, contenders: Sequence[str]) -> dict[str, Cost | None]:
    """Contenders in turns with so many requests; prints the table."""
    rows, requests = folder / "rows", folder / f"requests-{n}.parquet"
    if not requests.exists():
        make_requests(requests, n)
    runs: dict[str, list[Cost]] = {name: [] for name in contenders if n <= TOO_BIG.get(name, n)}
    for _ in range(rounds):
        for name, costs in runs.items():
            costs.append(run(name, rows, requests, folder / f"{name}.parquet"))
    found = {name: median(runs[name]) if name in runs else None for name in contenders}
    remarks = {name: "too big" for name in contenders if name not in runs}
    remarks |= {name: differing(folder / f"{name}.parquet", folder / f"{OURS}.parquet", n) for name in runs}
    title = f"{n:,} requests on {N_ENTITIES * N_DAYS / 1e6} million rows x {N_FEATURES}, medians of {rounds}; {load()}"
    print(table(title, found, remarks), end="\n\n", flush=True)
    return found


def main(folder: Path, rounds: int, sizes: Sequence[int], others: Sequence[str]) -> None:
    """Make the rows, compare the platform with the floor and others at each size, print how costs grow."""
    if not (folder / "rows").exists():
        make_rows(folder / "rows")
    costs = {n: compare(folder, n, rounds, [FLOOR, OURS, *others]) for n in sizes}
    for n, found in costs.items():
        ours, floor = found[OURS], found[FLOOR]
        if ours and floor:
            print(
                f"{n:,} requests: {ours.wall_s / floor.wall_s:.2f} x the floor's seconds, "
                f"{ours.cpu_s / floor.cpu_s:.2f} x its CPU, {ours.peak_gb / floor.peak_gb:.2f} x its memory"
            )


if __name__ == "__main__":
    child(sys.argv[1], *map(Path, sys.argv[2:]))
