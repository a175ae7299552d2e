"""Append-only logs as JSON-lines segment files: one write a record, one new segment a process start and hour.

Belongs here: the file formats of the prediction, shadow and transition logs, appending, tailing, decoding one line.
Does not belong here: what a record means, and turning closed hours into tables (adapters.lake).
Upstream: serving workers, the shadow worker, promotion. Downstream: the shadow worker, the lake, the service's views.

A segment is ``<root>/dt=YYYY-MM-DD/hour=HH/<pid>-<uuid7>.jsonl``; day and hour are the wall clock of the append, so
that hours close. A line appended behind a torn one destroys both, hence a segment that failed once is never used again.
No reader trusts that clock: one that steps back, or a process that slept, appends to an hour that seemed to be over.
"""

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import orjson
import uuid_utils

from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.ports import LoggedLine
from shadow_platform.contracts.records import FailureRecord, ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset

LOGGER = logging.getLogger("shadow_platform.log")

HOUR_S = 3600
SETTLED_AFTER_S = 120.0
"""An hour that ended this long ago rarely gets another line, so that its list of segments may be remembered."""
RELIST_S = 30.0
"""A remembered list is made anew after this long, because a line may come late all the same."""
MAX_LEFT = 16
"""Most segments that are left behind and wait to be flushed."""
READ_BYTES = 1 << 20
TAIL_BYTES = 1 << 16

Clock = Callable[[], float]


class FileLogSink:
    """Appends to a segment of its own. Safe to share between threads of one process.

    Args:
        root: folder of the log; created when first needed.
        clock: wall clock, seconds since the epoch.
    """

    def __init__(self, root: Path, clock: Clock = time.time) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._left: list[int] = []
        self._path = root
        self._size = 0
        self._hour = -1

    def append(self, record: object) -> None:
        """Append one record with one write before returning; raises ``LogError``."""
        self._write(_encode(record))

    def append_many(self, records: Sequence[object]) -> None:
        """Append a batch with one write, all or nothing; raises ``LogError``."""
        if records:
            self._write(b"".join([_encode(record) for record in records]))

    def sync(self) -> None:
        """Flush what was appended to the device, segments left since the last flush included; raises ``LogError``."""
        with self._lock:
            descriptors, self._left = self._left, []
            try:
                if self._fd is not None:
                    descriptors.append(os.dup(self._fd))
            except OSError as error:
                self._left = descriptors
                raise self._failure(error) from error
        failure: OSError | None = None
        for descriptor in descriptors:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                failure = error
            finally:
                os.close(descriptor)
        if failure is not None:
            raise self._failure(failure) from failure

    def check(self) -> None:
        """Prove that a record could be appended now, by writing and removing a small file; raises ``LogError``."""
        probe = self._root / f".probe-{os.getpid()}-{uuid_utils.uuid7()}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"\n" * 1024)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Sync and release; a later append opens a new segment."""
        try:
            self.sync()
        finally:
            with self._lock:
                self._release()

    def _write(self, data: bytes) -> None:
        with self._lock:
            hour = int(self._clock() // HOUR_S)
            try:
                if self._fd is None or hour != self._hour:
                    self._open(hour)
                assert self._fd is not None
                written = os.write(self._fd, data)
            except OSError as error:
                self._abandon()
                raise self._failure(error) from error
            if written != len(data):
                self._abandon()
                raise LogError(
                    f"log {self._root}: only {written} of {len(data)} bytes could be appended; "
                    "free space on the device or raise the quota"
                )
            self._size += written

    def _open(self, hour: int) -> None:
        self._leave()
        at = datetime.fromtimestamp(hour * HOUR_S, UTC)
        folder = self._root / f"dt={at:%Y-%m-%d}" / f"hour={at:%H}"
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid_utils.uuid7()}.jsonl"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = 0
        self._hour = hour

    def _abandon(self) -> None:
        """Cut the torn tail off, so that nothing refused is read later, and leave the segment for good."""
        if self._fd is None:
            return
        try:
            os.ftruncate(self._fd, self._size)
            if self._size == 0:
                self._path.unlink(missing_ok=True)
        except OSError:
            pass  # readers stop at the torn tail by themselves
        finally:
            self._leave()

    def _leave(self) -> None:
        """Stop appending to the segment; the next ``sync`` flushes and closes it, beside the appends that go on."""
        if self._fd is not None and self._size > 0 and len(self._left) < MAX_LEFT:
            descriptor, self._fd = self._fd, None
            self._left.append(descriptor)
        self._release()

    def _release(self) -> None:
        if self._fd is not None:
            descriptor, self._fd = self._fd, None
            os.close(descriptor)

    def _failure(self, error: OSError) -> LogError:
        return LogError(
            f"log {self._root}: cannot append ({error.strerror or error}); "
            "free space on the device, or make the folder writable"
        )


@dataclass(frozen=True, slots=True)
class _Settled:
    """Segments of an hour that is over: good while the clock is past ``over_at``, until ``relist_at`` (monotonic)."""

    segments: list[tuple[str, int]]
    over_at: float
    relist_at: float


class FileLogSource:
    """Reads the segments below a root, oldest first. Holds no position: the caller does.

    What cannot be read (no permission, a broken device) is left out, said once, and tried again at every read; the
    other segments go on. A segment that was deleted simply has no more lines.

    Args:
        root: folder of the log; may not exist yet.
        since: segments of hours that ended before this are left out; ``None`` reads all.
        clock: wall clock, seconds since the epoch.
    """

    def __init__(self, root: Path, since: datetime | None = None, clock: Clock = time.time) -> None:
        self._root = root
        self._first_hour = None if since is None else since.astimezone(UTC).strftime("dt=%Y-%m-%d/hour=%H")
        self._clock = clock
        self._settled: dict[str, _Settled] = {}
        self._torn: dict[str, tuple[int, int]] = {}
        self._unreadable: dict[str, str] = {}

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Segments and folders that could not be read when last tried, with the reason."""
        return dict(self._unreadable)

    def read(self, after: Mapping[str, int], limit: int | None = None) -> Iterator[LoggedLine]:
        """Complete lines behind ``after`` (segment -> byte offset already consumed), without their line ends.

        A limit is shared by the segments of an hour, so that the lines of one worker never wait for those of another.
        """
        left = sys.maxsize if limit is None else limit
        for _, hour in groupby(self.segments(), key=lambda found: found[0].rpartition("/")[0]):
            sizes = {segment: size for segment, size in hour if self._has_news(segment, after.get(segment, 0), size)}
            starts = {segment: after.get(segment, 0) for segment in sizes}
            while starts and left:
                share = max(1, left // len(starts))
                for segment, start in list(starts.items()):
                    wanted, n = min(share, left), 0
                    for line in islice(self._lines(segment, start), wanted):
                        n += 1
                        starts[segment] = line.offset.end
                        yield line
                    left -= n
                    if left == 0:
                        return
                    if n < wanted:
                        del starts[segment]
                    if n == 0 and segment not in self._unreadable:
                        self._torn[segment] = (start, sizes[segment])

    def _has_news(self, segment: str, start: int, size: int) -> bool:
        return size > start and self._torn.get(segment) != (start, size)

    def tail(self, limit: int) -> list[bytes]:
        """The last ``limit`` complete lines, newest last; lines of parallel segments stay together."""
        newest: list[bytes] = []
        for segment, _ in reversed(self.segments()):
            if len(newest) >= limit:
                break
            with self._reading(segment):
                newest = _last_lines(self._root / segment, limit - len(newest)) + newest
        return newest

    def segments(self) -> list[tuple[str, int]]:
        """Segments relative to the root with their sizes in bytes, oldest first."""
        found: list[tuple[str, int]] = []
        for day in self._folders("", "dt="):
            for hour in self._folders(day, "hour="):
                name = f"{day}/{hour}"
                if self._first_hour is None or name >= self._first_hour:
                    found.extend(self._segments_of(name))
        return found

    def _folders(self, parent: str, prefix: str) -> list[str]:
        found: list[str] = []
        with self._reading(parent or "."), os.scandir(self._root / parent) as entries:
            found.extend(entry.name for entry in entries if entry.name.startswith(prefix))
        return sorted(found)

    def _segments_of(self, hour: str) -> list[tuple[str, int]]:
        known = self._settled.get(hour)
        if known and time.monotonic() < known.relist_at and self._clock() > known.over_at:
            return known.segments
        self._settled.pop(hour, None)
        over_at = _over_at(hour)
        is_settled = self._clock() > over_at
        found: list[tuple[str, int]] = []
        with self._reading(hour), os.scandir(self._root / hour) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl"):
                    with self._reading(f"{hour}/{entry.name}"):
                        found.append((f"{hour}/{entry.name}", entry.stat().st_size))
        found.sort(key=lambda item: item[0].rpartition("/")[2].partition("-")[2])
        if is_settled:
            self._settled[hour] = _Settled(found, over_at, time.monotonic() + RELIST_S)
        return found

    def _lines(self, segment: str, start: int) -> Iterator[LoggedLine]:
        with self._reading(segment), (self._root / segment).open("rb", buffering=0) as file:
            file.seek(start)
            end, pending = start, [b""]
            while block := file.read(READ_BYTES):
                *lines, rest = block.split(b"\n")
                if not lines:
                    pending.append(rest)
                    continue
                lines[0] = b"".join([*pending, lines[0]])
                pending = [rest]
                for line in lines:
                    end += len(line) + 1
                    yield LoggedLine(line, SourceOffset(segment, end))

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Note whether something can be read; an error of the file system ends the block, not the reader."""
        try:
            yield
            self._unreadable.pop(name, None)
        except FileNotFoundError:
            self._unreadable.pop(name, None)
        except OSError as error:
            if name not in self._unreadable:
                LOGGER.error("log %s: %s cannot be read (%s); it is left out until it can", self._root, name, error)
            self._unreadable[name] = str(error.strerror or error)


def ended_at(segment: str) -> float:
    """Wall clock at which the hour of a segment, or of a folder that is one, ended; never where it is none."""
    try:
        start = datetime.strptime("/".join(segment.split("/")[:2]), "dt=%Y-%m-%d/hour=%H").replace(tzinfo=UTC)
    except ValueError:
        return math.inf
    return start.timestamp() + HOUR_S


def _over_at(hour: str) -> float:
    """Wall clock from which an hour's folder should get no more lines; never for a folder that is no hour."""
    return ended_at(hour) + SETTLED_AFTER_S


def _encode(record: object) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def _last_lines(path: Path, limit: int) -> list[bytes]:
    with path.open("rb") as file:
        position, data = file.seek(0, os.SEEK_END), b""
        while position and data.count(b"\n") <= limit:
            step = min(TAIL_BYTES, position)
            position -= step
            file.seek(position)
            data = file.read(step) + data
    lines = data.split(b"\n")[:-1]
    return lines[-limit:] if position == 0 else lines[1:][-limit:]


@dataclass(frozen=True, slots=True)
class _Known:
    prediction: frozenset[str]
    failure: frozenset[str]
    shadow: frozenset[str]
    answer: frozenset[str]


_KNOWN = _Known(
    frozenset(field.name for field in fields(PredictionRecord)),
    frozenset(field.name for field in fields(FailureRecord)),
    frozenset(field.name for field in fields(ShadowRecord)),
    frozenset(field.name for field in fields(ModelAnswer)),
)


def _loads(payload: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise LogError(f"log line {payload[:80]!r} is not JSON ({error}); it is left out") from error
    if not isinstance(value, dict):
        raise LogError(f"log line {payload[:80]!r} is not an object; it is left out")
    return value


def _only(known: frozenset[str], value: dict[str, Any]) -> dict[str, Any]:
    """Leave out fields of a later schema version."""
    return value if value.keys() <= known else {name: value[name] for name in value.keys() & known}


def decode_prediction(payload: bytes) -> PredictionRecord:
    """One line of the prediction log; raises ``LogError`` when it is none."""
    value = _loads(payload)
    try:
        return PredictionRecord(**_only(_KNOWN.prediction, value))
    except TypeError as error:
        raise LogError(f"log line {payload[:80]!r} is no prediction record ({error}); it is left out") from error


def decode_failure(payload: bytes) -> FailureRecord:
    """One line of the failure log; raises ``LogError`` when it is none."""
    value = _loads(payload)
    try:
        return FailureRecord(**_only(_KNOWN.failure, value))
    except TypeError as error:
        raise LogError(f"log line {payload[:80]!r} is no failure record ({error}); it is left out") from error


def decode_shadow(payload: bytes) -> ShadowRecord:
    """One line of the shadow log; raises ``LogError`` when it is none."""
    value = _loads(payload)
    try:
        value["champion"] = ModelAnswer(**_only(_KNOWN.answer, value["champion"]))
        value["challenger"] = ModelAnswer(**_only(_KNOWN.answer, value["challenger"]))
        value["source"] = SourceOffset(value["source"]["segment"], value["source"]["end"])
        return ShadowRecord(**_only(_KNOWN.shadow, value))
    except (TypeError, KeyError, AttributeError) as error:
        raise LogError(f"log line {payload[:80]!r} is no shadow record ({error}); it is left out") from error
