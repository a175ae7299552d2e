"""Events stage: raw rows become valid events, or are quarantined with the reason; nothing is dropped silently.

A row is valid if it is one complete JSON object in UTF-8 of the accepted schema version, has exactly the kind's
columns with the right JSON types, times with an offset, ``event_at`` not after ``received_at``, ``received_at`` in the
file's day and not in the future, passes the kind's pandera schema, and has a key not seen before.

``lines`` cuts a file into chunks, ``decoding`` makes typed columns of them, ``rules`` holds what they must obey,
``sorting`` is the way through all three, ``messages`` makes rows of a stream's messages, ``tally`` counts what came of
it. Does not belong here: reading files, writing
partitions, and finding repeated keys, which takes all of history (the lake). Downstream: the events assets.
"""

from shadow_platform.domain.events.messages import SKEW, SortedMessages, raw_row, sort_messages
from shadow_platform.domain.events.sorting import (
    EventSorter,
    SortedRows,
    parse_events,
    quarantine_frame,
    repeated_events,
)
from shadow_platform.domain.events.tally import Tally

__all__ = [
    "SKEW",
    "EventSorter",
    "SortedMessages",
    "SortedRows",
    "Tally",
    "parse_events",
    "quarantine_frame",
    "raw_row",
    "repeated_events",
    "sort_messages",
]
