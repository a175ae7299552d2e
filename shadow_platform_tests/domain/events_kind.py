"""One kind of event, ``visits``, and raw rows of it.

Belongs here: what the tests of the events stage sort. Does not belong here: assertions. Downstream: test_events and
test_event_lines.
"""

import json
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pandera.pandas as pa

from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events import EventSorter, SortedRows, parse_events

DAY = date(2024, 1, 1)
NOW = datetime(2024, 1, 2, tzinfo=UTC)
_TIME = pd.DatetimeTZDtype(unit="us", tz="UTC")
SCHEMA = pa.DataFrameSchema(
    {
        "event_id": pa.Column(str, coerce=True),
        "event_at": pa.Column(_TIME, coerce=True),
        "received_at": pa.Column(_TIME, coerce=True),
        "channel": pa.Column(str, pa.Check.isin(("mail", "shop")), coerce=True),
        "amount": pa.Column(float, pa.Check.ge(0), nullable=True, coerce=True),
        "items": pa.Column(int, coerce=True),
        "is_member": pa.Column(bool, coerce=True),
    }
)
KIND = EventKind("visits", "A visitor came", SCHEMA)


def event(**changes: Any) -> dict[str, Any]:
    """A valid raw row, changed."""
    row = {"event_id": "e1", "event_at": "2024-01-01T09:00:00Z", "received_at": "2024-01-01T09:00:01.5+00:00"}
    return {**row, "channel": "mail", "amount": 12.5, "items": 2, "is_member": True, "schema_version": 1} | changes


def encoded(row: dict[str, Any] | bytes) -> bytes:
    """A raw row as a line."""
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def parse(*rows: dict[str, Any] | bytes, end: bytes = b"\n") -> SortedRows:
    """Rows as one file, sorted."""
    return parse_events(b"\n".join(map(encoded, rows)) + end, KIND, "raw/f.jsonl", DAY)


def sort(content: bytes, block_bytes: int = 1 << 22, kind: EventKind = KIND, now: datetime = NOW) -> list[SortedRows]:
    """Parts of a file that comes in blocks."""
    blocks = (content[at : at + block_bytes] for at in range(0, len(content), block_bytes))
    return list(EventSorter(kind).sort(blocks, "raw/f.jsonl", DAY, now))
