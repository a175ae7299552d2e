"""Starts servers and workers for tests, and ends them with everything they started.

Belongs here: process groups and waiting. Does not belong here: what a particular server is. Downstream: conftest.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bento.serve import free_port as free_port

POLL_S = 0.1
GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Started:
    """A process that leads its own group, with its output in a file."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def is_running(self) -> bool:
        """Whether the leader is alive."""
        return self.process.poll() is None

    def text(self) -> str:
        """Everything printed so far, stdout and stderr."""
        return self.output.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
        """Poll until ``condition()``; fails with the output when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if not self.is_running:
                raise AssertionError(f"{what}: exited with {self.process.returncode}\n{self.text()[-4000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {timeout_s:.0f} s\n{self.text()[-4000:]}")
            time.sleep(POLL_S)

    def wait_for_port(self, port: int, timeout_s: float = 120.0) -> None:
        """Poll until 127.0.0.1:``port`` accepts a connection."""
        self.wait_until(lambda: _accepts(port), f"port {port}", timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; a group that is gone is no error."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def stop(self) -> None:
        """Ask the group to end, then make it, and reap the leader."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        self.signal(signal.SIGKILL)
        self.process.wait()


def start(command: Sequence[str], output: Path, env: Mapping[str, str], cwd: Path) -> Started:
    """Start ``command`` as leader of a new process group; stdout and stderr go to ``output``."""
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=cwd, process_group=0
        )
    return Started(process, output)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
