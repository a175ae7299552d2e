"""Online rows kept in the worker's memory for a short time, by entity.

Belongs here: what may be served again, and for how long. Does not belong here: reading (``bento.answering.online``),
time to live (``domain.serving``; a row's ``event_at`` is kept, so its age is right). Off unless
``ONLINE_CACHE_SECONDS`` is set. Upstream: ``bento.answering.online``. Downstream: nothing.

A served value is at most ``seconds`` older than the store's at that moment. Entities without a row are kept as such.
When the store is away nothing is served beyond that time.
"""

import time
from collections.abc import Awaitable, Callable

from bento.answering.store_thread import Keys, Rows
from shadow_platform.contracts.ports import OnlineRow

MAX_ENTRIES = 10_000
"""About 40 MB of 25 features each; the oldest entry makes room."""

_Entity = tuple[str, str]


class OnlineCache:
    """Read-through cache of the rows of single entities.

    Args:
        seconds: longest time from asking the store to serving what it said.
        count: told the numbers of hits and misses of each read.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        seconds: float,
        count: Callable[[int, int], object] = lambda _hits, _misses: None,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._count = count
        self._max_entries = max_entries
        self._clock = clock
        # Entries expire in the order in which they were put, because all live equally long.
        self._entries: dict[_Entity, tuple[float, dict[str, OnlineRow]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def read(self, keys: Keys, look_up: Callable[[Keys], Awaitable[Rows]]) -> Rows:
        """Rows for each request's join keys; those not in memory are looked up together.

        A view has one entity, so the rows of a request are those of its entities taken singly.
        """
        now, entries = self._clock(), self._entries
        found: dict[_Entity, dict[str, OnlineRow]] = {}
        missing: dict[_Entity, None] = {}
        n_asked = 0
        for request in keys:
            for entity in request.items():
                n_asked += 1
                entry = entries.get(entity)
                if entry is not None and now < entry[0]:
                    found[entity] = entry[1]
                else:
                    missing[entity] = None
        if missing:
            rows = await look_up([dict([entity]) for entity in missing])
            for entity, row in zip(missing, rows, strict=True):
                found[entity] = row
                self._put(entity, now + self._seconds, row)
        self._count(n_asked - len(missing), len(missing))
        return [_merged([found[entity] for entity in request.items()]) for request in keys]

    def _put(self, entity: _Entity, expires_at: float, row: dict[str, OnlineRow]) -> None:
        self._entries.pop(entity, None)
        if len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[entity] = (expires_at, row)


def _merged(rows: list[dict[str, OnlineRow]]) -> dict[str, OnlineRow]:
    if len(rows) == 1:
        return rows[0]
    return {view: row for found in rows for view, row in found.items()}
