"""What of one log of this home waits to be published.

Belongs here: positions, the file that remembers them, segments that wait because a line of theirs was refused, and
deleting what was published long ago. Does not belong here: sending (``relay``). Upstream: segments. Downstream: the
relay.

The file is a shortcut. Whatever it lacks is published again, and recognised where it lands.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import orjson

from shadow_platform.adapters.log import HOUR_S, Clock, FileLogSource, ended_at
from shadow_platform.log_transport.topics import SentLine

LOGGER = logging.getLogger("shadow_platform.log_transport")

MAX_LINES = 5_000
MAX_BYTES = 8 << 20
"""Of lines in memory at once; what waits for a broker waits on disk."""
BLOCK_BYTES = 1 << 20
RELIST_S = 30.0
REFUSED_S = 10.0
"""A line that was refused is sent again after this long, alone."""


class LogTail:
    """Complete lines of one log, each until it is done.

    Args:
        root: folder of the log; a log by challenger has one more level.
        progress: file of the positions.
    """

    def __init__(self, root: Path, progress: Path) -> None:
        self._root, self._progress = root, progress
        self._mark = progress.with_suffix(".again")
        self._sources: dict[str, FileLogSource] = {}
        self._listed_at = -RELIST_S
        self._done: dict[str, dict[str, int]] = {}
        self._refused: dict[str, float] = {}
        self._torn: dict[str, int] = {}
        self._is_caught_up = self._is_changed = False

    @property
    def is_waiting(self) -> bool:
        """Whether a line was refused, and waits with those behind it."""
        return bool(self._refused)

    def restore(self) -> None:
        """Go on where the file says; from the beginning when there is none that can be read."""
        try:
            found = orjson.loads(self._progress.read_bytes())
            self._done = {str(name): {str(k): int(v) for k, v in ends.items()} for name, ends in found.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError, TypeError) as error:
            LOGGER.warning("%s cannot be read (%s); everything is published again", self._progress, error)
        for name, source in self._listed():
            known = self._done.get(name, {})
            self._done[name] = {segment: known[segment] for segment, _ in source.segments() if segment in known}

    def take_up_again(self) -> bool:
        """Begin anew when ``ask_again`` was called since, by whatever process; whether that was so."""
        if not self._mark.exists():
            return False
        self._done, self._refused, self._torn = {}, {}, {}
        self._is_changed, self._is_caught_up = True, False
        self.save()
        self._mark.unlink(missing_ok=True)
        return True

    def ask_again(self) -> Path:
        """Have whoever relays this log publish everything again; the mark, which is gone once that has begun."""
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        return self._mark

    def prune(self, keep_h: int, clock: Clock = time.time) -> int:
        """Delete segments that were published whole and whose hour ended this many hours ago; how many.

        A line that a crash tore off goes with its segment: nobody was answered for it.
        """
        ended_before, n = clock() - keep_h * HOUR_S, 0
        for name, source in self._listed():
            segments, done = dict(source.segments()), self._done.get(name, {})
            self._done[name] = done = {segment: end for segment, end in done.items() if segment in segments}
            for segment in segments:
                path = self._root / name / segment
                if segment in done and ended_at(segment) < ended_before and _has_no_line(path, done[segment]):
                    n += _delete(path)
        self._is_changed |= n > 0
        return n

    def lines(self) -> list[SentLine]:
        """The next lines, at most ``MAX_LINES`` and about ``MAX_BYTES``; of a segment that waits, none or one."""
        now, n_bytes, found = time.monotonic(), 0, list[SentLine]()
        tried: set[str] = set()
        for name, source in self._listed():
            for line in source.read(self._after(name, now), MAX_LINES - len(found)):
                segment = name + line.offset.segment
                if segment in self._refused:
                    if segment in tried:
                        continue
                    tried.add(segment)
                found.append(SentLine(segment, line.offset.end - len(line.payload) - 1, line.payload))
                n_bytes += len(line.payload)
                if n_bytes >= MAX_BYTES:
                    return found
            if len(found) >= MAX_LINES:
                return found
        self._is_caught_up = not found and not self._refused
        return found

    def done(self, lines: Sequence[SentLine], refused: Sequence[SentLine]) -> int:
        """Go behind what was published, of each segment up to the first line that was refused; how many lines."""
        first: dict[str, int] = {}
        for line in refused:
            first[line.segment] = min(line.start, first.get(line.segment, line.start))
        until, n = time.monotonic() + REFUSED_S, 0
        for line in lines:
            if line.start >= first.get(line.segment, sys.maxsize):
                continue
            name, segment = _split(line.segment)
            self._done.setdefault(name, {})[segment] = line.end
            self._refused.pop(line.segment, None)
            n += 1
        self._refused.update(dict.fromkeys(first, until))
        self._is_changed |= n > 0
        return n

    def lag_bytes(self) -> int:
        """Bytes that wait to be published; what a crash tore off waits for nothing."""
        behind = {
            name + segment: (size, size - self._done.get(name, {}).get(segment, 0))
            for name, source in self._listed()
            for segment, size in source.segments()
            if size > self._done.get(name, {}).get(segment, 0)
        }
        if self._is_caught_up:
            self._torn = {segment: size for segment, (size, _) in behind.items()}
        return sum(n for segment, (size, n) in behind.items() if self._torn.get(segment) != size)

    def save(self) -> None:
        """Replace the file when there is news; a device that refuses costs sending again."""
        if not self._is_changed:
            return
        beside = self._progress.with_suffix(f".{os.getpid()}")
        try:
            self._progress.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(orjson.dumps(self._done))
            beside.replace(self._progress)
            self._is_changed = False
        except OSError as error:
            LOGGER.warning("%s cannot be written (%s); a restart publishes again", self._progress, error)

    def _after(self, name: str, now: float) -> dict[str, int]:
        done = self._done.setdefault(name, {})
        if not self._refused:
            return done
        waiting = [_split(segment) for segment, until in self._refused.items() if until > now]
        return done | {segment: sys.maxsize for of, segment in waiting if of == name}

    def _listed(self) -> Iterator[tuple[str, FileLogSource]]:
        """Sources by the part of a segment's name that comes before the day: none, or the challenger."""
        if time.monotonic() - self._listed_at >= RELIST_S:
            self._listed_at = time.monotonic()
            folders = ["", *(f"{path.name}/" for path in sorted(self._root.glob("challenger=*")))]
            self._sources = {name: self._sources.get(name) or FileLogSource(self._root / name) for name in folders}
        return iter(list(self._sources.items()))


def _has_no_line(path: Path, start: int) -> bool:
    """Whether no complete line is behind a byte of a file; false when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return not any(b"\n" in block for block in iter(partial(file.read, BLOCK_BYTES), b""))
    except OSError:
        return False


def _delete(path: Path) -> bool:
    """Delete a segment, with folders that are empty then."""
    try:
        path.unlink()
    except OSError as error:
        LOGGER.warning("%s was published and cannot be deleted (%s); free the space by hand", path, error.strerror)
        return False
    for folder in path.parents[:2]:
        try:
            folder.rmdir()
        except OSError:
            break
    return True


def _split(segment: str) -> tuple[str, str]:
    day = segment.index("dt=")
    return segment[:day], segment[day:]
