"""An in-memory log that passes the same contract suite as the files, and a sink whose device is full.

Upstream: contracts. Downstream: tests of everything that appends to or reads a log.
"""

from collections.abc import Iterator, Mapping, Sequence

import orjson

from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.ports import LoggedLine
from shadow_platform.contracts.records import SourceOffset


class InMemoryLog:
    """Sink and source in one; its only segment is called ``memory``."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append(self, record: object) -> None:
        self.append_many([record])

    def append_many(self, records: Sequence[object]) -> None:
        self.lines.extend([orjson.dumps(record) for record in records])

    def sync(self) -> None:
        """Nothing to flush."""

    def check(self) -> None:
        """Memory is always writable."""

    def close(self) -> None:
        """Nothing to release."""

    def read(self, after: Mapping[str, int], limit: int | None = None) -> Iterator[LoggedLine]:
        end, given = 0, 0
        for line in list(self.lines):
            end += len(line) + 1
            if end <= after.get("memory", 0):
                continue
            if limit is not None and given == limit:
                return
            given += 1
            yield LoggedLine(line, SourceOffset("memory", end))


class FullLog(InMemoryLog):
    """Refuses every append while ``is_full``, as a full device does."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True

    def append_many(self, records: Sequence[object]) -> None:
        self.check()
        super().append_many(records)

    def check(self) -> None:
        if self.is_full:
            raise LogError("log memory: cannot append (No space left on device); free space on the device")
