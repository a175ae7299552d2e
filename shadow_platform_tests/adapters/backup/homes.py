"""A small folder that has one of everything a home has, and what its archives are compared with.

Belongs here: making and reading such folders. Does not belong here: assertions. Downstream: the tests beside it.
"""

import sqlite3
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from shadow_platform.adapters.backup import Written, write

FILES = {
    "serving/shop.json": b'{"generation": 3}',
    "serving/shop.workers/17.json": b"a sign of life",
    "serving/shop.shadow/2.json": b"progress",
    "serving/shop.canary": b"progress",
    "locks/deployment-shop.lock": b"",
    "bentoml/run/8000/metrics.db": b"of a process",
    "bentoml/bentos/shop/g3-abc/bento.yaml": b"name: shop",
    "bundles/abc/model.onnx": bytes(range(256)) * 300,
    "bundles/.fetch-1/model.onnx": b"half",
    "tables/labels/use_case=shop/dt=2024-01-01/data.parquet": b"PAR1rowsPAR1",
    "lake/features/shop/view/dt=2024-01-01/data.parquet": b"PAR1",
    "raw/shop/locks/dt=2024-01-01/events.jsonl": b'{"event_id": "a kind may be called so"}',
    "serving/service-8000.log": b"started",
    "serving/shop.rollout": b"{}",
    "mlflow/artifacts/1/model.skops": b"a model",
    "lake/features/shop/view/dt=2024-01-01/record.json": b"{}",
    "raw/shop/visits/dt=2024-01-01/events.jsonl": b'{"event_id": "1"}\n{"event_id": "2"}',
    "log/shadow/use_case=shop/challenger=2/dt=2024-01-01/hour=00/1-a.jsonl": b'{"r": 1}\n',
    "log/predictions/use_case=shop/dt=2024-01-01/hour=00/1-a.jsonl": b'{"r": 1}\n{"r": 2}\n{"r": 3',
    "warehouse.duckdb": b"views",
}
DATABASES = ("mlflow/mlflow.db", "dagster/history/runs.db", "dagster/schedules/schedules.db", "feast/online.db",
             "dagster/history/runs/.db", "serving/shop.idempotency.db")  # fmt: skip
NOT_COPIED = {
    "serving/shop.workers/17.json", "serving/shop.shadow/2.json", "serving/shop.canary", "bentoml/run/8000/metrics.db",
    "locks/deployment-shop.lock",
    "bundles/.fetch-1/model.onnx",
}  # fmt: skip
CUT = "log/predictions/use_case=shop/dt=2024-01-01/hour=00/1-a.jsonl"


def make_home(folder: Path) -> Path:
    """A home in which nothing runs."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for name in DATABASES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / name)) as database, database:
            database.execute("CREATE TABLE numbers (n INTEGER)")
            database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(100)])
    (folder / "warehouse.duckdb").chmod(0o444)
    return folder


def expected(home: Path) -> dict[str, bytes]:
    """What a restored home holds: everything that is copied, with the torn line cut off."""
    found = contents(home)
    for name in NOT_COPIED:
        del found[name]
    found[CUT] = b'{"r": 1}\n{"r": 2}\n'
    return found


def contents(home: Path) -> dict[str, bytes]:
    """Every file of a folder by its place."""
    files = (path for path in home.rglob("*") if path.is_file())
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def numbers(database: Path) -> list[int]:
    """Rows of one of the SQLite files."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


def archive_of(home: Path, path: Path) -> Written:
    """The archive of a home in which nobody changes a deployment."""
    return write(home, path, "1.0", held)


def held() -> AbstractContextManager[object]:
    """A deployment that stays as it is."""
    return nullcontext()
