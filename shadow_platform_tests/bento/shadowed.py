"""A home with a prediction log, for tests of the shadow worker: predictions without a service that made them.

Upstream: log sinks, bundles. Downstream: tests of lanes, progress and replays.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from bento.shadowing.lane import Lane
from bento.shadowing.lane_progress import read_progress
from bento.shadowing.shadow_metrics import ShadowMetrics
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.bento.helpers import USE_CASE, comparisons

NOW = datetime.now(UTC)


def record(index: int, logged_at: datetime, cart: float | None = 20.0, version: str = "1") -> PredictionRecord:
    """The prediction of the i-th request, requested hour by hour from 2024-01-01 on."""
    requested_at = rfc3339(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=index))
    features = {"cart_value": cart, "channel": "mail"}
    return PredictionRecord(
        f"r-{index}", USE_CASE, f"v-{index}", {}, requested_at, rfc3339(logged_at), features,
        {"request": 2, "online": 0, "imputed": 0}, None, version, "hash", "champion", 1.0, 0.4, False, 0.5, 1.0,
    )  # fmt: skip


def log(layout: Layout, records: Sequence[PredictionRecord]) -> None:
    """Append predictions as a serving worker does, in a segment of their own."""
    sink = FileLogSink(layout.log("predictions", USE_CASE))
    sink.append_many(records)
    sink.close()


def pass_a_millisecond() -> None:
    """Records carry milliseconds: only from the next one on is a deployment surely later than the last record."""
    time.sleep(0.002)


def model(digest: str, since: datetime = NOW, version: str = "2", **policy: float) -> DeployedModel:
    """A challenger of the manifest."""
    return DeployedModel.model_validate(
        {"version": version, "bundle_hash": digest, "model_name": "line", "since": since, **policy}
    )


def has_each_once(layout: Layout, n: int, version: str = "2") -> bool:
    """Whether ``n`` predictions have exactly one record each; fails at the first that has two."""
    found = Counter(r.request_id for r in comparisons(layout, version))
    assert set(found.values()) <= {1}, found.most_common(1)
    return len(found) == n


def problem(layout: Layout, version: str = "2") -> str:
    """Why a lane does not go on, as its progress says; empty while it does."""
    progress = read_progress(layout.shadow_progress(USE_CASE, version))
    return (progress and progress.problem) or ""


@contextmanager
def lane_of(
    layout: Layout, deployed: DeployedModel, metrics: ShadowMetrics | None = None, **policies: Any
) -> Iterator[Lane]:
    """A running lane, ended as a worker ends it."""
    lane = Lane(layout, USE_CASE, deployed, metrics or ShadowMetrics(CollectorRegistry()), **policies)
    lane.start()
    try:
        yield lane
    finally:
        lane.stop()
        lane.join(90.0)
        assert not lane.is_alive
