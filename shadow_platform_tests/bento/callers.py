"""Callers on raw connections, who know which worker took them in and can hold the body of a request back.

Upstream: a running service of use case ``shop``. Downstream: tests of how workers and services end.
"""

import json
import socket
from typing import Any
from urllib.parse import urlsplit

from shadow_platform_tests.bento.helpers import body_of, ticks

N_IN_FLIGHT = 8


class Caller:
    """One connection, and the worker that accepted it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=60)
        self._reader = self._connection.makefile("rb")
        self._connection.sendall(b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n")
        self.worker_pid: int = self._answer()["worker_pid"]

    def begin(self, index: int) -> None:
        """Send a request up to its body; returns when the worker reads that."""
        self._body = json.dumps(body_of(index)).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(self._body)}\r\n\r\n"
        self._connection.sendall(head.encode())
        assert self._reader.readline().startswith(b"HTTP/1.1 100")
        self._reader.readline()

    def finish(self) -> str:
        """Send the body; returns the request id of the answer."""
        self._connection.sendall(self._body)
        request_id: str = self._answer()["request_id"]
        return request_id

    def wait_closed(self) -> None:
        """Wait until the worker closes the connection, as it does with an idle one when it begins to end."""
        assert self._reader.read(1) == b""

    def _answer(self) -> dict[str, Any]:
        status, length = self._reader.readline(), 0
        while (line := self._reader.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        document: dict[str, Any] = json.loads(self._reader.read(length))
        assert status.split()[1] == b"200", document
        return document

    def close(self) -> None:
        """Give the connection up."""
        self._reader.close()
        self._connection.close()


class Callers:
    """Connections to one service, given up together."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[Caller] = []

    def one(self) -> Caller:
        """A caller of whichever worker accepts."""
        self._open.append(Caller(self._url))
        return self._open[-1]

    def of(self, pid: int) -> Caller:
        """A caller whom one worker accepted."""
        for _ in ticks(60.0, pause_s=0.0):
            caller = self.one()
            if caller.worker_pid == pid:
                return caller
        raise AssertionError(f"worker {pid} accepts no connection")

    def begun(self) -> list[Caller]:
        """Callers whose requests are in flight."""
        callers = [self.one() for _ in range(N_IN_FLIGHT)]
        for index, caller in enumerate(callers):
            caller.begin(index)
        return callers

    def close(self) -> None:
        """Give all connections up."""
        for caller in self._open:
            caller.close()
