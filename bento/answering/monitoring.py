"""What ``GET /monitoring/stats`` shows: the tail of the prediction and failure logs, followed as they grow.

Belongs here: reading a bounded tail of what every worker of this service logged. Does not belong here: the summary
(``domain.monitoring``). Upstream: prediction log, failure log. Downstream: ``bento.api.app``, which calls it beside the
event loop. Holds the latest requests only; the whole history is in the warehouse's tables.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from shadow_platform.adapters.log import FileLogSource, decode_failure, decode_prediction
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import FailureRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.monitoring import RequestSample, summarise_requests
from shadow_platform.domain.serving import rfc3339

KEPT_REQUESTS = 20_000
MAX_BYTES = 24 << 20
"""Most read of a log at once, about as many requests as are kept; what is older is passed over."""
LINES_A_TURN = 50
"""Lines decoded before the event loop's thread gets its turn: waiting for the interpreter costs requests 5 ms."""

T = TypeVar("T")


class Tail(Generic[T]):
    """The latest entries of a log, ordered by time.

    Args:
        source: the log; nobody else reads through it.
        read: entry of a line; raises ``LogError`` for a line that is none.
        at: when an entry was logged, RFC 3339.
    """

    def __init__(
        self, source: FileLogSource, read: Callable[[bytes], T], at: Callable[[T], str], *, kept: int, max_bytes: int
    ) -> None:
        self._source = source
        self._read = read
        self._at = at
        self._kept = kept
        self._max_bytes = max_bytes
        self._position: dict[str, int] = {}
        self.entries: list[T] = []
        self.complete_from: str | None = None

    def follow(self) -> None:
        """Add what was logged since. From ``complete_from`` on nothing is left out; ``None``: nothing ever was."""
        cut = self._pass_over()
        if cut:
            self.entries.clear()
        firsts: dict[str, T] = {}
        for n, line in enumerate(self._source.read(self._position)):
            self._position[line.offset.segment] = line.offset.end
            if n % LINES_A_TURN == 0:
                time.sleep(0)
            try:
                entry = self._read(line.payload)
            except LogError:
                continue
            firsts.setdefault(line.offset.segment, entry)
            self.entries.append(entry)
        self.entries.sort(key=self._at)
        if cut or len(self.entries) > self._kept:
            del self.entries[: -self._kept]
            starts = [*(firsts[name] for name in cut & firsts.keys()), *self.entries[:1]]
            self.complete_from = max(self.complete_from or "", *map(self._at, starts))

    def since(self, start: str) -> list[T]:
        """Entries logged at or after a time."""
        return [entry for entry in self.entries if self._at(entry) >= start]

    def _pass_over(self) -> set[str]:
        """Move positions so that at most ``max_bytes`` are read, the latest of every segment of the last hour."""
        grown = [(name, size) for name, size in self._source.segments() if size > self._position.get(name, 0)]
        if not grown:
            return set()
        hour = grown[-1][0].rpartition("/")[0]
        share, left = self._max_bytes // sum(name.startswith(hour) for name, _ in grown), self._max_bytes
        cut = set()
        for name, size in reversed(grown):
            allowed = min(share, left)
            if size - self._position.get(name, 0) > allowed:
                self._position[name] = size - allowed
                cut.add(name)
            left -= size - self._position.get(name, 0)
        return cut


class MonitoringView:
    """Latest requests of a use case and what became of them."""

    def __init__(self, layout: Layout, use_case: UseCase) -> None:
        self._use_case = use_case
        self._lock = threading.Lock()
        self._requests = Tail(
            FileLogSource(layout.log("predictions", use_case.name)),
            lambda payload: RequestSample.of(decode_prediction(payload)),
            lambda sample: sample.logged_at,
            kept=KEPT_REQUESTS,
            max_bytes=MAX_BYTES,
        )
        self._failures: Tail[FailureRecord] = Tail(
            FileLogSource(layout.log("failures", use_case.name)),
            decode_failure,
            lambda failure: failure.failed_at,
            kept=KEPT_REQUESTS,
            max_bytes=MAX_BYTES,
        )

    def stats(self, window: timedelta, now: datetime) -> dict[str, Any]:
        """Summary of what was logged within the window, over all workers."""
        start = rfc3339(now - window)
        with self._lock:
            self._requests.follow()
            self._failures.follow()
            samples, failures = self._requests.since(start), self._failures.since(start)
            complete_from = self._requests.complete_from or start
        use_case = self._use_case
        return {
            "use_case": use_case.name,
            "window_s": window.total_seconds(),
            "from": max(start, complete_from),
            "until": rfc3339(now),
            "is_complete": complete_from <= start,
            "at_most_requests": KEPT_REQUESTS,
            **summarise_requests(
                samples, failures, use_case.feature_names, use_case.label.horizon, now, use_case.exploration
            ),
        }
