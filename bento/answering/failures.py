"""The log of failures: what a model could not answer, and answers in which the champion stood in for the canary.

Belongs here: a bounded rate of lines, written beside the requests. Does not belong here: refusals that are the
caller's fault, or the disk's: they say nothing about a model, and are counted in the metrics alone.
Upstream: the predictor. Downstream: the guard, ``GET /monitoring/stats``.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.ports import LogSink
from shadow_platform.contracts.records import FailureRecord, Variant
from shadow_platform.domain.serving import rfc3339

LOGGER = logging.getLogger("shadow_platform.failures")

LINES_PER_S = 100
"""Enough for the guard: 1 % of what one worker answers is less."""
MAX_PENDING = 1000
MAX_DETAIL = 500

Clock = Callable[[], float]


class FailureLog:
    """Failures of one worker. ``note`` never blocks and never raises; ``flush`` writes, in another thread.

    Args:
        sink: of the log stream ``failures``.
        count_unwritten: called with the number of failures that get no line.
        clock: monotonic, seconds.
    """

    def __init__(
        self, use_case: str, sink: LogSink, count_unwritten: Callable[[int], None], clock: Clock = time.monotonic
    ) -> None:
        self._use_case = use_case
        self._sink = sink
        self._count_unwritten = count_unwritten
        self._clock = clock
        self._pending: deque[FailureRecord] = deque()
        self._second, self._n_lines = 0, 0

    def note(
        self, request_id: str, subject_id: str, variant: Variant, model_version: str, reason: str, detail: str
    ) -> None:
        """Take up one failure, or count it when there are too many."""
        if not self._may_take():
            self._count_unwritten(1)
            return
        record = FailureRecord(
            request_id=request_id,
            use_case=self._use_case,
            subject_id=subject_id,
            failed_at=rfc3339(datetime.now(UTC)),
            variant=variant,
            model_version=model_version,
            reason=reason,
            detail=detail[:MAX_DETAIL],
        )
        self._pending.append(record)

    def flush(self) -> None:
        """Write what was taken up; what the device refuses is counted."""
        records = [self._pending.popleft() for _ in range(len(self._pending))]
        try:
            self._sink.append_many(records)
        except LogError as error:
            LOGGER.error("%s", error)
            self._count_unwritten(len(records))

    def close(self) -> None:
        """Write what is left and release the log; raises ``LogError``."""
        self.flush()
        self._sink.close()

    def _may_take(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._n_lines = second, 0
        self._n_lines += 1
        return self._n_lines <= LINES_PER_S and len(self._pending) < MAX_PENDING
