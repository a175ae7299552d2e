"""Recent requests of one deployment's champion and canary, from the logs of all workers, as the guard judges them.

Belongs here: following the logs, and which time counts. Does not belong here: which call a line stands for and the
verdict (``domain.slo``), what follows from it (``bento.guard``). Upstream: prediction log, log of failures. Downstream:
the guard, ``shadow canary status``.

Age is counted from a line's arrival here, by a clock that never jumps. Only lines that are older than this reader, from
which a window is made again after a restart, are placed by their own time.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path

from shadow_platform.adapters.log import FileLogSource, decode_failure, decode_prediction
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.slo import CallCounter, Objectives, SloVerdict, judge

MAX_REQUESTS = 20_000
"""Kept of each model; at more requests than this in a window, the latest are judged."""
TAIL_BYTES = 16 << 20
"""Read of each segment at the start, about as many requests as are kept."""
LOOK_BACK = timedelta(days=1)
LONGEST_REBUILD = timedelta(hours=1)
"""Segments that rest for longer tell a restarted guard nothing, even where it has seen too few requests."""

Clock = Callable[[], float]


class Window:
    """Latencies of one model's latest requests; ``None`` for one that it failed."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._requests: deque[tuple[float, float | None]] = deque(maxlen=MAX_REQUESTS)

    def add(self, at_s: float, latency_ms: float | None) -> None:
        """Take up one request."""
        self._requests.append((at_s, latency_ms))

    def latest(self, now_s: float, min_requests: int) -> list[float | None]:
        """Requests of the last ``span_s`` seconds, oldest first; of fewer than ``min_requests``, that many latest.

        A model so slow that a span never holds enough of its requests would else be the safest of all.
        """
        # The segments of several workers are read one after another.
        requests = sorted(self._requests, key=itemgetter(0))
        n_recent = sum(at_s >= now_s - self._span_s for at_s, _ in requests)
        requests = requests[-max(n_recent, min_requests) :]
        self._requests = deque(requests, maxlen=MAX_REQUESTS)
        return [latency for _, latency in requests]


class LogTail:
    """Lines of a log stream that have not been read yet.

    Args:
        oldest: segments that nothing was appended to since then are not read again.
    """

    def __init__(self, root: Path, oldest: datetime) -> None:
        self._source = FileLogSource(root, since=datetime.now(UTC) - LOOK_BACK)
        self._after: dict[str, int] = {}
        for segment, size in self._source.segments():
            is_recent = _modified_at(root / segment) >= oldest.timestamp()
            self._after[segment] = max(0, size - TAIL_BYTES) if is_recent else size

    def read(self) -> Iterator[bytes]:
        """Complete lines since the last call; the first may lack its beginning."""
        for line in self._source.read(self._after):
            self._after[line.offset.segment] = line.offset.end
            yield line.payload


class SloWindow:
    """Calls since a deployment was put into force, at most ``span_s`` seconds old as far as there are enough.

    Args:
        canary: in force; ``None`` when the champion answers everyone.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: DeploymentManifest,
        canary: Canary | None,
        span_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._champion_version = manifest.champion.version
        self._calls = CallCounter(
            champion_version=manifest.champion.version, canary_version=canary.model.version if canary else None
        )
        self._in_force_at = manifest.written_at
        self._clock = clock
        self._champion, self._canary = Window(span_s), Window(span_s)
        oldest = max(manifest.written_at, datetime.now(UTC) - max(LONGEST_REBUILD, timedelta(seconds=span_s)))
        self._predictions = LogTail(layout.log("predictions", manifest.use_case), oldest)
        self._failures = LogTail(layout.log("failures", manifest.use_case), oldest)
        self.n_unreadable = 0
        self._is_rebuilding = True
        self.follow()
        self._is_rebuilding = False

    def follow(self) -> None:
        """Take up what was logged since the last call; a line that is none is counted and left out."""
        for read, tail in ((self._predicted, self._predictions), (self._failed, self._failures)):
            for payload in tail.read():
                try:
                    read(payload)
                except (LogError, ValueError, TypeError):
                    self.n_unreadable += 1

    def verdicts(self, objectives: Objectives) -> tuple[SloVerdict, SloVerdict]:
        """Of the canary, and of the champion."""
        now_s, n = self._clock(), objectives.min_requests
        canary, champion = (judge(kept.latest(now_s, n), objectives) for kept in (self._canary, self._champion))
        return canary, champion

    def _predicted(self, payload: bytes) -> None:
        record = decode_prediction(payload)
        at_s = self._arrived_at(record.logged_at)
        call = self._calls.call(record)
        if at_s is not None and call is not None:
            window = self._canary if call.variant == "canary" else self._champion
            window.add(at_s, call.latency_ms)

    def _failed(self, payload: bytes) -> None:
        """A canary's failure is a prediction in which the champion stood in; here only those of the champion count."""
        record = decode_failure(payload)
        at_s = self._arrived_at(record.failed_at)
        if at_s is not None and record.variant == "champion" and record.model_version == self._champion_version:
            self._champion.add(at_s, None)

    def _arrived_at(self, logged_at: str) -> float | None:
        """Monotonic time of a request; ``None`` for one that is older than the deployment."""
        if not self._is_rebuilding:
            return self._clock()
        at = datetime.fromisoformat(logged_at)
        age_s = (datetime.now(UTC) - at).total_seconds()
        return self._clock() - max(0.0, age_s) if at > self._in_force_at else None


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
