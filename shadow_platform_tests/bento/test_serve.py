"""The supervisor gives its children the settings it has, secrets included, and refuses to start without tokens."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from bento import serve
from bento.serve import (
    GUARD,
    RELAY,
    SERVER,
    SHADOW,
    Child,
    RunningService,
    ServiceError,
    _children,
    child_environment,
    free_port,
    port_is_free,
    running_service,
)
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import settings_at, wait_until

TOKENS = {
    "predict_tokens": SecretStr("predict-token-0123456789"),
    "shadow_tokens": SecretStr("shadow-token-9876543210"),
}

LISTEN = """
import pathlib, socket, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
with socket.create_server(("127.0.0.1", int(sys.argv[2]))):
    time.sleep(600)
"""
NOTE_THE_END = """
import signal, sys, time
def end(*_):
    time.sleep(float(sys.argv[3]))
    with open(sys.argv[1], "a") as notes:
        notes.write(f"{sys.argv[2]}\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
with open(sys.argv[1] + "." + sys.argv[2], "w"):
    pass
time.sleep(600)
"""
NOTE_WHETHER_IT_LISTENS = """
import socket, sys, time
with socket.socket() as probe, open(sys.argv[1], "a") as notes:
    notes.write(f"{probe.connect_ex(('127.0.0.1', int(sys.argv[2]))) == 0}\\n")
time.sleep(600)
"""


def test_a_child_reads_the_settings_of_its_supervisor(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, environment="staging", slo_p95_ms=12.5, cors_origins="https://a.example", **TOKENS)
    environment = child_environment(settings, shop.NAME, 8123, 3)
    script = (
        "from shadow_platform.settings import load_settings as load; s = load();"
        "print(s.model_copy(update={'shadow_home': s.shadow_home.resolve()}).model_dump_json(),"
        " s.predict_tokens.get_secret_value(), s.shadow_tokens.get_secret_value(), sep='|')"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    expected = settings.model_copy(
        update={
            "shadow_home": settings.layout.home,
            "shadow_use_case": shop.NAME,
            "port": 8123,
            "feast_repo_path": settings.feast_repo_path.resolve(),
        }
    )
    text, predict, shadow = told.split("|")
    assert Settings.model_validate_json(text).model_dump() | TOKENS == expected.model_dump()
    assert (predict, shadow) == tuple(token.get_secret_value() for token in TOKENS.values())


def test_a_service_without_tokens_does_not_start_outside_development(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, environment="production")
    with (
        pytest.raises(SettingsError, match=r"PREDICT_TOKENS is not set; with ENVIRONMENT=production it must"),
        running_service(settings, shop.NAME, free_port()),
    ):
        pass


@pytest.mark.processes
def test_a_service_has_its_shadow_worker_and_guard_beside_it_and_ends_them(tmp_path: Path) -> None:
    with running_service(settings_at(tmp_path), shop.NAME, free_port(), wait_ready=False) as service:
        assert [child.name for child in service.children] == [SERVER, SHADOW, GUARD]
        pids = [service.server_pid, service.shadow_pid, service.guard_pid, *service.worker_pids]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@contextmanager
def looked_after(service: RunningService) -> Iterator[None]:
    """The service's children are restarted while the block runs, and ended."""
    thread = threading.Thread(target=service.look_after)
    thread.start()
    try:
        yield
    finally:
        service.stop()
        thread.join()


def kill(child: Child) -> None:
    """End a process as a crash does."""
    assert child.process is not None
    child.process.kill()


@pytest.mark.processes
def test_a_shadow_worker_joins_a_new_server_when_it_listens_not_before(tmp_path: Path) -> None:
    port, may_listen, notes, asked = free_port(), tmp_path / "may-listen", tmp_path / "notes", list[bool]()
    environment = child_environment(settings_at(tmp_path), shop.NAME, port, 1)
    server, shadow = children = _children(environment, "127.0.0.1", port, tmp_path / "output", [SERVER, SHADOW])
    server.command = [sys.executable, "-c", LISTEN, str(may_listen), str(port)]
    shadow.command = [sys.executable, "-c", NOTE_WHETHER_IT_LISTENS, str(notes), str(port)]
    may_start = shadow.may_start
    shadow.may_start = lambda: asked.append(may_start()) or asked[-1]  # type: ignore[func-returns-value]
    notes.touch()
    may_listen.touch()
    for child in children:
        child.start()
        wait_until(lambda: not port_is_free("127.0.0.1", port), "the server listens")
    wait_until(lambda: notes.read_text() == "True\n", "the shadow worker runs")
    with looked_after(RunningService("", children, tmp_path / "output")):
        for n_restarts, crashed in enumerate(([server], [server, shadow]), 1):
            may_listen.unlink()
            asked.clear()
            for child in crashed:
                kill(child)
            wait_until(lambda n=n_restarts: server.n_restarts == n and len(asked) >= 10, "a server is loading")  # type: ignore[misc]
            assert not any(asked)
            assert shadow.n_restarts == n_restarts - 1
            may_listen.touch()
            wait_until(lambda n=n_restarts: notes.read_text().count("\n") == n + 1, "another shadow worker runs")  # type: ignore[misc]
    assert notes.read_text() == "True\n" * 3


def test_the_relay_ends_after_what_still_logs(tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def child(name: str, takes_s: float) -> Child:
        command = [sys.executable, "-c", NOTE_THE_END, str(notes), name, str(takes_s)]
        return Child(name, command, dict(os.environ), tmp_path / "log")

    service = RunningService("", [child(RELAY, 0.0), child(SERVER, 0.5), child(GUARD, 0.2)], tmp_path / "log")
    for one in service.children:
        one.start()
    wait_until(lambda: all(Path(f"{notes}.{one.name}").exists() for one in service.children), "all run")
    service.stop()
    *others, last = notes.read_text().splitlines()
    assert (sorted(others), last) == (sorted([GUARD, SERVER]), RELAY)


def test_a_port_that_was_given_and_is_not_listened_on_yet_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setattr(serve, "FIRST_FREE_PORT", first)
    monkeypatch.setattr(serve, "FIRST_OUTGOING_PORT", first + 1)

    with pytest.raises(ServiceError, match="no free port"):
        free_port()
