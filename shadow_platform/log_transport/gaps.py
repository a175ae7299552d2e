"""What is held of one segment while lines in front of it are missing.

Belongs here: which lines wait, which were let go for want of room, which offset may be committed meanwhile. Does not
belong here: files and topics. Upstream: the lander, which asks.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from shadow_platform.adapters.kafka import Partition
from shadow_platform.log_transport.topics import SentLine

Segment = tuple[str, str]
"""Log, and file relative to its root."""
Came = tuple[SentLine, Partition, int]
"""A line, and where its message stands."""


@dataclass(slots=True)
class Gap:
    """Lines of one segment that came before others which stand in front of them.

    Attributes:
        lines: held, by the byte at which they begin.
        let_go: lines that found no room: the first message of each partition, which is not committed.
        gone_from: byte at which the first line that was let go begins.
        gone_until: end of the last of them.
        since: when the segment grew last.
    """

    lines: dict[int, Came] = field(default_factory=dict)
    let_go: dict[Partition, int] = field(default_factory=dict)
    gone_from: int = 0
    gone_until: int = 0
    since: float = field(default_factory=time.monotonic)
    is_told: bool = False

    @property
    def is_open(self) -> bool:
        """Whether anything waits."""
        return bool(self.lines or self.let_go)

    @property
    def held_bytes(self) -> int:
        """Size of the lines in memory."""
        return sum(len(line.line) for line, _, _ in self.lines.values())

    @property
    def first(self) -> int:
        """Byte at which the first line begins that waits."""
        return min([*self.lines, *([self.gone_from] if self.let_go else [])])

    @property
    def host(self) -> str:
        """Machine that wrote a line of it, as far as one is held."""
        return next((line.host for line, _, _ in self.lines.values()), "") or "unknown"

    def hold(self, came: Came) -> None:
        """Keep a line that came too early; no longer once lines of this segment were let go."""
        if self.let_go:
            self._let_go(came)
        else:
            self.lines[came[0].start] = came

    def let_all_go(self) -> None:
        """Forget the lines and remember where they stand: who publishes what is missing publishes them behind it."""
        for came in self.lines.values():
            self._let_go(came)
        self.lines.clear()

    def settle(self, end: int) -> None:
        """Forget what has landed, now that the segment ends at this byte."""
        for start in [start for start in self.lines if start <= end]:
            del self.lines[start]
        if end >= self.gone_until:
            self.let_go.clear()

    def grew(self) -> None:
        """Something landed: from now on other lines are missing, or none."""
        self.since, self.is_told = time.monotonic(), False

    def messages(self) -> Iterator[tuple[Partition, int]]:
        """Messages that must come again after a restart."""
        yield from self.let_go.items()
        for _, place, offset in self.lines.values():
            yield place, offset

    def _let_go(self, came: Came) -> None:
        line, place, offset = came
        self.gone_from = min(self.gone_from, line.start) if self.let_go else line.start
        self.gone_until = max(self.gone_until, line.end)
        self.let_go[place] = min(self.let_go.get(place, offset), offset)
