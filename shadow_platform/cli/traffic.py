"""Replays recorded requests against a running service, each as if on its own day.

Upstream: the lake (requests and feature rows), the service. Downstream: the prediction log, through the service alone.
The online store is brought forward between the requests, so that each is answered from the newest rows that could be
known, as a stream or a materialization in time would have it.
"""

import asyncio
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from time import perf_counter
from typing import Any

import aiohttp
import pandas as pd

from bento.api.access import PREDICT, authorization
from shadow_platform.adapters.lake import Lake
from shadow_platform.cli.batches import OnlineHistory, batches
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving.bodies import request_bodies
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings

HOUR = timedelta(hours=1)


@dataclass(slots=True)
class TrafficReport:
    """What was sent and how it was answered; latencies in milliseconds, as seen by the client."""

    sent: int = 0
    failed: int = 0
    first_failure: str = ""
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def quantile_ms(self, percent: int) -> float:
        """Latency quantile, milliseconds."""
        return statistics.quantiles(self.latencies_ms, n=100)[percent - 1] if len(self.latencies_ms) > 1 else 0.0


def recorded_requests(lake: Lake, use_case: UseCase, start: datetime, end: datetime) -> pd.DataFrame:
    """Requests of ``[start, end)`` in order of ``requested_at``."""
    frame = lake.events_sql(use_case.requests_sql, use_case, use_case.events, {"start": start, "end": end}, end=end)
    return frame.sort_values("requested_at", kind="stable").reset_index(drop=True)


def replay_traffic(
    use_case: UseCase,
    start: datetime,
    end: datetime,
    *,
    url: str,
    connections: int = 16,
    advance: bool = True,
    on_hour: Callable[[datetime, TrafficReport], None] | None = None,
    platform: PlatformResource | None = None,
) -> TrafficReport:
    """Send every recorded request of ``[start, end)`` and wait for its answer.

    Raises:
        ShadowPlatformError: nothing was recorded in the period, or the service cannot be reached.
    """
    platform = platform or PlatformResource()
    start, end = (t if t.tzinfo else t.replace(tzinfo=UTC) for t in (start, end))
    requests = recorded_requests(platform.lake(), use_case, start, end)
    if requests.empty:
        raise ShadowPlatformError(
            f"no requests of {use_case.name} recorded from {start} to {end}; land events first: "
            f"materialize {use_case.name}_ingest in `shadow ui`, or run `shadow demo`"
        )
    feature_rows = _feature_rows(platform.lake(), use_case, start, end) if advance else {}
    return asyncio.run(_replay(platform, use_case, requests, feature_rows, (start, end), url, connections, on_hour))


def _feature_rows(lake: Lake, use_case: UseCase, start: datetime, end: datetime) -> dict[str, pd.DataFrame]:
    first, until = (start - timedelta(days=1)).date(), end.date() + timedelta(days=1)
    return {view.name: lake.read_features(use_case, view, first, until) for view in use_case.views}


async def _replay(
    platform: PlatformResource,
    use_case: UseCase,
    requests: pd.DataFrame,
    feature_rows: dict[str, pd.DataFrame],
    period: tuple[datetime, datetime],
    url: str,
    connections: int,
    on_hour: Callable[[datetime, TrafficReport], None] | None,
) -> TrafficReport:
    report = TrafficReport()
    store = platform.feature_store(use_case)
    bodies = request_bodies(use_case, requests)
    times, subjects = requests["requested_at"], requests["subject_id"]
    history = OnlineHistory(use_case, feature_rows)
    due = deque(batches(times, history.newest_known(requests)))
    began = perf_counter()
    connector, token = aiohttp.TCPConnector(limit=connections), authorization(load_settings(), PREDICT)
    async with aiohttp.ClientSession(connector=connector, headers=token) as session:
        for hour in _hours(*period):
            while due and times.iloc[due[0].start] < hour + HOUR:
                batch = due.popleft()
                for view, rows in history.take(times.iloc[batch.start]):
                    store.write_online(view, rows)
                asked = [(bodies[i], times.iloc[i], subjects.iloc[i]) for i in batch]
                await _send(session, f"{url}/predict", asked, connections, report)
            if on_hour:
                on_hour(hour, report)
    report.seconds = perf_counter() - began
    return report


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour < end:
        yield hour
        hour += HOUR


def idempotency_key(subject: str, requested_at: datetime) -> str:
    """The same key whenever this request is sent; a hash, for a subject may hold what no header takes."""
    request = f"{subject}\0{requested_at.isoformat()}".encode("utf-8", "surrogatepass")
    return f"traffic-{blake2b(request, digest_size=16).hexdigest()}"


async def _send(
    session: aiohttp.ClientSession, url: str, batch: list[tuple[bytes, Any, str]], width: int, report: TrafficReport
) -> None:
    queue = iter(batch)

    async def worker() -> None:
        for body, requested_at, subject in queue:
            headers = {
                "Content-Type": "application/json",
                "X-As-Of": requested_at.isoformat(),
                "Idempotency-Key": idempotency_key(subject, requested_at),
            }
            began = perf_counter()
            try:
                async with session.post(url, data=body, headers=headers) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ShadowPlatformError(f"{url} does not answer ({error}); start it with `shadow serve`") from error
            report.sent += 1
            report.latencies_ms.append((perf_counter() - began) * 1000)
            if response.status != 200:
                report.failed += 1
                report.first_failure = report.first_failure or f"{response.status}: {answer[:400].decode()}"

    await asyncio.gather(*(worker() for _ in range(width)))


def print_report(report: TrafficReport) -> None:
    """Print counts and client-side latencies."""
    rate = report.sent / report.seconds if report.seconds else 0.0
    print(
        f"{report.sent} requests in {report.seconds:.1f} s ({rate:.0f}/s), {report.failed} failed; "
        f"p50 {report.quantile_ms(50):.1f} ms, p99 {report.quantile_ms(99):.1f} ms"
    )
    if report.first_failure:
        print(f"first failure: {report.first_failure}")
