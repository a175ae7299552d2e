"""Kafka, or anything that speaks its protocol: consuming with offsets in our hands, producing with every report read.

Belongs here: everything that calls librdkafka, and errors of one line that say what to do. Does not belong here: what a
message means (``domain.events``), where it is kept (``stream_log``). Upstream: a broker. Downstream: the stream's
consumer, ``shadow produce``. The package is an extra and is imported in functions only.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shadow_platform.contracts.errors import StreamError
from shadow_platform.contracts.stream import DeadLetter, Message

if TYPE_CHECKING:
    import confluent_kafka

LOGGER = logging.getLogger("shadow_platform.kafka")

TIMEOUT_S = 10.0
RETRY_S = 5.0
DEAD_LETTER = ".dead-letter"
Partition = tuple[str, int]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_214_399_999  # the last day but one that Python has: a day needs a next one, where it ends
_COMMON = {
    "client.id": "shadow-platform",
    "socket.timeout.ms": "10000",  # a broker that hangs is noticed, not only one that is gone
    "log_level": "2",  # what goes wrong is told by callbacks, in our words
}
_FIXED = {
    "enable.auto.commit": "false",  # an offset is committed once its message is kept, not once it was delivered
    "auto.offset.reset": "earliest",
    "enable.partition.eof": "true",  # told by it, a consumer knows that it has caught up
    "partition.assignment.strategy": "range,roundrobin",  # the others tell what changed, not what a member has
    "group.protocol": "classic",  # the other likewise
}
_CONSUMER = {
    "fetch.wait.max.ms": "50",  # some brokers hold an answer so long though they have something to say
    "session.timeout.ms": "10000",  # the partitions of a killed consumer wait no longer for another
}
_PRODUCER = {
    "linger.ms": "5",
    "compression.type": "lz4",
    "message.max.bytes": "100000000",  # what is too large is for the broker to say
    "partitioner": "murmur2_random",  # as Java's producers, so that a key has one partition whoever sends
    "max.in.flight.requests.per.connection": "1",  # a retry may not overtake
}
_REFUSALS = {"_AUTHENTICATION", "TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"}


class KafkaSettings:
    """How brokers are reached.

    Args:
        servers: ``host:port`` list.
        config: properties file of librdkafka; what it says wins over defaults.

    Raises:
        StreamError: the file cannot be read, or says otherwise than what the platform's promises rest on.
    """

    def __init__(self, servers: str, config: Path | None = None) -> None:
        self.servers = servers
        self._config = config
        self._extra = {} if config is None else _properties(config)
        for name, ours in {**_FIXED, "bootstrap.servers": servers, "metadata.broker.list": servers}.items():
            if self._extra.pop(name, ours) != ours:
                raise StreamError(f"KAFKA_CONFIG={config}: {name} has to be {ours} for this platform; remove the line")

    def of(self, defaults: Mapping[str, str], **fixed: Any) -> dict[str, Any]:
        """Settings of a client; the file wins over ``defaults``, ``fixed`` over the file."""
        return {**_COMMON, **defaults, **self._extra, "bootstrap.servers": self.servers, **fixed}

    def explained(self, error: "confluent_kafka.KafkaError") -> StreamError:
        """The error in one line that says what to do."""
        if error.name() == "_INVALID_ARG":
            return StreamError(f"Kafka client: {error.str()}; correct {self._config or 'KAFKA_BOOTSTRAP_SERVERS'}")
        if error.name() in _REFUSALS:
            return StreamError(
                f"the Kafka broker at {self.servers} refuses ({error.str()}); correct the credentials in KAFKA_CONFIG, "
                "or give their user the right to read the topics and to be in the group"
            )
        return StreamError(
            f"no Kafka broker at {self.servers} answers as it should ({error.str()}); start it, or correct "
            "KAFKA_BOOTSTRAP_SERVERS and KAFKA_CONFIG"
        )


def ensure_topics(settings: KafkaSettings, names: Iterable[str]) -> tuple[str, ...]:
    """Create the topics that are missing, as the broker makes them by default; their names. Raises ``StreamError``."""
    kafka = _package()
    try:
        admin = kafka.admin.AdminClient(settings.of({}))
        missing = sorted(set(names) - admin.list_topics(timeout=TIMEOUT_S).topics.keys())
    except kafka.KafkaException as error:
        raise settings.explained(error.args[0]) from error
    if not missing:
        return ()
    made = admin.create_topics([kafka.admin.NewTopic(name, -1, -1) for name in missing], request_timeout=TIMEOUT_S)
    for name, future in made.items():
        try:
            future.result()
        except kafka.KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                reason = error.args[0].str()
                raise StreamError(f"topic {name!r} is missing and cannot be created ({reason}); create it") from error
    return tuple(missing)


def partition_counts(settings: KafkaSettings, names: Iterable[str]) -> dict[str, int]:
    """How many partitions each topic has; raises ``StreamError``."""
    kafka = _package()
    try:
        topics = kafka.admin.AdminClient(settings.of({})).list_topics(timeout=TIMEOUT_S).topics
    except kafka.KafkaException as error:
        raise settings.explained(error.args[0]) from error
    return {name: len(topics[name].partitions) for name in names if name in topics}


class EventConsumer:
    """One member of a consumer group. Offsets are committed when told, up to the messages that are done.

    While no broker answers, polls are empty; that, and its end, are logged once.

    Args:
        on_assign: told the partitions this member now has, whenever that changed; called within ``poll``.
        on_revoke: told before partitions go to another member, while offsets can still be committed.
        with_headers: whether messages carry their headers, at some cost.

    Raises:
        StreamError: the settings cannot be used.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topics: Sequence[str],
        on_assign: Callable[[frozenset[Partition]], None],
        on_revoke: Callable[[], None],
        with_headers: bool = False,
    ) -> None:
        kafka = _package()
        self._kafka, self._settings = kafka, settings
        self._with_headers = with_headers
        self._on_assign, self._on_revoke = on_assign, on_revoke
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}
        self._ended: set[Partition] = set()
        self.partitions: frozenset[Partition] = frozenset()
        self._is_member = False
        self._down_since: float | None = None
        self._asked_at = 0.0
        self._fatal: StreamError | None = None
        try:
            callbacks = {"error_cb": self._failed, "on_commit": self._on_commit}
            self._client = kafka.Consumer(settings.of({**_CONSUMER, "group.id": group}, **_FIXED, **callbacks))
        except kafka.KafkaException as error:
            raise settings.explained(error.args[0]) from error
        self._client.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    @property
    def is_caught_up(self) -> bool:
        """Whether every partition was read to its end since it was assigned; a member may have none."""
        return self._is_member and self._ended >= self.partitions

    def poll(self, max_messages: int, timeout_s: float) -> list[Message]:
        """Messages that have come; none when there are none in time. Raises ``StreamError`` on what no wait mends."""
        messages = []
        for found in self._client.consume(max_messages, timeout_s):
            error = found.error()
            if error is None:
                messages.append(_message(found, self._with_headers))
            elif error.name() == "_PARTITION_EOF":
                self._ended.add((str(found.topic()), int(found.partition() or 0)))
            elif _is_final(error):
                raise self._settings.explained(error)
            else:
                LOGGER.warning("Kafka: %s", error.str())
        if self._fatal is not None:
            raise self._fatal
        if self._down_since is not None and (messages or self._answers()):
            LOGGER.warning("a Kafka broker answers again after %.0f s", time.monotonic() - self._down_since)
            self._down_since = None
        return messages

    def pause(self) -> None:
        """Be given no messages until ``resume``, and stay a member; some that are on their way may still come."""
        self._client.pause(self._client.assignment())

    def resume(self) -> None:
        """Be given messages again."""
        self._client.resume(self._client.assignment())

    def done(self, messages: Iterable[Message]) -> None:
        """Note messages that need not be delivered again; until then a commit leaves them out."""
        for message in messages:
            self.reached((message.topic, message.partition), message.offset + 1)

    def reached(self, place: Partition, offset: int) -> None:
        """Note that the messages of a partition before an offset need not be delivered again."""
        if place in self.partitions:
            self._next[place] = offset

    def commit(self) -> None:
        """Send the offsets behind what is done; what does not arrive is sent again by the next commit."""
        due = {place: offset for place, offset in self._next.items() if self._committed.get(place) != offset}
        if due:
            self._committed.update(due)
            offsets = [self._kafka.TopicPartition(topic, n, offset) for (topic, n), offset in due.items()]
            self._client.commit(offsets=offsets, asynchronous=True)

    def lag(self) -> int:
        """Messages behind those done, in the partitions read so far, as far as the broker has told."""
        places = [(self._kafka.TopicPartition(*place), offset) for place, offset in self._next.items()]
        ends = [(self._client.get_watermark_offsets(place, cached=True)[1], offset) for place, offset in places]
        return sum(max(0, end - offset) for end, offset in ends)

    def close(self) -> None:
        """Leave the group once offsets on their way have arrived."""
        self._client.close()

    def _assigned(self, _client: Any, partitions: "list[confluent_kafka.TopicPartition]") -> None:
        self.partitions, self._is_member = frozenset((place.topic, place.partition) for place in partitions), True
        self._next, self._committed, self._ended = {}, {}, set()
        LOGGER.info("assigned: %s", ", ".join(f"{topic}/{n}" for topic, n in sorted(self.partitions)) or "nothing")
        self._tell_dropped(partitions)
        self._on_assign(self.partitions)

    def _revoked(self, _client: Any, _partitions: "list[confluent_kafka.TopicPartition]") -> None:
        self._on_revoke()
        self._lost(_client, _partitions)

    def _lost(self, _client: Any, _partitions: "list[confluent_kafka.TopicPartition]") -> None:
        self.partitions, self._is_member, self._next = frozenset(), False, {}

    def _tell_dropped(self, partitions: "list[confluent_kafka.TopicPartition]") -> None:
        """Log an error for messages that the broker dropped unread: librdkafka goes to the next one without a word."""
        try:
            for place in self._client.committed(partitions, timeout=TIMEOUT_S) if partitions else ():
                first, _ = self._client.get_watermark_offsets(place, timeout=TIMEOUT_S)
                if 0 <= place.offset < first:  # below 0 nothing was committed, and the first is where to begin
                    LOGGER.error(
                        "%d messages of %s/%d were dropped by the broker before they were read (offsets %d to %d); "
                        "send their events again, and let the topic keep messages longer than consumers may be down",
                        *(first - place.offset, place.topic, place.partition, place.offset, first - 1),
                    )
        except self._kafka.KafkaException as error:
            LOGGER.warning("whether messages were dropped unread is not known (%s)", error.args[0].str())

    def _on_commit(self, error: Any, partitions: "list[confluent_kafka.TopicPartition]") -> None:
        if error is None:
            return
        if _is_final(error):
            self._fatal = self._settings.explained(error)
        LOGGER.warning("offsets were not committed (%s); they are sent again", error.str())
        for place in partitions:
            self._committed.pop((place.topic, place.partition), None)

    def _failed(self, error: "confluent_kafka.KafkaError") -> None:
        if _is_final(error):
            self._fatal = self._settings.explained(error)
        elif error.name() == "_ALL_BROKERS_DOWN" and self._down_since is None:
            LOGGER.warning("no Kafka broker at %s answers (%s); waiting", self._settings.servers, error.str())
            self._down_since = self._asked_at = time.monotonic()

    def _answers(self) -> bool:
        if time.monotonic() - self._asked_at < RETRY_S:
            return False
        self._asked_at = time.monotonic()
        try:
            self._client.list_topics(timeout=1.0)
        except self._kafka.KafkaException:
            return False
        return True


class EventProducer:
    """Sends messages and reads every report of delivery.

    Args:
        gives_up: whether a message counts as refused when no broker took it in time; otherwise it waits until one does.

    Raises:
        StreamError: the settings cannot be used.
    """

    def __init__(self, settings: KafkaSettings, gives_up: bool = True) -> None:
        self._kafka, self._settings = _package(), settings
        self.n_sent = self.n_delivered = 0
        self._refused: list[tuple[str, str]] = []
        endless = {} if gives_up else {"message.timeout.ms": "0"}
        try:
            self._client = self._kafka.Producer(settings.of(_PRODUCER, **endless))
        except self._kafka.KafkaException as error:
            raise settings.explained(error.args[0]) from error

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        stamped_at: datetime | None = None,
        headers: Mapping[str, str] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        """Queue one message, waiting while the queue is full; ``stamped_at`` is rounded up to the millisecond."""
        report = partial(self._reported, topic, on_refused)
        at_ms = 0 if stamped_at is None else _ms(stamped_at)
        texts = [(name, text.encode()) for name, text in (headers or {}).items()]
        self.n_sent += 1
        while True:
            try:
                self._client.produce(topic, value, key, on_delivery=report, timestamp=at_ms, headers=texts)
            except BufferError:
                self._client.poll(0.1)
                continue
            except self._kafka.KafkaException as error:
                report(error.args[0], None)  # larger than this client may send
            break
        self._client.poll(0)

    def send_dead_letter(self, letter: DeadLetter) -> None:
        """Queue a dead letter: the message as it was, with headers that say why and where it came from."""
        message = letter.message
        headers = {
            "reason": letter.reason,
            "topic": message.topic,
            "partition": str(message.partition),
            "offset": str(message.offset),
        }
        self.send(f"{message.topic}{DEAD_LETTER}", message.key, message.value, message.stamped_at, headers)

    def flush(self, timeout_s: float) -> bool:
        """Whether everything sent so far was reported, delivered or refused, within a time."""
        return int(self._client.flush(timeout_s)) == 0

    def refused(self) -> list[tuple[str, str]]:
        """Topic and reason of the messages that were refused since this was last asked."""
        found, self._refused = self._refused, []
        return found

    def _reported(self, topic: str, on_refused: Callable[[str], None] | None, error: Any, _message: Any) -> None:
        if error is None:
            self.n_delivered += 1
        else:
            self._refused.append((topic, error.str()))
            (on_refused or str)(error.str())


def _package() -> Any:
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ModuleNotFoundError as error:
        raise StreamError("Kafka needs one more package: pip install 'shadow-platform[kafka]'") from error
    return confluent_kafka


def _properties(path: Path) -> dict[str, str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StreamError(f"KAFKA_CONFIG={path} cannot be read ({error}); name a properties file") from error
    found = {}
    for line in lines:
        if not line or line[0] in "#!":
            continue
        name, separator, value = line.partition("=")
        if not separator:
            raise StreamError(f"KAFKA_CONFIG={path}: {line!r} is no setting; write name=value")
        found[name.strip()] = value.strip()
    return found


def stamp(at_ms: int) -> datetime:
    """A message's stamp as a date, whatever its sender has put there: one before 1970 or after 9999 is the nearest."""
    return _EPOCH + timedelta(milliseconds=min(max(at_ms, 0), _LAST_MS))


def _is_final(error: "confluent_kafka.KafkaError") -> bool:
    """Whether no wait mends it."""
    return error.fatal() or error.name() in _REFUSALS


def _message(found: "confluent_kafka.Message", with_headers: bool) -> Message:
    _, at_ms = found.timestamp()
    headers: Any = tuple(found.headers() or ()) if with_headers else ()
    topic, partition, offset = str(found.topic()), int(found.partition() or 0), int(found.offset() or 0)
    return Message(topic, partition, offset, stamp(at_ms), found.key(), found.value(), datetime.now(UTC), headers)


def _ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded up: an event may not seem received before it happened."""
    return -((_EPOCH - moment) // timedelta(milliseconds=1))
