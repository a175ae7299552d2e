"""The lander: makes segments again, byte by byte, from the messages that relays on other machines sent.

Belongs here: which line is next, which was there before, which came too early. Does not belong here: files
(``adapters.landing``), offsets in topics (``adapters.kafka``). Upstream: topics. Downstream: the logs of this home, and
everything that reads them.

A line carries the byte at which it begins. It is appended where its segment ends there, left out where the segment is
longer, and held where it is shorter, until what is missing has come. Offsets are committed up to the first line that is
held, and only behind a flush to the device. So a lander may be killed at any moment, and a relay may repeat itself.
When an append or a flush fails, nothing is committed any more: what was held is forgotten, and its offset with it.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from shadow_platform.adapters.kafka import EventConsumer, KafkaSettings, Partition, partition_counts
from shadow_platform.adapters.landing import LandedSegments
from shadow_platform.contracts.errors import StreamError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.stream import Message
from shadow_platform.log_transport.counters import TransportCounters
from shadow_platform.log_transport.gaps import Came, Gap, Segment
from shadow_platform.log_transport.topics import SentLine, received, topic_of, wait_for_topics

LOGGER = logging.getLogger("shadow_platform.log_transport")

MAX_MESSAGES = 5_000
POLL_S = 0.05
COMMIT_S = 1.0
LOG_S = 10.0
GAP_S = 30.0
"""What is missing for this long was lost on its way, or a line in front was refused."""
ALONE_S = 15.0
SKIP_S = 300.0
"""With ``--skip-gaps``, what has been missing for this long is given up."""
MAX_HELD_BYTES = 64 << 20
"""Of lines in memory that wait; above it those of the largest gap are let go, and come again behind what is missing."""
REMEDY = (
    "run `shadow log relay --again` on the machine that wrote them; if it is gone, `shadow log land --skip-gaps` goes "
    "on without"
)


def group_of(prefix: str, use_case: str) -> str:
    """Consumer group of a lander; homes that land the same topics need one each."""
    return f"{prefix}.land.{use_case}"


class LogLander:
    """Lands some logs of one use case in one home. Runs in one thread; hold their ``turn``.

    Args:
        skips_gaps: put lines aside, and go on, when what stands in front of them does not come.
    """

    def __init__(
        self,
        layout: Layout,
        use_case: str,
        logs: Sequence[str],
        kafka: KafkaSettings,
        prefix: str,
        group: str,
        skips_gaps: bool = False,
    ) -> None:
        self.counters = TransportCounters("land", use_case)
        self._kafka, self._group = kafka, group
        self._logs = {topic_of(prefix, log, use_case): log for log in logs}
        self._segments = {log: LandedSegments(layout.log(log, use_case)) for log in logs}
        self._skipped = {log: LandedSegments(layout.skipped_lines(use_case, log)) for log in logs}
        self._skips_gaps = skips_gaps
        self._seen: dict[Partition, int] = {}
        self._gaps: dict[Segment, Gap] = {}
        self._assigned_at: float | None = None
        self._consumer: EventConsumer | None = None

    def run(self, is_stopped: Callable[[], bool], until_caught_up: bool = False) -> None:
        """Land until told to stop, or until every partition was read to its end.

        Raises:
            LogError: lines cannot be written; nothing of them is committed.
            StreamError: the broker refuses; or everything was read, and lines are missing in the middle.
        """
        wait_for_topics(self._kafka, list(self._logs), is_stopped, self.counters.failed)
        if is_stopped():
            return
        consumer = self._consumer = EventConsumer(
            self._kafka, self._group, list(self._logs), self._assigned, self._commit, with_headers=True
        )
        committed_at = logged_at = time.monotonic()
        try:
            while not is_stopped() and not (until_caught_up and consumer.is_caught_up):
                self._take(consumer.poll(MAX_MESSAGES, POLL_S))
                if time.monotonic() - committed_at >= COMMIT_S:
                    self._skip_gaps(SKIP_S)
                    self._commit()
                    self.counters.to_land(consumer.lag())
                    self._tell_gaps(GAP_S)
                    self._tell_others()
                    committed_at = time.monotonic()
                if time.monotonic() - logged_at >= LOG_S and self.counters.lines.total():
                    LOGGER.info("%s, %s messages to go", self.counters.line(), f"{consumer.lag():,}")
                    logged_at = time.monotonic()
            if not is_stopped():
                self._skip_gaps(0.0)
            self._commit()
            self.counters.to_land(consumer.lag())
            LOGGER.info("stopped: %s", self.counters.line())
            if not is_stopped():
                self._require_no_gaps()
        finally:
            consumer.close()
            for segments in (*self._segments.values(), *self._skipped.values()):
                segments.close()

    def _take(self, messages: Sequence[Message]) -> None:
        came: dict[Segment, list[Came]] = defaultdict(list)
        for message in messages:
            line = received(message)
            if line is None:
                self._refuse(message, "no relay sent it")
                continue
            place = (message.topic, message.partition)
            came[self._logs[message.topic], line.segment].append((line, place, message.offset))
        try:
            for segment, lines in came.items():
                self._land(segment, lines)
            for message in messages:
                self._seen[message.topic, message.partition] = message.offset + 1
            self._make_room()
        except BaseException:
            self._forget()
            raise

    def _land(self, segment: Segment, lines: Sequence[Came]) -> None:
        """Append the lines that are next, with those held that they make the next, by one write."""
        log, name = segment
        end = self._segments[log].size(name)
        gap = self._gaps.get(segment) or Gap()
        fitting: list[bytes] = []
        for came in lines:
            line = came[0]
            if line.start > end:
                gap.hold(came)
            elif line.start == end:
                fitting.append(line.line)
                end = line.end
                while (held := gap.lines.pop(end, None)) is not None:
                    fitting.append(held[0].line)
                    end = held[0].end
            elif line.end <= end:
                self.counters.repeated += 1
            else:
                self._contradicts(log, line, end)
        if fitting:
            self._segments[log].append(name, b"\n".join([*fitting, b""]))
            self.counters.carried(log, len(fitting))
            gap.grew()
        gap.settle(end)
        if gap.is_open:
            self._gaps[segment] = gap
        else:
            self._gaps.pop(segment, None)

    def _make_room(self) -> None:
        while self._gaps and sum(gap.held_bytes for gap in self._gaps.values()) > MAX_HELD_BYTES:
            segment, gap = max(self._gaps.items(), key=lambda item: item[1].held_bytes)
            if self._skips_gaps:
                self._skip(segment)
            else:
                gap.let_all_go()

    def _skip_gaps(self, after_s: float) -> None:
        if self._skips_gaps:
            for segment, gap in list(self._gaps.items()):
                if time.monotonic() - gap.since >= after_s:
                    self._skip(segment)

    def _skip(self, segment: Segment) -> None:
        """Put the lines behind a gap aside; flushed with what landed, before their offsets are committed."""
        (log, name), gap = segment, self._gaps[segment]
        lines = [gap.lines[start][0].line for start in sorted(gap.lines)]
        try:
            self._skipped[log].append(name, b"\n".join([*lines, b""]))
        except BaseException:
            self._forget()
            raise
        del self._gaps[segment]
        self.counters.failed()
        LOGGER.error(
            "%s of %s: bytes %d to %d have not come and are given up; the %d lines behind them are in %s",
            *(log, name, self._segments[log].size(name), gap.first, len(lines), self._skipped[log].path(name)),
        )

    def _forget(self) -> None:
        """Commit nothing beyond what is committed: the process ends, and what did not land comes again."""
        self._seen, self._gaps = {}, {}

    def _commit(self) -> None:
        """Flush what landed, then commit the offsets before the first line that is held."""
        try:
            for segments in (*self._segments.values(), *self._skipped.values()):
                segments.sync()
        except BaseException:
            self._forget()
            raise
        if self._consumer is None:
            return
        until = dict(self._seen)
        for gap in self._gaps.values():
            for place, offset in gap.messages():
                until[place] = min(until.get(place, offset), offset)
        for place, offset in until.items():
            self._consumer.reached(place, offset)
        self._consumer.commit()

    def _assigned(self, _partitions: frozenset[Partition]) -> None:
        """Begin with what is on disk: what was held comes again."""
        self._forget()
        for segments in (*self._segments.values(), *self._skipped.values()):
            segments.close()
        self._assigned_at = time.monotonic()

    def _tell_gaps(self, after_s: float) -> None:
        """Tell each gap once; end where lines that were let go have become the next ones, to read them again."""
        for (log, name), gap in self._gaps.items():
            end = self._segments[log].size(name)
            if time.monotonic() - gap.since < after_s:
                continue
            if gap.let_go and end >= gap.gone_from:
                raise StreamError(
                    f"{log} of {name}: what was missing has come, and what is behind it was let go meanwhile; start "
                    "the lander again: it reads from there"
                )
            if gap.is_told:
                continue
            gap.is_told = True
            self.counters.failed()
            LOGGER.error(
                "%s of %s from host %s: bytes %d to %d have not come, but what is behind them has; if no refused line "
                "is logged there, %s",
                *(log, name, gap.host, end, gap.first, REMEDY),
            )

    def _require_no_gaps(self) -> None:
        self._tell_gaps(0.0)
        if self._gaps:
            raise StreamError(
                f"everything was read, and in {len(self._gaps)} segments lines are missing before others, which wait: "
                f"{', '.join(name for _, name in list(self._gaps)[:3])}; {REMEDY}"
            )

    def _tell_others(self) -> None:
        """Say so when another home takes a part of the messages; of two landers of one home, one waits."""
        if self._consumer is None or self._assigned_at is None or time.monotonic() - self._assigned_at < ALONE_S:
            return
        self._assigned_at = None
        try:
            counts: Mapping[str, int] = partition_counts(self._kafka, self._logs)
        except StreamError:
            return
        n_others = sum(counts.values()) - len(self._consumer.partitions)
        if n_others > 0:
            self.counters.failed()
            LOGGER.error(
                "%d of %d partitions are read by another member of group %s, so that a part of the log is missing "
                "here; end it, or give each home a --group of its own",
                *(n_others, sum(counts.values()), self._group),
            )

    def _contradicts(self, log: str, line: SentLine, end: int) -> None:
        self.counters.failed()
        LOGGER.error(
            "%s of %s from host %s: a line begins at byte %d, within one that landed until byte %d; it is left out. "
            "Two machines write one segment, or the file was changed: restore it, and publish again with --again",
            *(log, line.segment, line.host or "unknown", line.start, end),
        )

    def _refuse(self, message: Message, reason: str) -> None:
        self.counters.failed()
        LOGGER.error(
            "message %d of %s/%d: %s; it is left out", message.offset, message.topic, message.partition, reason
        )
