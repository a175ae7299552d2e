"""Streamed views, kept current in the online store by their own SQL over recent events.

Belongs here: which entities are due, and when. Does not belong here: consuming messages (``consumer``), the tables
behind it (``recent``), what a row says (the view's SQL), refusing a row that is older (the online store). Upstream: the
consumer. Downstream: the online store.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import pandas as pd

from shadow_platform.contracts.use_case import EventKind, FeatureView, Streaming, UseCase
from shadow_platform.streaming.recent import EPOCH, RecentEvents

CATCH_UP = timedelta(days=7)
FORGET_EVERY = timedelta(hours=1)
SKEW = timedelta(days=1)
_NO_WAIT = timedelta(0)
_INSTANT = timedelta(microseconds=1)


class StreamedFeatures:
    """Brings the rows of streamed views online as their stamps pass; knows nothing until ``restore`` is called.

    An entity is due when one of its events was received, or left a window. Its events alone then go through the view's
    SQL, the same that makes the partitions, and its newest row is written. Writing a row twice is harmless, so that
    after a failure everything since the last success is done again.

    An event that comes late, received before rows were written, makes its entity due again as of its receipt. The row
    that corrects another has its stamp, as in the partitions, and of equal stamps the online store keeps the last. Of
    one that is late by more than ``CATCH_UP``, the row may lack what was received long before it.

    Args:
        write_online: writes rows of a view and returns how many.
        history: valid events of a kind received in ``[start, end)``, in parts.
    """

    def __init__(
        self,
        use_case: UseCase,
        write_online: Callable[[FeatureView, pd.DataFrame], int],
        history: Callable[[EventKind, datetime, datetime], Iterable[pd.DataFrame]],
    ) -> None:
        self._views = {view: view.streaming for view in use_case.views if view.streaming is not None}
        self._kinds = [kind for kind in use_case.events if kind.topic is not None]
        self._kept = max((view.lookback for view in self._views), default=_NO_WAIT) + CATCH_UP
        self._write_online, self._history = write_online, history
        self._recent = RecentEvents(self._kinds, list(self._views))
        self._kept_from = self._last = EPOCH
        self._late: dict[FeatureView, set[str]] = {view: set() for view in self._views}
        self._late_from: datetime | None = None

    def restore(self, until: datetime) -> Iterator[None]:
        """Forget all, and read again the events that rows stamped since ``CATCH_UP`` before ``until`` rest on.

        Yields after each part, so that whoever restores can do something else in between; until the end neither ``add``
        nor ``advance`` may be called. The next advance then brings what is due since online, whoever consumed it.
        """
        self._recent.clear()
        self._nothing_is_late()
        self._kept_from, self._last = until - self._kept, until - CATCH_UP
        for kind in self._kinds:
            for events in self._history(kind, self._kept_from, until + SKEW):
                if len(events):
                    self._recent.add(kind, events)
                yield

    def add(self, kind: EventKind, events: pd.DataFrame) -> None:
        """Take valid events; one whose key is known is ignored."""
        if events.empty or kind.topic is None:
            return
        self._recent.add(kind, events)
        late = events[events["received_at"] < self._last]
        if late.empty:
            return
        for view, entities in self._late.items():
            if view.entity in late:
                entities.update(late[view.entity])
        earliest = late["received_at"].min().to_pydatetime()
        self._late_from = min(earliest, self._late_from or earliest)

    def advance(self, until: datetime) -> dict[str, int]:
        """Write what was stamped since the last advance, ``until`` included; rows written by view.

        Time does not go back: at an earlier moment than the last one, nothing is due but what came late.
        """
        until = max(until, self._last)
        written = {view.name: self._advance_view(view, streaming, until) for view, streaming in self._views.items()}
        self._last = until
        self._nothing_is_late()
        if until - self._kept >= self._kept_from + FORGET_EVERY:
            self._kept_from = until - self._kept
            self._recent.forget(self._kept_from)
        return written

    def _advance_view(self, view: FeatureView, streaming: Streaming, until: datetime) -> int:
        waits = (_NO_WAIT, *streaming.leaves_after)
        due = self._recent.entities(view, waits, self._last, until) | self._late[view]
        if not due:
            return 0
        start = self._last if self._late_from is None else self._late_from - _INSTANT
        rows = self._recent.newest_rows(view, due, start, until)
        return self._write_online(view, rows) if len(rows) else 0

    def _nothing_is_late(self) -> None:
        self._late_from = None
        for entities in self._late.values():
            entities.clear()
