"""Segments that another machine wrote, made again here byte by byte.

Belongs here: how far each has landed, appending, flushing. Does not belong here: what carries the lines
(``log_transport``), reading (``log``). Upstream: the lander. Downstream: whatever reads logs, which cannot tell a
landed segment from one that was written here.
"""

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from shadow_platform.contracts.errors import LogError

MAX_OPEN = 128
"""Segments of one log that are held open; about as many as processes answer at once."""
BLOCK_BYTES = 1 << 16
SEGMENT = re.compile(r"(?:challenger=\w[\w.-]*/)?dt=\d{4}-\d\d-\d\d/hour=\d\d/[\w-]+\.jsonl", re.ASCII)
"""Paths below a log's root that a sender may name; nothing else is ever opened."""


@dataclass(slots=True)
class _Open:
    """One segment.

    Attributes:
        size: end of its last complete line. What lies behind was cut off when a lander, or its machine, died.
    """

    descriptor: int
    size: int
    is_torn: bool
    is_dirty: bool = False


class LandedSegments:
    """Segments of one log. Only one process may append, through one instance; any number read.

    Args:
        root: folder of the log (``Layout.log``); created when first needed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._flushed: set[Path] = set()

    def size(self, segment: str) -> int:
        """Offset behind the last complete line, 0 when nothing has landed; raises ``LogError``."""
        try:
            is_there = segment in self._open or self.path(segment).exists()
        except OSError as error:
            raise self._failure(error.strerror) from error
        return self._opened(segment).size if is_there else 0

    def path(self, segment: str) -> Path:
        """File of a segment, which may not exist."""
        return self._root / segment

    def append(self, segment: str, lines: bytes) -> None:
        """Append complete lines behind the last complete one, all or nothing; raises ``LogError``."""
        known = self._opened(segment)
        try:
            if known.is_torn:
                os.ftruncate(known.descriptor, known.size)
                known.is_torn = False
            written = os.write(known.descriptor, lines)
            if written != len(lines):
                known.is_torn = True
                os.ftruncate(known.descriptor, known.size)
                known.is_torn = False
        except OSError as error:
            raise self._failure(error.strerror) from error
        if written != len(lines):
            raise self._failure(f"only {written} of {len(lines)} bytes were written")
        known.size += written
        known.is_dirty = True

    def sync(self) -> None:
        """Flush what was appended to the device; raises ``LogError``."""
        for segment in self._open.values():
            self._flush(segment)

    def close(self) -> None:
        """Flush and release; sizes are looked up anew when it is used again."""
        while self._open:
            self._release(next(iter(self._open)))

    def _opened(self, segment: str) -> _Open:
        known = self._open.get(segment)
        if known is not None:
            self._open.move_to_end(segment)
            return known
        if len(self._open) >= MAX_OPEN:
            self._release(next(iter(self._open)))
        path = self.path(segment)
        try:
            is_new = not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size, end = os.fstat(descriptor).st_size, _end_of_lines(descriptor)
            self._flush_folders(path.parent, is_new)
        except OSError as error:
            raise self._failure(error.strerror) from error
        known = self._open[segment] = _Open(descriptor, end, is_torn=end < size)
        return known

    def _flush_folders(self, hour: Path, is_new: bool) -> None:
        """Make names last: that of a new file, and those that somebody who was killed gave to file and folders."""
        if hour in self._flushed and not is_new:
            return
        _flush_folder(hour)
        if hour not in self._flushed:
            top = self._root.parents[1]
            for folder in (folder for folder in hour.parents if folder == top or top in folder.parents):
                _flush_folder(folder)
        self._flushed.add(hour)

    def _release(self, segment: str) -> None:
        known = self._open.pop(segment)
        try:
            self._flush(known)
        finally:
            os.close(known.descriptor)

    def _flush(self, segment: _Open) -> None:
        if segment.is_dirty:
            try:
                os.fdatasync(segment.descriptor)
            except OSError as error:
                raise self._failure(error.strerror) from error
            segment.is_dirty = False

    def _failure(self, reason: str | None) -> LogError:
        return LogError(
            f"lines could not be landed below {self._root} ({reason}); free space on the device, or make the folder "
            "writable: nothing is lost, they come again"
        )


def _end_of_lines(descriptor: int) -> int:
    """Offset behind the last line end of a file."""
    position = os.fstat(descriptor).st_size
    while position:
        start = max(0, position - BLOCK_BYTES)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
