"""The Kafka client's promises, against a real broker: offsets in our hands, every report read, errors that help."""

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from shadow_platform.adapters.kafka import LOGGER, EventConsumer, EventProducer, KafkaSettings, ensure_topics
from shadow_platform.contracts.errors import StreamError
from shadow_platform.contracts.stream import DeadLetter, Message
from shadow_platform.domain.events import EventSorter, sort_messages
from shadow_platform_tests import processes
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import QUICK, Broker
from shadow_platform_tests.scripted_broker import (
    FETCH,
    GROUP_REFUSED,
    JOIN_GROUP,
    OFFSET_COMMIT,
    TOPIC_REFUSED,
    ScriptedBroker,
)
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

pytestmark = pytest.mark.processes
AT = datetime(2024, 1, 1, 12, tzinfo=UTC)
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own, because a test lets it hang."""
    started = Broker(tmp_path_factory.mktemp("kafka")).start()
    yield started
    started.stop()


@pytest.fixture
def kafka(broker: Broker) -> KafkaSettings:
    """Settings of quick groups."""
    return KafkaSettings(broker.servers, broker.properties)


@pytest.fixture
def scripted() -> Iterator[ScriptedBroker]:
    """A broker that refuses when told."""
    started = ScriptedBroker()
    yield started
    started.stop()


class Member:
    """A consumer and the partitions it was told of."""

    def __init__(self, kafka: KafkaSettings, topic: str, group: str) -> None:
        self.assigned: list[int] = []
        self.consumer = EventConsumer(
            kafka, group, [topic], lambda places: self.assigned.append(len(places)), self.done
        )
        self.seen: list[Message] = []
        self.revoked = 0

    def done(self) -> None:
        self.revoked += 1

    def poll_until(self, holds: Callable[[], bool]) -> None:
        def polled() -> bool:
            self.seen += self.consumer.poll(100, 0.1)
            return holds()

        wait_until(polled, "the consumer is there")


def send(
    kafka: KafkaSettings, topic: str, n: int, key: Callable[[int], bytes | None] = lambda i: b"%d" % (i % 5)
) -> None:
    producer = EventProducer(kafka)
    for i in range(n):
        producer.send(topic, key(i), b"%d" % i, AT + timedelta(milliseconds=i))
    assert producer.flush(PATIENCE_S)
    assert (producer.n_sent, producer.n_delivered, producer.refused()) == (n, n, [])


def warned(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER.name and record.levelno >= logging.WARNING]


def test_messages_of_a_key_come_in_order_with_their_stamps(broker: Broker, kafka: KafkaSettings) -> None:
    topic = broker.new_topic()
    send(kafka, topic, 200)
    member = Member(kafka, topic, uuid.uuid4().hex)

    member.poll_until(lambda: len(member.seen) == 200)

    assert member.assigned == [4]
    by_key: dict[bytes, list[int]] = {}
    for message in member.seen:
        assert message.stamped_at == AT + timedelta(milliseconds=int(message.value or b""))
        by_key.setdefault(message.key or b"", []).append(int(message.value or b""))
    assert sorted(by_key) == [b"0", b"1", b"2", b"3", b"4"]
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert len({(message.partition, message.offset) for message in member.seen}) == 200
    member.consumer.close()


def test_what_is_not_done_is_delivered_again_and_what_is_done_is_not(
    broker: Broker, kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = broker.new_topic(n_partitions=1), uuid.uuid4().hex
    send(kafka, topic, 30)
    first = Member(kafka, topic, group)
    first.poll_until(lambda: len(first.seen) == 30)
    first.consumer.done(first.seen[:20])
    assert first.consumer.lag() == 10
    first.consumer.commit()
    first.consumer.close()
    second = Member(kafka, topic, group)

    second.poll_until(lambda: second.consumer.is_caught_up)

    assert [message.offset for message in second.seen] == list(range(20, 30))
    assert first.revoked == 1
    assert not warned(caplog)
    second.consumer.close()


def test_a_dead_letter_says_why_and_where_it_came_from(broker: Broker, kafka: KafkaSettings) -> None:
    topic = broker.new_topic()
    assert ensure_topics(kafka, [topic, f"{topic}.dead-letter"]) == (f"{topic}.dead-letter",)
    assert ensure_topics(kafka, [topic, f"{topic}.dead-letter"]) == ()
    producer = EventProducer(kafka)
    producer.send_dead_letter(DeadLetter(Message(topic, 3, 17, AT, b"k", b"\xff\n"), "not UTF-8: ä"))
    assert producer.flush(PATIENCE_S)

    (letter,) = broker.read(f"{topic}.dead-letter", 1)

    assert (letter.key(), letter.value(), letter.timestamp()[1]) == (b"k", b"\xff\n", AT.timestamp() * 1000)
    told = {"reason": "not UTF-8: ä", "topic": topic, "partition": "3", "offset": "17"}
    assert {name: text.decode() for name, text in letter.headers()} == told


def test_a_stamp_between_two_milliseconds_is_rounded_up(broker: Broker, kafka: KafkaSettings) -> None:
    topic, producer = broker.new_topic(n_partitions=1), EventProducer(kafka)
    for microsecond in (0, 1, 999, 1000):
        producer.send(topic, None, b"", AT.replace(microsecond=microsecond))
    assert producer.flush(PATIENCE_S)

    stamps = [message.timestamp()[1] - AT.timestamp() * 1000 for message in broker.read(topic, 4)]

    assert stamps == [0, 1, 1, 1]


def test_a_broker_that_hangs_is_waited_for_and_both_are_said_once(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, LOGGER.name)
    quick = tmp_path / "quick.properties"
    quick.write_text("".join(f"{name} = {value}\n" for name, value in {**QUICK, "socket.timeout.ms": "1000"}.items()))
    kafka, topic = KafkaSettings(broker.servers, quick), broker.new_topic()
    member = Member(kafka, topic, uuid.uuid4().hex)
    member.poll_until(lambda: member.consumer.is_caught_up)

    def said(what: str) -> int:
        return sum(what in record.getMessage() for record in caplog.records)

    broker.pause()
    try:
        member.poll_until(lambda: said("waiting") == 1)
    finally:
        broker.resume()
    send(kafka, topic, 10)
    member.poll_until(lambda: len(member.seen) >= 10)

    assert {message.offset for message in member.seen} <= set(range(10))
    # On a busy machine the broker may hang once more after it went on.
    assert said("waiting") == said("answers again") >= 1
    member.consumer.close()


@pytest.mark.parametrize("at_ms", [1_704_110_400_000_000, 253_402_300_799_999, 2**62], ids=str)
def test_a_stamp_in_another_unit_is_a_dead_letter_and_stops_nothing(
    broker: Broker, kafka: KafkaSettings, at_ms: int
) -> None:
    topic = broker.new_topic(n_partitions=1)
    value = {**TinySource().received_on(FIRST_DAY)["visits"][0]}
    broker.send(topic, [{"value": json.dumps(value).encode(), "timestamp": at_ms}, {"value": b"{}"}])
    member = Member(kafka, topic, uuid.uuid4().hex)

    member.poll_until(lambda: len(member.seen) == 2)

    found = sort_messages(EventSorter(USE_CASE.events[0]), member.seen, datetime.now(UTC))
    assert [letter.message.offset for letter in sorted(found.dead, key=lambda dead: dead.message.offset)] == [0, 1]
    assert len(found.valid) == 0
    member.consumer.close()


@pytest.mark.parametrize(
    ("request_kind", "error"),
    [(FETCH, TOPIC_REFUSED), (JOIN_GROUP, GROUP_REFUSED), (OFFSET_COMMIT, GROUP_REFUSED)],
    ids=["fetch", "join", "commit"],
)
def test_a_right_that_is_missing_ends_the_consumer_with_one_line(
    scripted: ScriptedBroker, request_kind: int, error: int
) -> None:
    scripted.create("visits")
    kafka = KafkaSettings(scripted.servers)
    send(kafka, "visits", 3)
    scripted.refuse(request_kind, error)
    member = Member(kafka, "visits", "group")

    def is_told() -> bool:
        member.consumer.done(member.seen)
        member.consumer.commit()
        return False

    with pytest.raises(
        StreamError, match=r"the Kafka broker at .* refuses \(.*authorization failed\); .* the right"
    ) as caught:
        member.poll_until(is_told)

    assert "\n" not in str(caught.value)
    member.consumer.close()


def test_messages_that_the_broker_dropped_unread_are_counted_in_an_error(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    scripted.create("visits")
    kafka = KafkaSettings(scripted.servers)
    producer = EventProducer(kafka)

    def produce(n: int) -> None:
        for _ in range(n):
            producer.send("visits", None, os.urandom(500_000))
        assert producer.flush(PATIENCE_S)

    def consumed(committed: int | None) -> list[int]:
        """By a group of its own: librdkafka's broker lets a second member wait for ever if the machine pauses."""
        group = f"committed-{committed}"
        if committed is not None:
            asker = Consumer({"bootstrap.servers": scripted.servers, "group.id": group})
            asker.commit(offsets=[TopicPartition("visits", 0, committed)], asynchronous=False)
            asker.close()
        member = Member(kafka, "visits", group)
        member.poll_until(lambda: member.consumer.is_caught_up)
        member.consumer.close()
        return [message.offset for message in member.seen]

    produce(3)
    assert consumed(None) == [0, 1, 2]
    assert consumed(1) == [1, 2]
    assert "dropped" not in caplog.text
    produce(20)
    first = consumed(2)[0]

    assert first > 2
    (told,) = warned(caplog)
    assert told.levelname == "ERROR"
    assert f"{first - 2} messages of visits/0 were dropped" in told.getMessage()
    assert f"(offsets 2 to {first - 1})" in told.getMessage()


def test_a_producer_that_does_not_give_up_delivers_when_the_broker_is_back(broker: Broker, tmp_path: Path) -> None:
    config, topic = tmp_path / "impatient.properties", broker.new_topic(n_partitions=1)
    config.write_text("message.timeout.ms=500\n")
    kafka = KafkaSettings(broker.servers, config)
    broker.pause()
    try:
        patient, other = EventProducer(kafka, gives_up=False), EventProducer(kafka)
        patient.send(topic, None, b"kept")
        other.send(topic, None, b"given up")
        wait_until(lambda: other.flush(0.1), "the other gave up")
    finally:
        broker.resume()

    wait_until(lambda: patient.flush(0.1), "the message arrived")

    assert (patient.n_delivered, patient.refused()) == (1, [])
    assert [message.value() for message in broker.read(topic, 1)] == [b"kept"]
    assert [topic for topic, _ in other.refused()] == [topic]


def test_what_a_broker_refuses_is_reported_with_its_topic(broker: Broker, tmp_path: Path) -> None:
    config = tmp_path / "impatient.properties"
    config.write_text("message.timeout.ms=500\n")
    producer = EventProducer(KafkaSettings(f"127.0.0.1:{processes.free_port()}", config))
    producer.send("visits", None, b"1")

    wait_until(lambda: producer.flush(0.1), "the message was given up")

    assert producer.n_delivered == 0
    assert [topic for topic, _ in producer.refused()] == ["visits"]
    assert producer.refused() == []


def test_a_broker_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadow_platform.adapters.kafka.TIMEOUT_S", 0.5)
    with pytest.raises(StreamError, match=r"no Kafka broker at 127\.0\.0\.1:1 answers as it should .*; start it, or"):
        ensure_topics(KafkaSettings("127.0.0.1:1"), ["visits"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sasl.mechanizm=PLAIN\n", 'No such configuration property: "sasl.mechanizm"; correct .*kafka.properties'),
        (
            "security.protocol=SSL\nssl.ca.location=/nowhere.pem\n",
            "ssl.ca.location failed.*; correct .*kafka.properties",
        ),
        ("just a word\n", "kafka.properties: 'just a word' is no setting; write name=value"),
        ("enable.auto.commit=true\n", "kafka.properties: enable.auto.commit has to be false .*; remove the line"),
        ("enable.partition.eof=false\n", "enable.partition.eof has to be true"),
        ("partition.assignment.strategy=cooperative-sticky\n", "strategy has to be range,roundrobin"),
        ("group.protocol=consumer\n", "group.protocol has to be classic"),
        ("auto.offset.reset=latest\n", "auto.offset.reset has to be earliest"),
        ("bootstrap.servers=other:9092\n", "bootstrap.servers has to be 127.0.0.1:1 "),
        ("metadata.broker.list=other:9092\n", "metadata.broker.list has to be 127.0.0.1:1 "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text(f"# comment\n\n{text}")

    with pytest.raises(StreamError, match=said) as caught:
        EventProducer(KafkaSettings("127.0.0.1:1", config))

    assert "\n" not in str(caught.value)


def test_a_file_may_repeat_what_the_platform_rests_on(broker: Broker, tmp_path: Path) -> None:
    config, topic = tmp_path / "kafka.properties", broker.new_topic(n_partitions=1)
    same = {**QUICK, "enable.auto.commit": "false", "bootstrap.servers": broker.servers, "group.protocol": "classic"}
    config.write_text("".join(f"{name}={value}\n" for name, value in same.items()))
    kafka = KafkaSettings(broker.servers, config)
    send(kafka, topic, 3)
    member = Member(kafka, topic, uuid.uuid4().hex)

    member.poll_until(lambda: member.consumer.is_caught_up)

    assert len(member.seen) == 3
    member.consumer.close()


def test_a_file_of_settings_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"KAFKA_CONFIG=.*none\.properties cannot be read .*; name a properties file"):
        KafkaSettings("127.0.0.1:1", tmp_path / "none.properties")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)

    with pytest.raises(StreamError, match=r"Kafka needs one more package: pip install 'shadow-platform\[kafka\]'"):
        EventProducer(KafkaSettings("127.0.0.1:1"))
