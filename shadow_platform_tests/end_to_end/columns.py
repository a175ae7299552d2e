"""The two columns that the loop is played on: everything on one machine, or every part on a server of its own.

Belongs here: settings and the servers behind them. Does not belong here: what is played (``loop``). Upstream: the
servers of the tests. Downstream: the test of the scale column and its benchmark.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from shadow_platform.adapters.feature_store.ray_cluster import OBJECT_STORE_BYTES
from shadow_platform.settings import POSTGRES_OF_DAGSTER
from shadow_platform_tests import processes
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.processes import Started
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore
from shadow_platform_tests.scale_column import access

ATTEMPTS_OF_RAY = 4
TOKEN_OF_RAY = {"RAY_AUTH_MODE": "token"}
"""The node asks for the token that Ray keeps in the home of the user; who joins must be told to show it."""


@dataclass(frozen=True)
class Column:
    """Where everything lies.

    Attributes:
        settings: of every process.
        is_apart: serving has a machine, thus a home folder, of its own.
        n_workers: serving processes.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    is_apart: bool = False
    n_workers: int = 1


DEFAULT = Column("default")


class RayCluster:
    """A Ray cluster of one node that runs join: a run that starts one of its own takes seconds, and fails when busy.

    Args:
        environment: of the processes that do the work.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{processes.free_port()}"
        self._folder, self._environment = folder, environment
        self._process: Started | None = None

    def start(self) -> "RayCluster":
        """Start it; a node that gives up because the machine is busy is started again."""
        flags = {
            "port": self.address.rpartition(":")[2],
            "node-ip-address": "127.0.0.1",
            "ray-client-server-port": processes.free_port(),
            "num-cpus": 2,
            "object-store-memory": OBJECT_STORE_BYTES,
            "include-dashboard": "false",
        }
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in flags.items()]
        for attempt in range(ATTEMPTS_OF_RAY):
            output = self._folder / f"ray-{attempt}.log"
            self._process = processes.start(command, output, self._environment, self._folder)
            with contextlib.suppress(AssertionError):
                self._process.wait_until(self._has_started, "Ray", timeout_s=240)
                return self
            self.stop()
        raise AssertionError(f"Ray did not start {ATTEMPTS_OF_RAY} times; see {self._folder}")

    def stop(self) -> None:
        """End it with its workers."""
        if self._process is not None:
            self._process.stop()

    def _has_started(self) -> bool:
        return self._process is not None and "Ray runtime started" in self._process.text()


def scale_column(
    valkey: Valkey, postgres: Postgres, object_store: ObjectStore, broker: Broker, ray: RayCluster
) -> Column:
    """Every row of the right-hand column, in places nobody else uses."""
    place = uuid4().hex
    dagster = postgres.new_database().replace("postgresql://", POSTGRES_OF_DAGSTER)
    return Column(
        "scale",
        {
            **access(object_store),
            **broker.environment,
            "DAGSTER_POSTGRES_URL": dagster,
            "MLFLOW_TRACKING_URI": postgres.new_database().replace("postgresql://", POSTGRES_OF_DAGSTER),
            "MLFLOW_ARTIFACTS_URL": f"s3://{BUCKET}/{place}/mlflow",
            "FEATURE_STORE": "scale",
            "REDIS_URL": valkey.url,
            "RAY_ADDRESS": ray.address,
            **TOKEN_OF_RAY,
            "POSTGRES_URL": postgres.new_database(),
            "FEATURES_URL": f"s3://{BUCKET}/{place}/features",
            "TABLES_URL": f"s3://{BUCKET}/{place}/tables",
            "LOG_TRANSPORT": "kafka",
        },
        is_apart=True,
        n_workers=2,
    )


@contextmanager
def servers(folder: Path) -> Iterator[Column]:
    """The scale column on servers of its own, which end with the block."""
    for name in ("valkey", "s3", "kafka", "ray"):
        (folder / name).mkdir(parents=True)
    valkey, postgres = Valkey(folder / "valkey"), Postgres()
    object_store, broker = ObjectStore(folder / "s3"), Broker(folder / "kafka")
    ray = RayCluster(folder / "ray", {**os.environ, **access(object_store), **TOKEN_OF_RAY})
    with ExitStack() as ending:
        for end in (valkey.stop, postgres.remove, object_store.stop, broker.stop, ray.stop):
            ending.callback(end)
        yield scale_column(valkey.start(), postgres.start(), object_store.start(), broker.start(), ray.start())
