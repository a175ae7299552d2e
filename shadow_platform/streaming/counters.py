"""What the consumer counts: for Prometheus, and for the line that it logs.

Belongs here: counting. Does not belong here: what the metrics are (``contracts.metrics``), opening a port for them (the
command). Upstream: the consumer. Downstream: ``METRICS_PORT``.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

from shadow_platform.adapters.exposition import counter, gauge
from shadow_platform.contracts import metrics

MESSAGES = counter(metrics.STREAM_MESSAGES)
ROWS = counter(metrics.STREAM_ROWS)
FAILURES = counter(metrics.STREAM_FAILURES)
LAG = gauge(metrics.STREAM_LAG)


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

    def is_behind(self, lag: int) -> None:
        """Note the messages that are still to be taken."""
        LAG.labels(self.use_case).set(lag)

    def line(self, lag: int) -> str:
        """One line on all since the start, and on the rate since the last line."""
        now, total = time.monotonic(), self.messages.total()
        since, before = self._logged
        self._logged = (now, total)
        return (
            f"{total:,} messages ({(total - before) / max(now - since, 1e-9):,.0f}/s), {self.messages['dead']:,} dead "
            f"letters, {self.rows.total():,} feature rows online, {lag:,} messages to go"
        )
