"""How long the model registry takes with 10,000 versions, beside the same with ten, on MLflow's SQLite store.

Run from the root of the repository: ``python -m benchmarks.registry [--versions 10000]``. Both stores are measured in
turn in one run, so that the ratios hold on a busy machine too. The versions are inserted with SQL as copies of one that
was registered, since registering each would take half an hour; MLflow's client reads and writes them like any other.
Upstream: registry, summaries of versions. Downstream: docs/benchmarks.md.
"""

import argparse
import json
import logging
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from mlflow import MlflowClient

from shadow_platform.adapters.bundle import bundle_hash
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform_tests.trained import make_bundle

USE_CASE = "tiny"
ROUNDS = 7
FEW = 10
NEWEST = 20
TAGS = {
    "trigger": "schedule",
    "fingerprint_data": "d" * 64,
    "fingerprint_features": "f" * 64,
    "fingerprint_code": "c" * 64,
    "fingerprint_environment": "e" * 64,
}


class Store:
    """A registry with so many versions, and a bundle for each registration that is measured."""

    def __init__(self, home: Path, n_versions: int) -> None:
        self.home, self.n_versions = home, n_versions
        self.registry = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts", bundle_hash)
        client = MlflowClient(tracking_uri=self.registry.tracking_uri)
        experiment = client.get_experiment_by_name(self.registry.experiment(USE_CASE))
        assert experiment is not None
        self.run = str(client.create_run(experiment.experiment_id).info.run_id)
        self._seeds = count(1)
        self.register_new()
        _copy_version(home / "mlflow.db", n_versions)
        self.registry.swap_alias(USE_CASE, "champion", None, str(n_versions // 2))

    def register_new(self) -> None:
        """Register one more bundle."""
        self.registry.register(USE_CASE, self._bundle(next(self._seeds)), self.run, TAGS)

    def register_again(self) -> None:
        """Register a bundle that has a version."""
        self.registry.register(USE_CASE, self._bundle(1), self.run, TAGS)

    def prepare(self) -> None:
        """Make the bundles beforehand: they are not what is measured."""
        for seed in range(1, ROUNDS + 4):
            self._bundle(seed)

    def _bundle(self, seed: int) -> Path:
        link = self.home / f"bundle-{seed}"
        if not link.exists():
            link.symlink_to(make_bundle(self.home / "made", seed=seed)[1])
        return link.resolve()

    def move_champion(self) -> None:
        """Move the alias from where it is to the next version, as a promotion does."""
        found = self.registry.alias(USE_CASE, "champion")
        assert found is not None
        self.registry.swap_alias(USE_CASE, "champion", found, str(int(found) % self.n_versions + 1))

    def best_by_metric(self) -> None:
        """Versions above a value of a metric: MLflow cannot compare what is in a tag, so they are all read."""
        found = [version for version in self.registry.versions(USE_CASE) if version.metrics["roc_auc"] > 0.7]
        assert len(found) < self.n_versions


def _copy_version(path: Path, n_versions: int) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(model_versions)")]
        chosen = ", ".join("n" if column == "version" else column for column in columns)
        numbers = "WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        database.execute(
            f"{numbers} INSERT INTO model_versions ({', '.join(columns)}) "
            f"SELECT {chosen} FROM numbers, model_versions WHERE version = 1",
            [n_versions],
        )
        tags = database.execute("SELECT workspace, name, key, value FROM model_version_tags").fetchall()
        database.executemany(
            "INSERT INTO model_version_tags (workspace, name, version, key, value) VALUES (?, ?, ?, ?, ?)",
            (row for number in range(2, n_versions + 1) for row in _tags_of(number, tags)),
        )


def _tags_of(number: int, tags: list[tuple[str, str, str, str]]) -> Iterator[tuple[str, str, int, str, str]]:
    own = {"bundle_hash": f"{number:064x}", "metrics": json.dumps({"roc_auc": 0.7 - number * 1e-6, "log_loss": 0.5})}
    for workspace, name, key, value in tags:
        yield workspace, name, number, key, own.get(key, value)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "register, a new bundle": Store.register_new,
    "register, a bundle that has a version": Store.register_again,
    "get": lambda store: store.registry.get(USE_CASE, str(store.n_versions // 2)),
    "alias": lambda store: store.registry.alias(USE_CASE, "champion"),
    "swap_alias": Store.move_champion,
    f"newest {NEWEST}": lambda store: store.registry.newest(USE_CASE, NEWEST),
    "versions, all": lambda store: store.registry.versions(USE_CASE),
    "search by a metric": Store.best_by_metric,
}


def _milliseconds(operation: Callable[[Store], object], store: Store) -> float:
    began = time.perf_counter()
    operation(store)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Print the median of every operation on both stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    n_versions = parser.parse_args().versions
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        few, many = (Store(Path(folder) / str(n), n) for n in (FEW, n_versions))
        for store in (few, many):
            store.prepare()
        print(f"{'milliseconds, median of ' + str(ROUNDS):<40}{FEW:>10,} {n_versions:>10,} versions    times")
        for title, operation in OPERATIONS.items():
            pairs = [(_milliseconds(operation, few), _milliseconds(operation, many)) for _ in range(ROUNDS + 1)][1:]
            base, scaled = (statistics.median(values) for values in zip(*pairs, strict=True))
            print(f"{title:<40}{base:10.1f} {scaled:10.1f} {scaled / base:17.1f}", flush=True)


if __name__ == "__main__":
    main()
