"""The stream's clock: a replay of last year stays in last year.

Belongs here: what time it is in the stream. Does not belong here: what is due then (``online``). Upstream: stamps of
messages. Downstream: the consumer.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta


class StreamClock:
    """Stamp of the newest message, plus the time elapsed since it was received.

    Args:
        seconds: a clock that never goes back.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._newest: datetime | None = None
        self._received_s = 0.0

    def saw(self, stamped_at: datetime, ago: timedelta = timedelta(0)) -> None:
        """Note a message that was received so long ago."""
        if self._newest is None or stamped_at > self._newest:
            self._newest, self._received_s = stamped_at, self._seconds() - max(ago.total_seconds(), 0.0)

    def now(self) -> datetime | None:
        """Time of the stream; ``None`` before its first message."""
        if self._newest is None:
            return None
        return self._newest + timedelta(seconds=self._seconds() - self._received_s)
