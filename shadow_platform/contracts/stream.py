"""What a stream brings: messages of a topic, and where each stands in it.

Upstream: the Kafka adapter. Downstream: the stream consumer (``streaming``), the segments it writes, the events stage.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One message as consumed; ``(topic, partition, offset)`` identifies it for ever.

    Attributes:
        stamped_at: the message's own timestamp (UTC, milliseconds): when the event was received.
        value: ``None`` is a tombstone.
        consumed_at: when a consumer was first given it, which says whether it was stamped ahead; ``None``: not told.
            No part of what the message is.
        headers: names and values, where the consumer asked for them.
    """

    topic: str
    partition: int
    offset: int
    stamped_at: datetime
    key: bytes | None
    value: bytes | None
    consumed_at: datetime | None = field(default=None, compare=False)
    headers: tuple[tuple[str, bytes], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is no event: what it was, and why; sent to ``<topic>.dead-letter``."""

    message: Message
    reason: str
