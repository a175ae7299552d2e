"""Messages of a topic on disk, in segments by day: what a consumer has taken is here before its offsets are committed.

Belongs here: appending, and reading a day with every message once. Does not belong here: talking to a broker
(``kafka``), what a message means (``domain.events``). Upstream: the consumer. Downstream: the events stage, and a
consumer that starts again.

A segment is ``<folder>/dt=YYYY-MM-DD/p<partition>-<uuid7>.jsonl`` and belongs to the process that opened it. The day is
that of the message's own timestamp, so that a message which is delivered again comes into the same folder and is
recognised there. A line is a JSON object with all that the broker told; bytes that are no UTF-8 stand in it as
``{"base64": ...}``. A torn last line is none: its message was not committed and comes again.
"""

import base64
import os
from collections import OrderedDict, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from heapq import merge
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
import uuid_utils

from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.stream import Message

MAX_OPEN = 64
"""Segments of one log that are held open; a replay writes into many days at once."""
BLOCK_BYTES = 1 << 16
"""Of a segment in memory while a day is read, whose segments are never open at once: there may be any number."""
_PLACE = attrgetter("topic", "partition", "offset")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Segment:
    descriptor: int
    size: int
    is_dirty: bool = False


class StreamLog:
    """Messages of one event kind. One consumer appends through one instance; any number of processes read.

    Args:
        folder: of the kind (``Layout.stream``); created when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[tuple[date, int], _Segment] = OrderedDict()
        self._paths: dict[tuple[date, int], Path] = {}

    def append(self, messages: Iterable[Message]) -> None:
        """Append with one write a day and partition; raises ``LogError``, and then nothing may be committed."""
        lines: dict[tuple[date, int], list[bytes]] = defaultdict(list)
        for message in messages:
            lines[message.stamped_at.date(), message.partition].append(_encode(message))
        for place, some in lines.items():
            self._append(place, b"".join(some))

    def sync(self) -> None:
        """Flush what was appended to the device; raises ``LogError``."""
        for segment in self._open.values():
            self._flush(segment)

    def close(self) -> None:
        """Flush and release."""
        while self._open:
            self._release(next(iter(self._open)))

    def days(self) -> list[date]:
        """Days with messages, in order."""
        return sorted(date.fromisoformat(path.name.removeprefix("dt=")) for path in self._folder.glob("dt=*"))

    def size(self, day: date) -> int:
        """Bytes of a day's segments; it grows with every message that comes for the day."""
        return sum(path.stat().st_size for path in self._segments(day))

    def partitions(self, day: date) -> set[int]:
        """Partitions with messages of a day."""
        return {_partition(path) for path in self._segments(day)}

    def read(self, day: date, only: Container[int] | None = None) -> Iterator[Message]:
        """Every message of a day once, by partition, topic and offset; of some partitions ``only``, if given.

        Of a topic that was deleted and made anew, offsets begin again: there, what differs is another message. What is
        appended to a segment after its partition was begun is left out. Raises ``LogError``.
        """
        for partition, segments in groupby(self._segments(day), key=_partition):
            if only is not None and partition not in only:
                continue
            runs = [run for path in segments for run in _runs(path)]
            for _, same in groupby(merge(*runs, key=_PLACE), key=_PLACE):
                yield from dict.fromkeys(sorted(same, key=_first_consumed))

    def _segments(self, day: date) -> list[Path]:
        return sorted((self._folder / f"dt={day}").glob("p*-*.jsonl"), key=lambda path: (_partition(path), path.name))

    def _append(self, place: tuple[date, int], content: bytes) -> None:
        try:
            segment = self._opened(place)
            written = os.write(segment.descriptor, content)
        except OSError as error:
            raise self._failure(error.strerror) from error
        if written != len(content):
            # Behind a torn line no other may stand: this segment is cut, and the process that could not write ends.
            os.ftruncate(segment.descriptor, segment.size)
            raise self._failure(f"only {written} of {len(content)} bytes were written")
        segment.size += written
        segment.is_dirty = True

    def _opened(self, place: tuple[date, int]) -> _Segment:
        if place in self._open:
            self._open.move_to_end(place)
            return self._open[place]
        if len(self._open) >= MAX_OPEN:
            self._release(next(iter(self._open)))
        day, partition = place
        name = f"p{partition}-{uuid_utils.uuid7()}.jsonl"
        path = self._paths.setdefault(place, self._folder / f"dt={day}" / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._open[place] = _Segment(descriptor, os.fstat(descriptor).st_size)
        return self._open[place]

    def _release(self, place: tuple[date, int]) -> None:
        segment = self._open.pop(place)
        try:
            self._flush(segment)
        finally:
            os.close(segment.descriptor)

    def _flush(self, segment: _Segment) -> None:
        if segment.is_dirty:
            try:
                os.fdatasync(segment.descriptor)
            except OSError as error:
                raise self._failure(error.strerror) from error
            segment.is_dirty = False

    def _failure(self, reason: str | None) -> LogError:
        return LogError(
            f"messages could not be written below {self._folder} ({reason}); free space on the device, or make the "
            "folder writable, and start the consumer again: nothing is lost"
        )


def _first_consumed(message: Message) -> datetime:
    return message.consumed_at or _NEVER


def _partition(segment: Path) -> int:
    return int(segment.name[1:].partition("-")[0])


def _runs(path: Path) -> list[Iterator[Message]]:
    """Stretches of a segment in which offsets rise: after a rebalance a process may be given messages again."""
    ends, previous, read_to = [], None, 0
    for message, end in _messages(path, 0, path.stat().st_size):
        place = _PLACE(message)
        if previous is not None and place <= previous:
            ends.append(read_to)
        previous, read_to = place, end
    stretches = pairwise([0, *ends, read_to])
    return [(message for message, _ in _messages(path, start, end)) for start, end in stretches]


def _messages(path: Path, start: int, end: int) -> Iterator[tuple[Message, int]]:
    """Messages of a segment and the bytes at which their lines end, from one place to another."""
    while start < end and (lines := _block(path, start, end)):
        for line in lines:
            if start >= end:
                return
            start += len(line)
            yield _decode(line, path), start


def _block(path: Path, start: int, end: int) -> list[bytes]:
    """The next lines of a segment; none when there is no whole one before ``end``."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            lines = file.readlines(min(BLOCK_BYTES, end - start))
    except OSError as error:
        raise LogError(f"{path} cannot be read ({error.strerror}); see to it, or restore it, and try again") from error
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _encode(message: Message) -> bytes:
    return orjson.dumps(
        {
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "stamped_at": message.stamped_at,
            "consumed_at": message.consumed_at,
            "key": _text(message.key),
            "value": _text(message.value),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _decode(line: bytes, path: Path) -> Message:
    try:
        found = orjson.loads(line)
        return Message(
            found["topic"],
            found["partition"],
            found["offset"],
            datetime.fromisoformat(found["stamped_at"]),
            _bytes(found["key"]),
            _bytes(found["value"]),
            None if (consumed_at := found.get("consumed_at")) is None else datetime.fromisoformat(consumed_at),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LogError(
            f"{path} holds a line that no consumer wrote ({line[:80]!r}); restore the file, or move it away and read "
            "its messages again by resetting the group's offsets"
        ) from error


def _text(content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _bytes(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode("utf-8")
    return None if found is None else base64.b64decode(found["base64"])
