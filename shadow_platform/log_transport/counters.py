"""What relay and lander count, for Prometheus and for the line that they log.

Belongs here: counting. Does not belong here: a port for Prometheus (``adapters.exposition``). Upstream: both loops.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from shadow_platform.adapters.exposition import counter, gauge
from shadow_platform.contracts import metrics

Direction = Literal["relay", "land"]

RELAY_LAG = gauge(metrics.LOG_RELAY_LAG)
LAND_LAG = gauge(metrics.LOG_LAND_LAG)
RELAYED = counter(metrics.LOG_RELAYED)
LANDED = counter(metrics.LOG_LANDED)
ERRORS = counter(metrics.LOG_TRANSPORT_ERRORS)


@dataclass(slots=True)
class TransportCounters:
    """Counts of one process since it started.

    Attributes:
        lines: published or landed, by log.
        repeated: landed before, and left out.
    """

    direction: Direction
    use_case: str
    lines: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    errors: int = 0
    _logged: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))

    def carried(self, log: str, n: int) -> None:
        """Count lines."""
        self.lines[log] += n
        (RELAYED if self.direction == "relay" else LANDED).labels(log, self.use_case).inc(n)

    def to_relay(self, log: str, n_bytes: int) -> None:
        """Say how much of a log waits to be published."""
        RELAY_LAG.labels(log, self.use_case).set(n_bytes)

    def to_land(self, n_messages: int) -> None:
        """Say how much of the topics waits to land."""
        LAND_LAG.labels(self.use_case).set(n_messages)

    def failed(self) -> None:
        """Count a failure of the broker, of the disk, or of a message."""
        self.errors += 1
        ERRORS.labels(self.direction).inc()

    def line(self) -> str:
        """One line on all since the start, and on the rate since the last line."""
        now, total = time.monotonic(), self.lines.total()
        since, before = self._logged
        self._logged = (now, total)
        done = "published" if self.direction == "relay" else "landed"
        again = f", {self.repeated:,} more had landed before" if self.repeated else ""
        rate = (total - before) / max(now - since, 1e-9)
        return f"{total:,} lines {done} ({rate:,.0f}/s){again}, {self.errors:,} errors"
