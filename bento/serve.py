"""Starts the service, its shadow worker, its guard and its relay, looks after them, and ends them together.

Belongs here: processes and their environment. Does not belong here: anything a request meets. Upstream: command line,
demo, tests. Downstream: ``bentoml serve bento.service:ShadowPredictor``, ``python -m bento.shadow``,
``python -m bento.guard``, ``shadow log relay``.

``SERVE_ROLES`` says which of them run here; on many machines some answer, and another shadows and guards. The relay
runs where answers are logged, with ``LOG_TRANSPORT=kafka``. The service's arbiter restarts its workers; this supervisor
restarts the arbiter and everything beside it.
Children that outlive a killed supervisor notice and end by themselves (``bento.orphan.is_orphan``).
"""

import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

import httpx
import psutil
from pydantic import SecretStr

from bento.api.access import require_tokens
from bento.orphan import SUPERVISOR_VARIABLE
from bento.package import import_path
from bento.stopping import StopEvent
from shadow_platform.contracts.errors import SettingsError, ShadowPlatformError
from shadow_platform.settings import Settings

LOGGER = logging.getLogger("shadow_platform.serve")

SERVICE = "bento.service:ShadowPredictor"
SERVER, SHADOW, GUARD, RELAY = "server", "shadow worker", "guard", "relay"
READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
KEEP_ALIVE_S = 75
FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
FIRST_FREE_PORT, FIRST_OUTGOING_PORT = 20_000, 32_768
"""Below are Ray's workers; above, a connection that goes out may be given a port that was free just now."""
STEADY_S = 30.0
"""A child that lived this long is restarted at once when it dies."""
_GIVEN: set[int] = set()


class ServiceError(ShadowPlatformError):
    """The service did not start, or ended by itself."""


@dataclass(slots=True)
class Child:
    """One supervised process.

    Attributes:
        output: file for what it prints; ``None``: where this process prints.
        may_start: asked before a restart; a new server waits until the orphans of a killed one gave its port back, the
            shadow worker until the server listens: it empties the folder of their metrics before.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    output: Path | None
    may_start: Callable[[], bool] = lambda: True
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    restart_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    n_restarts: int = 0

    def start(self) -> None:
        """Start it, leader of a session of its own, so that its priority counts and a signal reaches its children."""
        with _appended(self.output) as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    def look_after(self) -> bool:
        """Start it again when it died, with back-off; returns whether it was started."""
        if self.process is not None and self.process.poll() is None:
            return False
        now = time.monotonic()
        if self.process is not None:
            code, self.process = self.process.returncode, None
            self.backoff_s = FIRST_BACKOFF_S if now - self.started_at > STEADY_S else self.backoff_s * 2
            self.restart_at = now + min(self.backoff_s, LONGEST_BACKOFF_S)
            LOGGER.warning(
                "%s ended with code %s; starting it again, see %s", self.name, code, self.output or "its lines"
            )
        if now < self.restart_at or not self.may_start():
            return False
        self.start()
        self.n_restarts += 1
        return True

    def signal_end(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the deadline, then kill it with everything it started."""
        if self.process is None:
            return
        family = _family(self.process.pid)
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            LOGGER.error("%s does not end; killing it", self.name)
            self.process.kill()
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=5)
        self.process.wait(5)


@dataclass(slots=True)
class RunningService:
    """A service that answers, until its context ends."""

    url: str
    children: list[Child]
    output: Path
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def server_pid(self) -> int:
        """Process id of the service's arbiter."""
        return self._pid(SERVER)

    @property
    def shadow_pid(self) -> int:
        """Process id of the shadow worker."""
        return self._pid(SHADOW)

    @property
    def guard_pid(self) -> int:
        """Process id of the guard."""
        return self._pid(GUARD)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the serving workers."""
        server_pid = self.server_pid
        try:
            return [child.pid for child in psutil.Process(server_pid).children()]
        except psutil.NoSuchProcess:
            raise ServiceError(f"{SERVER} {server_pid} has ended and will be started again; try in a moment") from None

    def wait(self, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        """Block until one of the signals arrives; call it from the main thread."""
        arrived = StopEvent()

        def note(_number: int, _frame: FrameType | None) -> None:
            arrived.set()

        before = {number: signal.signal(number, note) for number in signals}
        try:
            while not arrived.wait(0.5):
                continue
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def look_after(self) -> None:
        """Restart what died, until the context ends; the shadow worker follows a new server, whose metrics it joins."""
        has_new_server = False
        while not self._stopped.wait(0.1):
            for child in self.children:
                if has_new_server and child.name == SHADOW and child.may_start():
                    child.signal_end()
                    has_new_server = False
                has_new_server |= child.look_after() and child.name == SERVER

    def end_supervision(self) -> None:
        """Start nothing again from now on; a child that was started while the others end would be left behind."""
        self._stopped.set()

    def stop(self) -> None:
        """End every child, with everything it started; the relay last, which carries what the others logged."""
        self.end_supervision()
        for is_relay in (False, True):
            due = [child for child in self.children if (child.name == RELAY) == is_relay]
            for child in due:
                child.signal_end()
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for child in due:
                child.end(deadline)

    def _pid(self, name: str) -> int:
        child = next(child for child in self.children if child.name == name)
        if child.process is None:
            raise ServiceError(f"{name} is being started again; try in a moment")
        return child.process.pid


@contextmanager
def running_service(
    settings: Settings,
    use_case: str,
    port: int,
    workers: int = 1,
    *,
    shadow: bool = True,
    guard: bool = True,
    host: str = "127.0.0.1",
    wait_ready: bool = True,
    output: Path | None = None,
    shares_output: bool = False,
) -> Iterator[RunningService]:
    """The parts of a service of one use case that ``SERVE_ROLES`` names, ready to answer if they answer at all.

    Args:
        use_case: name, or ``package.module:ATTR``.
        shadow: whether a shadow worker may run.
        guard: whether a guard may run.
        wait_ready: without it, the context begins when the service answers at all (a model may be missing).
        output: file for what the processes print; default: ``serving/service-<port>.log`` below ``SHADOW_HOME``.
        shares_output: they print where this process does, and not into a file.

    Raises:
        ServiceError: the port is taken, or the service is not ready within ``READY_TIMEOUT_S``.
        SettingsError: outside development, tokens are missing; or a role is unknown, or nothing would run.
    """
    parts = _parts(settings, shadow=shadow, guard=guard)
    if SERVER in parts:
        require_tokens(settings)
        if not port_is_free(host, port):
            raise ServiceError(f"port {port} of {host} cannot be used; stop what listens there, or set PORT")
    output = output or settings.layout.home / "serving" / f"service-{port}.log"
    children = _children(child_environment(settings, use_case, port, workers), host, port, output, parts)
    if shares_output:
        for child in children:
            child.output = None
    service = RunningService(f"http://{host}:{port}", children, output)
    thread = threading.Thread(target=service.look_after, name="supervisor", daemon=True)
    try:
        for child in children:
            child.start()
            if child.name == SERVER:
                _wait_ready(service, wait_ready)
        thread.start()
        yield service
    finally:
        service.end_supervision()
        if thread.is_alive():
            thread.join(STOP_TIMEOUT_S)
        service.stop()


def _parts(settings: Settings, *, shadow: bool, guard: bool) -> list[str]:
    """What runs here, the server first: the others wait for it."""
    is_relayed = settings.log_transport == "kafka" and "predictor" in settings.roles
    if is_relayed and settings.kafka_bootstrap_servers is None:
        raise SettingsError(
            "LOG_TRANSPORT=kafka needs KAFKA_BOOTSTRAP_SERVERS; set it to host:port in the environment or .env"
        )
    wanted = {
        SERVER: "predictor" in settings.roles,
        SHADOW: shadow and "shadow" in settings.roles,
        GUARD: guard and "guard" in settings.roles,
        RELAY: is_relayed,
    }
    if not any(wanted.values()):
        raise SettingsError(f"SERVE_ROLES={settings.serve_roles} leaves nothing to run; name another role, or allow it")
    return [name for name, is_wanted in wanted.items() if is_wanted]


def child_environment(settings: Settings, use_case: str, port: int, workers: int) -> dict[str, str]:
    """Environment that gives a child the same settings, wherever it runs."""
    own = _as_environment(settings) | {
        "SHADOW_HOME": str(settings.layout.home),
        **({"SHADOW_SHARED": str(settings.layout.shared)} if settings.layout.shared else {}),
        "FEAST_REPO_PATH": str(settings.feast_repo_path.resolve()),
        "SHADOW_USE_CASE": use_case,
        "PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "BENTOML_HOME": str(settings.layout.bentos / "run" / str(port)),
        "BENTOML_CONFIG_OVERRIDES": json.dumps({"services": {"shadow_predictor": {"workers": workers}}}),
        "PYTHONPATH": os.pathsep.join(import_path()),
        SUPERVISOR_VARIABLE: str(os.getpid()),
    }
    inherited = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    return {**inherited, **own}


@contextmanager
def _appended(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, given once by this process, and never to a connection going out."""
    for port in (secrets.randbelow(FIRST_OUTGOING_PORT - FIRST_FREE_PORT) + FIRST_FREE_PORT for _ in range(1_000)):
        if port not in _GIVEN and port_is_free("127.0.0.1", port):
            _GIVEN.add(port)
            return port
    raise ServiceError(f"no free port between {FIRST_FREE_PORT} and {FIRST_OUTGOING_PORT}; end what listens there")


def port_is_free(host: str, port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _as_environment(settings: Settings) -> dict[str, str]:
    plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in settings}
    return {name.upper(): str(value) for name, value in plain.items() if value is not None}


def _children(environment: dict[str, str], host: str, port: int, output: Path, parts: Sequence[str]) -> list[Child]:
    """Processes of some parts; beside a server the shadow worker's metrics are the server's to expose."""
    metrics = {"PROMETHEUS_MULTIPROC_DIR": str(Path(environment["BENTOML_HOME"]) / "prometheus_multiproc_dir")}
    is_free = partial(port_is_free, host, port)
    python = [sys.executable, "-m"]
    shadow = Child(SHADOW, [*python, "bento.shadow"], environment, output)
    if SERVER in parts:
        shadow.environment, shadow.may_start = {**environment, **metrics}, lambda: not is_free()
    relay = [*python, "shadow_platform.cli", "log", "relay", "--use-case", environment["SHADOW_USE_CASE"]]
    known = {
        SERVER: Child(SERVER, _server_command(host, port), environment, output, may_start=is_free),
        SHADOW: shadow,
        GUARD: Child(GUARD, [*python, "bento.guard"], environment, output),
        RELAY: Child(RELAY, relay, environment, output),
    }
    return [known[name] for name in parts]


def _server_command(host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", host, "--port", str(port)),
        *("--timeout-keep-alive", str(KEEP_ALIVE_S), "--timeout-graceful-shutdown", "10"),
        *("--working-dir", str(Path(__file__).resolve().parents[1])),
    ]


def _wait_ready(service: RunningService, must_be_ready: bool) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    server = service.children[0].process
    reason = "it does not answer"
    while time.monotonic() < deadline:
        if server is None or server.poll() is not None:
            raise ServiceError(f"the service ended at its start:\n{_last_lines(service.output)}\nsee {service.output}")
        try:
            answer = httpx.get(f"{service.url}/ready", timeout=5.0, trust_env=False)
            if answer.status_code == 200 or not must_be_ready:
                return
            document: dict[str, Any] = answer.json()
            reason = str(document.get("detail", answer.text))
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(0.1)
    raise ServiceError(f"the service is not ready after {READY_TIMEOUT_S:.0f} s: {reason}; see {service.output}")


def _last_lines(path: Path, n: int = 12) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-n:])
    except OSError:
        return ""


def _family(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found
