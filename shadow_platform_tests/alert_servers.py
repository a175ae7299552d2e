"""A mail server and a webhook that keep what they are given, on ports of this machine.

Belongs here: servers that alerts are sent to in tests. Upstream: aiosmtpd, the standard library. Downstream: tests of
alerts.
"""

import email
import email.policy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from shadow_platform_tests.processes import free_port


@dataclass
class Inbox:
    """What one server was given, oldest first.

    Attributes:
        url: for ``ALERT_URLS``; holds a password that must never show anywhere.
        status: HTTP status that a webhook answers.
        hangs_s: how long a webhook waits before it answers.
    """

    url: str
    mails: list[EmailMessage] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    hangs_s: float = 0.0


@contextmanager
def mail_server(port: int | None = None) -> Iterator[Inbox]:
    """A mail server."""
    port = port or free_port()
    inbox = Inbox(f"mailto://127.0.0.1:{port}?from=shadow@example.org&to=oncall@example.org&name=sesame-mail")

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            inbox.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
            return "250 OK"

    controller = Controller(Keep(), hostname="127.0.0.1", port=port, ready_timeout=60.0)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


@contextmanager
def webhook(port: int | None = None) -> Iterator[Inbox]:
    """A web server that takes JSON."""
    inbox = Inbox("")

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(inbox.hangs_s)
            if inbox.status == 200:
                inbox.posts.append(json.loads(body))
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(inbox.status)
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", port or 0), Take)
    inbox.url = f"json://oncall:sesame-hook@127.0.0.1:{server.server_port}/sesame-path?+X-Token=sesame-head"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
