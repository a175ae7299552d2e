"""Replayed requests are sent so that the service takes them, each when it was asked, whatever they are about."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from bento.answering.idempotency import check_key
from shadow_platform.cli.traffic import idempotency_key, replay_traffic
from shadow_platform.resources import PlatformResource
from shadow_platform.testing.tables import run
from shadow_platform_tests.use_cases.fraud.payments import DAY, FRAUD, HOUR, MIDNIGHT, NOON, payment, tables

AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
Read = tuple[str, float | None]
"""When a request was asked, and the payments of the last hour that it read."""


@given(subject=st.text())
@example(subject="Müller")
@example(subject="x" * 240)
def test_every_subject_gives_a_key_that_the_service_takes(subject: str) -> None:
    assert check_key(idempotency_key(subject, AT))


@given(one=st.text(), other=st.text(), seconds=st.integers(0, 5))
def test_a_key_is_the_same_for_the_same_request_alone(one: str, other: str, seconds: int) -> None:
    later = AT + timedelta(seconds=seconds)
    assert (idempotency_key(one, AT) == idempotency_key(other, later)) == ((one, AT) == (other, later))


@contextmanager
def _service(platform: PlatformResource, read: list[Read]) -> Iterator[str]:
    """Address of a service that notes what the online store says of the user of every request."""
    online = platform.feature_store(FRAUD).online()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            row = online.read([{"user_id": body["user_id"]}])[0].get("user_velocity")
            count = None if row is None else row.values["payments_1h"]
            assert count is None or isinstance(count, float)
            read.append((self.headers["X-As-Of"], count))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _landed(platform: PlatformResource, payments: list[pd.Timestamp]) -> None:
    """Payments of one user and the views' rows, in the partitions of their day."""
    events, (transactions, _), day = (
        tables([payment(at, n) for n, at in enumerate(payments)]),
        FRAUD.events,
        NOON.date(),
    )
    platform.lake().write_events(FRAUD, transactions, day, events[transactions.name])
    for view in FRAUD.views:
        rows = run(view.sql, events, start=MIDNIGHT, end=MIDNIGHT + DAY - pd.Timedelta(microseconds=1))
        platform.lake().write_features(FRAUD, view, day, rows)


def test_every_replayed_request_reads_what_had_happened_before_it_and_nothing_else(tmp_path: Path) -> None:
    platform, read = PlatformResource(shadow_home=str(tmp_path)), list[Read]()
    payments = [NOON + n * timedelta(seconds=20) for n in range(5)] + [NOON + HOUR + timedelta(seconds=30)]
    _landed(platform, payments)
    platform.feature_store(FRAUD).apply()
    hours: list[datetime] = []
    with _service(platform, read) as url:
        report = replay_traffic(
            FRAUD,
            datetime.combine(date(2024, 3, 5), datetime.min.time()),
            datetime.combine(date(2024, 3, 6), datetime.min.time()),
            url=url,
            platform=platform,
            on_hour=lambda hour, _: hours.append(hour),
        )
    assert (report.sent, report.failed, len(hours)) == (6, 0, 24)
    asked = [at.isoformat() for at in payments]
    assert read == list(zip(asked, [None, 1.0, 2.0, 3.0, 4.0, 3.0], strict=True))
