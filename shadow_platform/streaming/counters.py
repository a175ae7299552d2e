"""What the consumer counts: for Prometheus, and for the line that it logs.

Belongs here: counting. Does not belong here: opening a port for Prometheus. Upstream: the consumer.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

import prometheus_client

MESSAGES = prometheus_client.Counter("shadow_stream_messages", "Messages taken from a topic", ["use_case", "outcome"])
ROWS = prometheus_client.Counter("shadow_stream_rows", "Feature rows written online", ["use_case", "view"])
FAILURES = prometheus_client.Counter("shadow_stream_failures", "Ticks in which the online store failed", ["use_case"])


@dataclass(slots=True)
class StreamCounters:
    """Counts of one consumer since it started.

    Attributes:
        messages: by outcome, ``valid`` or ``dead``.
        rows: written online, by view.
    """

    use_case: str
    messages: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    _logged: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))

    def took(self, n_valid: int, n_dead: int) -> None:
        """Count messages."""
        for outcome, n in (("valid", n_valid), ("dead", n_dead)):
            self.messages[outcome] += n
            MESSAGES.labels(self.use_case, outcome).inc(n)

    def wrote(self, rows: dict[str, int]) -> None:
        """Count feature rows."""
        for view, n in rows.items():
            self.rows[view] += n
            ROWS.labels(self.use_case, view).inc(n)

    def failed(self) -> None:
        """Count a failure of the online store."""
        self.failures += 1
        FAILURES.labels(self.use_case).inc()

    def line(self, lag: int) -> str:
        """One line on all since the start, and on the rate since the last line."""
        now, total = time.monotonic(), self.messages.total()
        since, before = self._logged
        self._logged = (now, total)
        return (
            f"{total:,} messages ({(total - before) / max(now - since, 1e-9):,.0f}/s), {self.messages['dead']:,} dead "
            f"letters, {self.rows.total():,} feature rows online, {lag:,} messages to go"
        )
