"""What is wrong with the rows of a chunk, found so far.

Belongs here: one reason a row and column, first come. Does not belong here: any rule. Upstream: decoding, rules.
Downstream: quarantine.

A reason reads ``<rule>: <particulars>`` or ``<rule>, found <value>``, so that reasons can be counted by rule.
"""

import re
from dataclasses import dataclass, field

from shadow_platform.contracts.records import QuarantinedEvent
from shadow_platform.domain.events.lines import Chunk

MAX_PAYLOAD_CHARS = 4_096
_PARTICULARS = re.compile(r": |, found ")


@dataclass(slots=True)
class Faults:
    """Faults by row (line number) and column; ``None`` is the row as a whole."""

    reasons: dict[tuple[int, str | None], str] = field(default_factory=dict)
    rows: set[int] = field(default_factory=set)

    def refuse(self, row: int, column: str | None, reason: str) -> None:
        """Note a fault unless one is known of the same row and column."""
        self.rows.add(row)
        self.reasons.setdefault((row, column), reason)

    def quarantined(self, chunk: Chunk, kind: str, file: str) -> tuple[QuarantinedEvent, ...]:
        """The records of quarantine, in the order of rows and columns."""
        found = sorted(self.reasons.items(), key=lambda fault: (fault[0][0], fault[0][1] or ""))
        return tuple(
            QuarantinedEvent(kind, file, row, column, reason, payload(chunk.line(row)))
            for (row, column), reason in found
        )


def payload(line: bytes) -> str:
    """A raw line as text for the quarantine, cut where it gets long."""
    return line[: 4 * MAX_PAYLOAD_CHARS].decode("utf-8", errors="backslashreplace")[:MAX_PAYLOAD_CHARS]


def rule_of(reason: str) -> str:
    """The rule that a reason tells of, without its particulars.

    >>> rule_of("expected a number, found '12'"), rule_of("not JSON: unexpected end")
    ('expected a number', 'not JSON')
    """
    return _PARTICULARS.split(reason, maxsplit=1)[0]
