"""Messages of a stream as rows of a raw file: the row that lands is the row that the consumer judges.

Belongs here: one line a message, whatever it holds. Does not belong here: judging it (``sorting``). Upstream: the
stream. Downstream: the events stage, which lands the rows; the stream's consumer, which sorts them at once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import orjson
import pandas as pd

from shadow_platform.contracts.stream import DeadLetter, Message
from shadow_platform.domain.events.sorting import EventSorter

SKEW = timedelta(minutes=1)
"""How far the clock of a sender may be ahead."""


@dataclass(frozen=True, slots=True)
class SortedMessages:
    """Some messages. Each is a valid event or a dead letter; repeated keys are the tables' concern.

    Attributes:
        valid: events in the schema's types, in the order of the messages.
    """

    valid: pd.DataFrame
    dead: tuple[DeadLetter, ...]


def raw_row(message: Message) -> bytes:
    """The message as one line of a raw file, without its end: its JSON object, received when the message was stamped.

    A message that was stamped ahead, by more than ``SKEW``, is refused whenever the line is read: its ``received_at``
    is no time then and tells when it was consumed.

    Of what is no JSON object the line holds the text, so that it is quarantined with it. The field ``received_at`` is
    put last, where it holds whatever the sender may have said.

    >>> from datetime import UTC
    >>> raw_row(Message("visits", 0, 7, datetime(2024, 1, 1, tzinfo=UTC), None, b'{"visit_id": "v1"}'))
    b'{"visit_id": "v1","received_at":"2024-01-01T00:00:00+00:00"}'
    """
    text = b"null" if message.value is None else message.value.strip()
    if b"\n" in text or b"\r" in text or not text:
        text = _one_line(text)
    if not (text.startswith(b"{") and text.endswith(b"}")):
        # A file is refused as a whole for what its first bytes tell of an encoding; behind a blank none does.
        return b" " + text
    fields = text[1:-1].strip()
    return b'{%b%b"received_at":%b}' % (fields, b"," if fields else b"", orjson.dumps(_received_at(message)))


def sort_messages(sorter: EventSorter, messages: Sequence[Message], now: datetime) -> SortedMessages:
    """Sort messages of one kind as the events stage will sort the rows that they become.

    Args:
        now: no message can have been stamped later.
    """
    by_day: dict[date, list[Message]] = defaultdict(list)
    for message in messages:
        by_day[message.stamped_at.date()].append(message)
    valid: list[pd.DataFrame] = []
    dead: list[DeadLetter] = []
    for day, some in by_day.items():
        rows = b"".join(b"%b\n" % raw_row(message) for message in some)
        reasons: dict[int, list[str]] = defaultdict(list)
        for part in sorter.sort([rows], f"{some[0].topic} of {day}", day, now):
            valid.append(part.valid)
            for event in part.quarantined:
                reasons[event.row].append(f"{event.column}: {event.reason}" if event.column else event.reason)
        dead.extend(DeadLetter(some[row - 1], "; ".join(found)) for row, found in reasons.items())
    # A blank line is no row; it gives the columns where there is no message.
    valid = valid or [part.valid for part in sorter.sort([b"\n"], "nothing", now.date(), now)]
    return SortedMessages(pd.concat(valid, ignore_index=True), tuple(dead))


def _received_at(message: Message) -> str:
    consumed_at, stamped_at = message.consumed_at, message.stamped_at.isoformat()
    if consumed_at is None or message.stamped_at <= consumed_at + SKEW:
        return stamped_at
    return f"{stamped_at} lay in the future at {consumed_at.isoformat()}; check the sender's clock"


def _one_line(text: bytes) -> bytes:
    """Valid JSON without its line breaks, which mean nothing there; any other text as a JSON string."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.dumps(text.decode("utf-8", errors="backslashreplace"))
    return text.translate(bytes.maketrans(b"\r\n", b"  "))
