"""The consumer's loop: every message onto disk, every valid event into the features, then its offset is committed.

Belongs here: the order of the steps, which is what makes a crash harmless. Does not belong here: any of the steps.
Upstream: Kafka. Downstream: segments, which the events stage lands; the online store; the dead-letter topic.

A message is on disk before its offset is committed, and recognised there by partition and offset when it is delivered
again: exactly once into the tables. Feature rows and dead letters may be written twice, which changes nothing.

What a consumer must know when it is given partitions is read in parts, with a poll after each, so that it stays a
member of its group however long that takes. Until then no new message is asked for, and no feature row is written.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import pandas as pd

from shadow_platform.adapters.kafka import (
    DEAD_LETTER,
    EventConsumer,
    EventProducer,
    KafkaSettings,
    Partition,
    ensure_topics,
    partition_counts,
)
from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.contracts.errors import FeatureStoreError, StreamError
from shadow_platform.contracts.stream import Message
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.domain.events import SKEW, EventSorter, sort_messages
from shadow_platform.domain.features import kinds_read
from shadow_platform.resources import PlatformResource
from shadow_platform.streaming.brokers import kafka_settings
from shadow_platform.streaming.clock import StreamClock
from shadow_platform.streaming.counters import StreamCounters
from shadow_platform.streaming.history import StreamHistory
from shadow_platform.streaming.online import StreamedFeatures
from shadow_platform.streaming.producer import topics_of

LOGGER = logging.getLogger("shadow_platform.stream")

MAX_MESSAGES = 2_000
POLL_S = 0.1
COMMIT_S = 1.0
LOG_S = 10.0
RETRY_S = 1.0


class Features(Protocol):
    """What keeps streamed views current (``streaming.online``)."""

    def restore(self, until: datetime) -> Iterator[None]:
        """Read the recent events again, part by part."""

    def add(self, kind: EventKind, events: pd.DataFrame) -> None:
        """Take valid events."""

    def advance(self, until: datetime) -> dict[str, int]:
        """Write what became due; rows by view."""


class StreamConsumer:
    """One consumer of the topics of a use case. Runs in one thread.

    Args:
        logs: by event kind, for the kinds with a topic.
        history: told the partitions before features are restored.
        group: consumer group; its members share the partitions.

    Raises:
        StreamError: no broker answers, or a view reads topics with different numbers of partitions.
    """

    def __init__(
        self,
        use_case: UseCase,
        kafka: KafkaSettings,
        logs: Mapping[str, StreamLog],
        features: Features,
        history: StreamHistory,
        group: str,
    ) -> None:
        self._kinds = {kind.topic.name: kind for kind in use_case.events if kind.topic is not None}
        self._sorters = {topic: EventSorter(kind) for topic, kind in self._kinds.items()}
        self._logs, self._features, self._history = logs, features, history
        self._clock = StreamClock()
        self._is_restored = self._is_paused = False
        self._restoring: Iterator[None] | None = None
        self._waiting: list[tuple[EventKind, pd.DataFrame]] = []
        self._retry_at = 0.0
        self.counters = StreamCounters(use_case.name)
        ensure_topics(kafka, [name for topic in self._kinds for name in (topic, f"{topic}{DEAD_LETTER}")])
        require_equal_partitions(use_case, partition_counts(kafka, self._kinds))
        self._producer = EventProducer(kafka, gives_up=False)
        self._consumer = EventConsumer(kafka, group, list(self._kinds), self._assigned, self._commit)

    @property
    def partitions(self) -> frozenset[Partition]:
        """Topic and number of the partitions that this consumer has."""
        return self._consumer.partitions

    def run(self, is_stopped: Callable[[], bool], until_caught_up: bool = False) -> None:
        """Consume until told to stop, or until every partition was read to its end.

        Raises:
            LogError: messages cannot be written; nothing of them is committed.
            StreamError: the broker refuses, and no wait mends that.
        """
        committed_at = logged_at = time.monotonic()
        try:
            while not is_stopped() and not (until_caught_up and self._is_caught_up):
                self._take(self._consumer.poll(MAX_MESSAGES, 0.0 if self._restoring else POLL_S))
                self._restore()
                self._advance()
                if time.monotonic() - committed_at >= COMMIT_S:
                    self._commit()
                    self.counters.is_behind(self._consumer.lag())
                    committed_at = time.monotonic()
                if time.monotonic() - logged_at >= LOG_S:
                    LOGGER.info(self.counters.line(self._consumer.lag()))
                    logged_at = time.monotonic()
            self._commit()
            LOGGER.info("stopped: %s", self.counters.line(self._consumer.lag()))
        finally:
            try:
                self._consumer.close()
            finally:
                for log in self._logs.values():
                    log.close()

    def _take(self, messages: Sequence[Message]) -> None:
        by_topic: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            by_topic[message.topic].append(message)
        for topic, some in by_topic.items():
            kind = self._kinds[topic]
            self._logs[kind.name].append(some)
            found = sort_messages(self._sorters[topic], some, datetime.now(UTC) + SKEW)
            for letter in found.dead:
                self._producer.send_dead_letter(letter)
            self.counters.took(len(found.valid), len(found.dead))
            if len(found.valid):
                self._clock.saw(found.valid["received_at"].max().to_pydatetime())
                self._add(kind, found.valid)
        self._consumer.done(messages)

    def _add(self, kind: EventKind, events: pd.DataFrame) -> None:
        """Hand events to the features; those that come before they are restored wait."""
        if self._is_restored:
            self._features.add(kind, events)
        elif self.partitions:
            self._waiting.append((kind, events))
            self._restoring = self._restoring or self._restored()

    def _advance(self) -> None:
        now = self._now()
        # Without partitions, what is known of any entity may be old: others may have had its events since.
        if now is None or not (self._is_restored and self.partitions) or time.monotonic() < self._retry_at:
            return
        try:
            self.counters.wrote(self._features.advance(now))
            if self._retry_at:
                LOGGER.warning("the online store takes feature rows again")
            self._retry_at = 0.0
        except FeatureStoreError as error:
            # Nothing is lost: the next advance that succeeds writes all that was due since the last that did.
            if not self._retry_at:
                LOGGER.warning("feature rows wait: %s", error)
            self.counters.failed()
            self._retry_at = time.monotonic() + RETRY_S

    def _commit(self) -> None:
        for log in self._logs.values():
            log.sync()
        if not self._producer.flush(COMMIT_S):
            return  # dead letters are on their way; their messages are committed with the next ones
        for topic, reason in self._producer.refused():
            LOGGER.warning("a dead letter was refused by %s (%s); its message is kept and quarantined", topic, reason)
        self._consumer.commit()

    @property
    def _is_caught_up(self) -> bool:
        return self._restoring is None and self._consumer.is_caught_up

    def _now(self) -> datetime | None:
        """The stream's time, never ahead of the world's: a row is written once its stamp is true."""
        now = self._clock.now()
        return None if now is None else min(now, datetime.now(UTC))

    def _assigned(self, partitions: frozenset[Partition]) -> None:
        self._history.partitions = partitions
        self._is_restored = self._is_paused = False
        self._waiting = []  # in the segments as well, from where they are restored
        self._restoring = self._restored() if partitions else None

    def _restore(self) -> None:
        """Restore one part, if there is any left."""
        if self._restoring is None:
            return
        if not self._is_paused:
            self._consumer.pause()
            self._is_paused = True
        if next(self._restoring, self) is self:
            self._consumer.resume()
            self._restoring, self._is_paused = None, False

    def _restored(self) -> Iterator[None]:
        """Restore the features as of the stream's time; do nothing when no event has told it."""
        started = time.monotonic()
        for kind in self._kinds.values():
            for newest in self._history.newest(kind):
                if newest is not None:
                    received_at, consumed_at = newest
                    now = datetime.now(UTC)
                    self._clock.saw(received_at, now - (consumed_at or now))
                yield
        until = self._now()
        if until is None:
            return
        yield from self._features.restore(until)
        for kind, events in self._waiting:
            self._features.add(kind, events)
        self._waiting, self._is_restored = [], True
        LOGGER.info("features restored as of %s in %.1f s", until.isoformat(), time.monotonic() - started)


def require_equal_partitions(use_case: UseCase, counts: Mapping[str, int]) -> None:
    """Raise ``StreamError`` when a view reads topics with different numbers of partitions.

    With equal numbers, the events of one entity come to one consumer, whatever topic they are in.

    Args:
        counts: partitions by topic.
    """
    for view in (view for view in use_case.views if view.streaming is not None):
        topics = [kind.topic.name for kind in kinds_read(view, use_case.events) if kind.topic is not None]
        read = {topic: counts[topic] for topic in topics if topic in counts}
        if len(set(read.values())) > 1:
            told = ", ".join(f"{topic} with {n}" for topic, n in read.items())
            raise StreamError(
                f"view {view.name} reads topics with different numbers of partitions ({told}), so that events of one "
                "entity would come to different consumers; give these topics as many partitions as each other"
            )


def open_consumer(platform: PlatformResource, use_case: UseCase) -> StreamConsumer:
    """The consumer of a use case with the settings in force.

    Raises:
        StreamError: no broker answers.
        UseCaseError: no event kind of the use case has a topic.
    """
    topics_of(use_case)
    kafka, logs = kafka_settings(platform.settings), platform.stream_logs(use_case)
    history = StreamHistory(platform.lake(), use_case, logs)
    features = StreamedFeatures(use_case, platform.feature_store(use_case).write_online, history)
    return StreamConsumer(use_case, kafka, logs, features, history, f"shadow-{use_case.name}")
