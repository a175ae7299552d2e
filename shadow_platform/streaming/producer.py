"""A use case's own events as messages, in the order in which they were received.

Belongs here: what is sent, when. Does not belong here: talking to a broker (``adapters.kafka``). Upstream: the use
case's event source. Downstream: ``shadow produce``, tests and benchmarks of the stream.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from operator import attrgetter
from typing import Any

from shadow_platform.adapters.kafka import EventProducer
from shadow_platform.contracts.errors import StreamError, UseCaseError
from shadow_platform.contracts.use_case import EventSource, Topic, UseCase

FLUSH_S = 1.0
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event to be sent; ``stamped_at`` is when it was received."""

    topic: str
    key: bytes | None
    value: bytes
    stamped_at: datetime


Pace = Callable[[Outgoing], float]
"""Seconds after the first event at which an event is due."""


def at_rate(events_per_s: float) -> Pace:
    """So many events a second."""
    numbers = count()
    return lambda _: next(numbers) / events_per_s


def at_speed(factor: float) -> Pace:
    """So many times faster than the events were received."""
    first: list[datetime] = []

    def due_s(event: Outgoing) -> float:
        if not first:
            first.append(event.stamped_at)
        return (event.stamped_at - first[0]).total_seconds() / factor

    return due_s


def topics_of(use_case: UseCase, only: str | None = None) -> dict[str, Topic]:
    """Topics by event kind; raises ``UseCaseError`` when there is none, or none of that name."""
    topics = {kind.name: kind.topic for kind in use_case.events if kind.topic is not None}
    found = {kind: topic for kind, topic in topics.items() if only in (None, topic.name)}
    if not found:
        known = ", ".join(topic.name for topic in topics.values())
        advice = f"it has {known}" if known else "give an EventKind one, with topic="
        raise UseCaseError(f"use case {use_case.name} has no topic{f' {only!r}' if only else ''}; {advice}")
    return found


def outgoing(use_case: UseCase, source: EventSource, day: date, only: str | None = None) -> list[Outgoing]:
    """Events of one day in the order of their receipt, of every kind with a topic, or of one topic only."""
    received = source.received_on(day)
    events = [
        _message(topic, row, day) for kind, topic in topics_of(use_case, only).items() for row in received.get(kind, ())
    ]
    return sorted(events, key=attrgetter("stamped_at"))


def send(producer: EventProducer, events: Iterable[Outgoing], pace: Pace | None = None) -> Iterator[int]:
    """Queue events, each when it is due; yields after each how many were sent so far.

    Args:
        pace: when an event is due, counted from here; ``None``: at once.
    """
    started = time.monotonic()
    for event in events:
        due_s = 0.0 if pace is None else pace(event)
        while (ahead_s := due_s - (time.monotonic() - started)) > 0:
            producer.flush(0)
            time.sleep(min(ahead_s, FLUSH_S))
        producer.send(event.topic, event.key, event.value, event.stamped_at)
        yield producer.n_sent


def finish(producer: EventProducer) -> int:
    """Wait until the broker has everything; how many messages it took. Raises ``StreamError`` when some did not arrive.

    A broker that is away is waited for as long as librdkafka does, five minutes by default.
    """
    while not producer.flush(FLUSH_S):
        pass
    if refused := producer.refused():
        topic, reason = refused[0]
        raise StreamError(
            f"{len(refused):,} of {producer.n_sent:,} messages did not arrive, the first for {topic} ({reason}); "
            "see to the broker and send them again: what has arrived already is recognised by its key"
        )
    return producer.n_delivered


def _message(topic: Topic, row: Mapping[str, Any], day: date) -> Outgoing:
    payload = {name: value for name, value in row.items() if name != "received_at"}
    key = row.get(topic.key)
    return Outgoing(
        topic.name,
        None if key is None else str(key).encode(),
        _ENCODER.encode(payload).encode(),
        _received_at(row, day),
    )


def _received_at(row: Mapping[str, Any], day: date) -> datetime:
    """When a row was received; at the start of its day when it does not say so soundly."""
    try:
        found = datetime.fromisoformat(str(row.get("received_at")))
    except ValueError:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
