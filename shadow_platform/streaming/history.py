"""Valid events of the last days, for a consumer that begins: what was landed, and what the stream brought since.

Belongs here: which events a consumer must know. Does not belong here: what it makes of them (``online``). Upstream: the
lake, the segments. Downstream: the consumer, online.

There may be more events than fit into memory as Python objects, and reading them may take longer than a broker waits
for a member. So all of it is read in parts, a day or ``PART_MESSAGES`` at a time, and the consumer polls in between.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.contracts.stream import Message
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.domain.events import SKEW, EventSorter, sort_messages

PART_MESSAGES = 10_000


class StreamHistory:
    """Events of the partitions of one consumer, by receipt.

    An event that came through a partition of another consumer is left out, so that only one of them speaks of its
    entity; one that was landed from a file and never came through the stream is known to all.

    Attributes:
        partitions: topic and number of those assigned.
    """

    def __init__(self, lake: Lake, use_case: UseCase, logs: Mapping[str, StreamLog]) -> None:
        self._lake, self._use_case, self._logs = lake, use_case, logs
        self.partitions: frozenset[tuple[str, int]] = frozenset()

    def __call__(self, kind: EventKind, start: datetime, end: datetime) -> Iterator[pd.DataFrame]:
        """Valid events of a kind received in ``[start, end)``, in parts by day; one may be in two parts.

        A part may be empty. Between two, what is read does not depend on what happens meanwhile, as long as nothing is
        consumed.
        """
        for day in self._days(kind, start, end):
            day_start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            first, last = max(start, day_start), min(end, day_start + timedelta(days=1))
            yield from self._of_day(kind, day, first, last)

    def newest(self, kind: EventKind) -> Iterator[tuple[datetime, datetime | None] | None]:
        """When the newest valid event of the stream was received, and when it was consumed.

        What was found after each part, ``None`` if nothing yet; the last one holds. What is no event tells no time: in
        a replay of last year, a tombstone that is stamped now does not end last year.
        """
        newest: tuple[datetime, datetime | None] | None = None
        for day in reversed(self._logs[kind.name].days()):
            for messages in _parts(self._logs[kind.name].read(day)):
                valid = self._valid(kind, messages)
                if len(valid):
                    at = valid["received_at"].max().to_pydatetime()
                    if newest is None or at > newest[0]:
                        newest = at, next(m.consumed_at for m in messages if m.stamped_at == at)
                yield newest
            if newest is not None:
                return

    def _days(self, kind: EventKind, start: datetime, end: datetime) -> list[date]:
        days = {*self._logs[kind.name].days(), *self._lake.event_days(self._use_case, kind)}
        return sorted(day for day in days if start.date() <= day <= end.date())

    def _of_day(self, kind: EventKind, day: date, start: datetime, end: datetime) -> Iterator[pd.DataFrame]:
        log, mine = self._logs[kind.name], {number for topic, number in self.partitions if topic == _topic(kind)}
        landed = self._landed(kind, start, end)
        for messages in _parts(log.read(day, log.partitions(day) - mine)):
            landed = landed[~_keys(landed, kind).isin(_keys(self._valid(kind, messages), kind))]
            yield landed.iloc[:0]
        yield landed
        known = _keys(landed, kind)
        for messages in _parts(log.read(day, mine)):
            events = self._valid(kind, messages)
            is_due = (events["received_at"] >= start) & (events["received_at"] < end)
            yield events[is_due & ~_keys(events, kind).isin(known)]

    def _landed(self, kind: EventKind, start: datetime, end: datetime) -> pd.DataFrame:
        names = ", ".join(f'"{name}"' for name in kind.schema.columns)
        sql = f'SELECT {names} FROM "{kind.name}" WHERE received_at >= $start AND received_at < $end'
        return self._lake.events_sql(sql, self._use_case, [kind], {"start": start, "end": end}, start, end)

    def _valid(self, kind: EventKind, messages: list[Message]) -> pd.DataFrame:
        return sort_messages(EventSorter(kind), messages, datetime.now(UTC) + SKEW).valid


def _topic(kind: EventKind) -> str:
    return kind.name if kind.topic is None else kind.topic.name


def _keys(events: pd.DataFrame, kind: EventKind) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(events.reindex(columns=list(kind.key)))


def _parts(messages: Iterable[Message]) -> Iterator[list[Message]]:
    remaining = iter(messages)
    while part := list(islice(remaining, PART_MESSAGES)):
        yield part
