"""The rows of one raw file, sorted into valid events and quarantined ones, chunk by chunk.

Belongs here: the way of a row through decoding and rules. Does not belong here: the rules, and repeated keys, which
only all of history tells (the lake). Upstream: blocks of a file. Downstream: the events assets.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import chain

import orjson
import pandas as pd

from shadow_platform.contracts.records import QuarantinedEvent
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events.decoding import careful_rows, certain_rows
from shadow_platform.domain.events.faults import Faults, payload
from shadow_platform.domain.events.form import RowForm
from shadow_platform.domain.events.lines import Chunk, chunks, lines_at
from shadow_platform.domain.events.rules import check_schema, check_times


@dataclass(frozen=True, slots=True)
class SortedRows:
    """Some rows of a file. ``n_rows`` counts its lines but blank ones; each is valid or quarantined.

    Attributes:
        valid: events in the schema's types, indexed by line number in the file.
    """

    valid: pd.DataFrame
    quarantined: tuple[QuarantinedEvent, ...]
    n_rows: int

    @property
    def n_quarantined(self) -> int:
        """Rows in quarantine; a row may be there for several columns."""
        return len({event.row for event in self.quarantined})


class EventSorter:
    """Sorts raw files of one event kind."""

    def __init__(self, kind: EventKind) -> None:
        self._form = RowForm.of(kind)

    def sort(self, blocks: Iterable[bytes], file: str, received_on: date, now: datetime) -> Iterator[SortedRows]:
        """Sort the rows of one file; memory is bounded whatever its size.

        Args:
            blocks: JSON lines as received, in pieces of any size.
            file: name for the quarantine record.
            received_on: UTC day whose file it is.
            now: nothing can have been received later.

        Raises:
            EventFileError: the file is no text of lines at all, or the kind's schema cannot be checked row by row.
        """
        for chunk in chunks(blocks, file):
            yield self._sorted(chunk, file, received_on, now)

    def _sorted(self, chunk: Chunk, file: str, received_on: date, now: datetime) -> SortedRows:
        faults = Faults()
        frame, n_rows = certain_rows(chunk, self._form), 0
        if frame is None:
            frame, n_rows = careful_rows(chunk, self._form, faults)
        else:
            n_rows = len(frame)
        check_times(frame, received_on, now, faults)
        sound = frame.drop(index=list(faults.rows & set(frame.index))) if faults.rows else frame
        valid = check_schema(sound, self._form, file, faults)
        return SortedRows(valid, faults.quarantined(chunk, self._form.kind.name, file), n_rows)


def parse_events(content: bytes, kind: EventKind, file: str, received_on: date) -> SortedRows:
    """Sort a small file that is in memory, as ``EventSorter`` does."""
    sorter, ever_after = EventSorter(kind), datetime.max.replace(tzinfo=UTC)
    parts = list(sorter.sort([content], file, received_on, ever_after))
    parts = parts or list(sorter.sort([b"\n"], file, received_on, ever_after))
    valid = pd.concat([part.valid for part in parts])
    return SortedRows(valid, tuple(chain.from_iterable(p.quarantined for p in parts)), sum(p.n_rows for p in parts))


def repeated_events(
    blocks: Iterable[bytes], kind: EventKind, file: str, rows: Sequence[int]
) -> Iterator[QuarantinedEvent]:
    """Records of quarantine of valid rows whose key was received before, by their line numbers, which ascend."""
    for row, line in lines_at(blocks, file, rows):
        event = orjson.loads(line)
        named = {name: event[name] for name in kind.key}
        reason = f"duplicate of an event already received: {named}"
        yield QuarantinedEvent(kind.name, file, row, None, reason, payload(line))


def quarantine_frame(events: Iterable[QuarantinedEvent], use_case: str, received_on: date) -> pd.DataFrame:
    """Rows of the ``quarantined_events`` table."""
    start = datetime.combine(received_on, time.min, tzinfo=UTC)
    rows = [(use_case, start, e.kind, e.file, e.row, e.column, e.reason, e.payload) for e in events]
    return pd.DataFrame(rows, columns=list(QUARANTINED_EVENTS.column_names))
