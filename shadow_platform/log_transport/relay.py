"""The relay: publishes the logs of this home, line by line, behind the processes that write them.

Belongs here: the order of the steps. Does not belong here: which lines are due (``tail``), the form of a message
(``topics``). Upstream: segments. Downstream: topics, from which a lander makes the segments again.

A home that only answers keeps its segments for some hours after that, if told so, and not for ever.

Nothing waits for it. While no broker answers the lines stay where they are, on disk, and are published when one does.
A line is done once the broker has confirmed it; a relay that dies in between publishes it again.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from shadow_platform.adapters.kafka import EventProducer, KafkaSettings
from shadow_platform.contracts.layout import Layout
from shadow_platform.log_transport.counters import TransportCounters
from shadow_platform.log_transport.tail import REFUSED_S, LogTail
from shadow_platform.log_transport.topics import (
    HOST_HEADER,
    OFFSET_HEADER,
    SentLine,
    topic_of,
    wait_for_topics,
)

LOGGER = logging.getLogger("shadow_platform.log_transport")

IDLE_S = 0.05
FLUSH_S = 0.5
REPORT_S = 1.0
PRUNE_S = 60.0
LOG_S = 10.0
SILENT_S = 5.0
"""No confirmation for this long is told as an outage."""
LAST_S = 10.0
"""Longest time for what was logged until the relay was told to stop: its home may end with it."""


class LogRelay:
    """Publishes some logs of one use case. Runs in one thread; hold their ``turn``.

    Args:
        again: publish everything there is again, as after a loss on the other side.
        keep_h: delete segments this many hours after theirs, once they were published; ``None``: keep them.
    """

    def __init__(
        self,
        layout: Layout,
        use_case: str,
        logs: Sequence[str],
        kafka: KafkaSettings,
        prefix: str,
        again: bool = False,
        keep_h: int | None = None,
    ) -> None:
        self.counters = TransportCounters("relay", use_case)
        self._kafka = kafka
        self._topics = {log: topic_of(prefix, log, use_case) for log in logs}
        self._tails = {log: LogTail(layout.log(log, use_case), layout.relay_progress(use_case, log)) for log in logs}
        self._producer = EventProducer(kafka, gives_up=False)
        self._host, self._keep_h = socket.gethostname(), keep_h
        self._pruned_at = -PRUNE_S
        self._reported_at = self._logged_at = time.monotonic()
        if not again:
            for tail in self._tails.values():
                tail.restore()

    def run(self, is_stopped: Callable[[], bool], until_caught_up: bool = False) -> None:
        """Publish until told to stop, and then what was logged before; or until everything there is was published."""
        self._report()

        def is_stopped_while_reporting() -> bool:
            if time.monotonic() - self._reported_at >= REPORT_S:
                self._report()
            return is_stopped()

        topics = list(self._topics.values())
        wait_for_topics(self._kafka, topics, is_stopped_while_reporting, self.counters.failed)
        self._take_up_again()
        while not is_stopped():
            n = sum([self._publish(log, is_stopped) for log in self._topics])
            if time.monotonic() - self._reported_at >= REPORT_S:
                self._report()
                self._take_up_again()
                self._prune()
            if n:
                continue
            if until_caught_up and not any(tail.is_waiting for tail in self._tails.values()):
                break
            time.sleep(IDLE_S)
        self._publish_rest()
        self._report()
        LOGGER.info("stopped: %s", self.counters.line())

    def _take_up_again(self) -> None:
        for log, tail in self._tails.items():
            if tail.take_up_again():
                LOGGER.info("as asked, everything there is of the %s is published again", log)

    def _prune(self) -> None:
        if self._keep_h is None or time.monotonic() - self._pruned_at < PRUNE_S:
            return
        self._pruned_at = time.monotonic()
        for log, tail in self._tails.items():
            if n := tail.prune(self._keep_h):
                LOGGER.info("%d segments of the %s deleted: published, and over for %d hours", n, log, self._keep_h)

    def _publish_rest(self) -> None:
        deadline = time.monotonic() + LAST_S

        def is_over() -> bool:
            return time.monotonic() >= deadline

        n = 1
        while n and not is_over():
            n = sum([self._publish(log, is_over) for log in self._topics])

    def _publish(self, log: str, is_stopped: Callable[[], bool]) -> int:
        """Send the next lines of a log and wait until each was confirmed or refused; how many were sent."""
        tail, topic, refused = self._tails[log], self._topics[log], list[tuple[SentLine, str]]()
        lines = tail.lines()
        for line in lines:
            headers = {OFFSET_HEADER: str(line.start), HOST_HEADER: self._host}
            note = partial(_note, refused, line)
            self._producer.send(topic, line.segment.encode(), line.line, headers=headers, on_refused=note)
        if lines and self._is_reported(is_stopped):
            self.counters.carried(log, tail.done(lines, [line for line, _ in refused]))
            self._complain(topic, refused)
        return len(lines)

    def _is_reported(self, is_stopped: Callable[[], bool]) -> bool:
        """Wait for the broker as long as it takes; false when told to stop before."""
        began_at = told_at = time.monotonic()
        while not self._producer.flush(FLUSH_S):
            self._report()
            if is_stopped():
                return False
            if time.monotonic() - told_at >= SILENT_S:
                if told_at == began_at:
                    LOGGER.warning("no Kafka broker at %s takes lines; they wait in the log", self._kafka.servers)
                self.counters.failed()
                told_at = time.monotonic()
        if told_at != began_at:
            LOGGER.warning("a Kafka broker takes lines again after %.0f s", time.monotonic() - began_at)
        return True

    def _complain(self, topic: str, refused: Sequence[tuple[SentLine, str]]) -> None:
        self._producer.refused()
        for line, reason in refused:
            self.counters.failed()
            LOGGER.error(
                "a line of %d bytes at byte %d of %s was refused by topic %s (%s); if it is too large, raise "
                "max.message.bytes of the topic, or message.max.bytes of the broker, above that; else give this user "
                "the right to write. It is sent again every %g s, and what is behind it waits",
                *(len(line.line), line.start, line.segment, topic, reason, REFUSED_S),
            )

    def _report(self) -> None:
        for log, tail in self._tails.items():
            tail.save()
            self.counters.to_relay(log, tail.lag_bytes())
        self._reported_at = time.monotonic()
        if self._reported_at - self._logged_at >= LOG_S and self.counters.lines.total():
            LOGGER.info(self.counters.line())
            self._logged_at = self._reported_at


def _note(refused: list[tuple[SentLine, str]], line: SentLine, reason: str) -> None:
    refused.append((line, reason))
