"""Samples, what reads them, and what became of the last reading.

Belongs here: the nouns of the exporter. Does not belong here: any source. Upstream: ``contracts.metrics``. Downstream:
the sources and the collector.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.metrics import Metric
from shadow_platform.telemetry.logs import problem_of

LOGGER = logging.getLogger("shadow_platform.exporter")
FAILED = "source %s cannot be read in part, and what is missing has no metrics meanwhile: %s"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; ``labels`` are in the metric's order."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads some samples of a source; what it raises silences no other reader."""

    source: str
    read: Callable[[], Iterable[Sample]]


@dataclass(slots=True)
class Lane:
    """Readers that take turns in a thread of their own, so that one that hangs holds up its lane alone.

    Attributes:
        refresh_s: samples are read again once they are this old, when somebody asks.
        stale_s: samples are forgotten when the reading after them has lasted for so long.
        failures: readings that failed or took too long, by source.
        durations: of the last reading, by source, seconds.
    """

    readers: tuple[Reader, ...]
    refresh_s: float
    stale_s: float
    samples: list[Sample] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    durations: dict[str, float] = field(default_factory=dict)
    _read_at: float = -float("inf")
    _started_at: float = 0.0
    _at: str = ""
    _is_late: bool = False
    _thread: threading.Thread | None = None
    _problems: dict[int, str] = field(default_factory=dict)

    def start(self) -> None:
        """Begin to read, unless what is known is new enough or a reading is under way."""
        is_new = time.monotonic() - self._read_at < self.refresh_s
        if is_new or (self._thread is not None and self._thread.is_alive()):
            return
        self._started_at, self._is_late = time.monotonic(), False
        self._thread = threading.Thread(target=self._read, name="reading", daemon=True)
        self._thread.start()

    def wait(self, deadline: float) -> None:
        """Wait for the reading under way; one that takes too long is counted, once."""
        if self._thread is None:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if not self._thread.is_alive():
            return
        if not self._is_late:
            self._is_late = True
            self.failures[self._at] += 1
            LOGGER.warning("source %s takes longer than expected; the others are served without it", self._at)
        if time.monotonic() - self._started_at > self.stale_s:
            self.samples = []

    def _read(self) -> None:
        found: list[Sample] = []
        durations: dict[str, float] = {}
        for place, reader in enumerate(self.readers):
            self._at, began = reader.source, time.monotonic()
            try:
                found += list(reader.read())
                self._problems.pop(place, None)
            except Exception as error:
                self.failures[reader.source] += 1
                if self._problems.get(place) != str(error):
                    # A source's words may quote a row or hold lines of SQL; ours do not.
                    said = error if isinstance(error, ShadowPlatformError) else problem_of(error)
                    LOGGER.warning(FAILED, reader.source, said, exc_info=True)
                self._problems[place] = str(error)
            durations[reader.source] = durations.get(reader.source, 0.0) + time.monotonic() - began
        self.samples, self.durations, self._read_at = found, durations, time.monotonic()
