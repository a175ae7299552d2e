"""Reads online features beside the event loop, within a time limit, and survives a store that is away.

Belongs here: sharing one lookup among the requests that wait together, the deadline, and the circuit that keeps
requests from waiting for a store known to be away. Does not belong here: touching the store
(``bento.answering.store_thread``), what is served without it (``bento.answering.features``). Upstream:
``bento.answering.features``. Downstream: ``bento.answering.store_thread``.

The circuit: an error, or a lookup that misses the deadline, opens it. While it is open requests are refused at once,
and one lookup every ``PROBE_EVERY_S`` is tried for which nobody waits; one that answers in time closes it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Literal

from bento.answering.online_cache import OnlineCache
from bento.answering.store_thread import MAX_KEYS, Keys, Outcome, Rows, StoreThread
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.ports import OnlineFeatures
from shadow_platform.telemetry.logs import problem_of

LOGGER = logging.getLogger("shadow_platform.online")

LOOKUP_TIMEOUT_S = 0.25
PROBE_EVERY_S = 1.0
MAX_HUNG_THREADS = 3
"""A thread in a lookup that never ends cannot be ended; when so many are left behind, no further one is tried."""

Reason = Literal["timeout", "error", "skipped"]


class OnlineStoreAway(FeatureStoreError):
    """No online features now. ``reason``: the deadline passed, the store failed, or it was not asked at all."""

    def __init__(self, reason: Reason, problem: str | None) -> None:
        self.reason = reason
        super().__init__(f"online store: {problem}; features are imputed meanwhile")


class OnlineReader:
    """Lookups by join keys, for one event loop at a time.

    Args:
        opener: opens the store; called in the store's thread, at once and again after it failed.
        timeout_s: longest wait of a request, seconds.
        cache: rows read before, if they may be served again.
        observe: told how long each lookup took, milliseconds.
    """

    def __init__(
        self,
        opener: Callable[[], OnlineFeatures],
        timeout_s: float = LOOKUP_TIMEOUT_S,
        cache: OnlineCache | None = None,
        observe: Callable[[float], object] = lambda _ms: None,
    ) -> None:
        self._opener = opener
        self._timeout_s = timeout_s
        self._cache = cache
        self._observe = observe
        self.problem: str | None = "the feature store is being opened"
        self.has_tried = False
        self._is_away = False
        self._probe_at = 0.0
        self._probing = threading.Lock()
        self._last: Keys = []
        self._batch: _Batch | None = None
        self._hung: list[StoreThread] = []
        self._thread = StoreThread(opener)
        self._thread.submit([], self._note)

    async def read(self, keys: Keys) -> Rows:
        """View name -> row for each request's join keys; raises ``OnlineStoreAway``."""
        if self._cache is None:
            return await self._read(keys)
        return await self._cache.read(keys, self._read)

    def probe(self) -> None:
        """Ask a store that is away whether it is back, without waiting for it, if it is time to."""
        if not self._is_away or time.monotonic() < self._probe_at or not self._probing.acquire(blocking=False):
            return
        try:
            self._probe_at = time.monotonic() + PROBE_EVERY_S
            self._replace_hung()
            if not self._thread.is_busy:
                self._thread.submit(self._last, self._note)
        finally:
            self._probing.release()

    def close(self) -> None:
        """End the thread; a lookup under way is left to itself."""
        self._thread.leave()

    async def _read(self, keys: Keys) -> Rows:
        if self._is_away:
            self.probe()
            raise OnlineStoreAway("skipped", self.problem)
        loop = asyncio.get_running_loop()
        batch = self._batch
        if batch is None or batch.loop is not loop or len(batch.keys) + len(keys) > MAX_KEYS:
            batch = self._batch = _Batch(loop)
            # In a context of their own: what is said then is said for all of them, not for the first that came.
            batch.timer = loop.call_later(self._timeout_s, self._expire, batch, context=Context())
            # Requests that arrived together run in one turn of the loop, so the next turn finds them all.
            loop.call_soon(self._send, batch, context=Context())
        return await batch.add(keys)

    def _send(self, batch: "_Batch") -> None:
        if self._batch is batch:
            self._batch = None
        self._last = batch.keys[:1]
        self._thread.submit(batch.keys, partial(self._answer, batch))

    def _answer(self, batch: "_Batch", outcome: Outcome, seconds: float) -> None:
        """In the store's thread."""
        self._note(outcome, seconds)
        batch.outcome = outcome
        try:
            batch.loop.call_soon_threadsafe(self._finish, batch)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def _note(self, outcome: Outcome, seconds: float) -> None:
        """Open or close the circuit; in the store's thread."""
        if isinstance(outcome, Exception):
            if not self._is_away:
                LOGGER.debug("online store: %s: %s", type(outcome).__name__, outcome)
            self._trip(_said_of(outcome))
        elif seconds > self._timeout_s:
            self._trip(self._too_long)
        else:
            if self._is_away:
                LOGGER.warning("online store answers again")
            self._is_away, self.problem = False, None
        self.has_tried = True

    def _finish(self, batch: "_Batch") -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        if batch.is_waited_for:
            self._observe((time.perf_counter() - batch.began) * 1000.0)
        if isinstance(batch.outcome, list):
            batch.resolve(batch.outcome)
        else:
            batch.reject("error", self.problem)

    def _expire(self, batch: "_Batch") -> None:
        # A loop that was itself late finds the deadline and the answer at once.
        if batch.outcome is not None:
            return
        self._trip(self._too_long if self.has_tried else str(self.problem))
        self._observe(self._timeout_s * 1000.0)
        batch.reject("timeout", self.problem)

    def _trip(self, problem: str) -> None:
        if not self._is_away:
            LOGGER.error("online store: %s; features are imputed meanwhile", problem)
            self._probe_at = time.monotonic() + PROBE_EVERY_S
        self._is_away, self.problem = True, problem

    @property
    def _too_long(self) -> str:
        return f"a lookup took longer than {self._timeout_s * 1000:.0f} ms"

    def _replace_hung(self) -> None:
        self._hung = [thread for thread in self._hung if thread.is_busy]
        if self._thread.is_hung and len(self._hung) < MAX_HUNG_THREADS:
            self._thread.leave()
            self._hung.append(self._thread)
            self._thread = StoreThread(self._opener)


def _said_of(error: Exception) -> str:
    """What may be said of a failed lookup: all of it, unless its words or those of its cause may quote a value.

    A store's client words what the store or the system did; what Python's own errors say is made of what they met.
    """
    cause = error.__cause__ or error
    quotes = type(cause).__module__ == "builtins" and not isinstance(cause, OSError)
    if isinstance(error, FeatureStoreError) and not quotes:
        return f"{type(error).__name__}: {error}"
    return f"{problem_of(error)}: {problem_of(cause)}" if cause is not error else problem_of(error)


class _Batch:
    """Requests whose rows are read by one lookup."""

    __slots__ = ("_waiters", "began", "keys", "loop", "outcome", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timer: asyncio.TimerHandle | None = None
        self.began = time.perf_counter()
        self.keys: list[Mapping[str, str]] = []
        self.outcome: Outcome | None = None
        self._waiters: list[tuple[asyncio.Future[Rows], int]] = []

    def add(self, keys: Keys) -> "asyncio.Future[Rows]":
        """The future rows of further keys."""
        waiter: asyncio.Future[Rows] = self.loop.create_future()
        self._waiters.append((waiter, len(keys)))
        self.keys.extend(keys)
        return waiter

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody still wants the rows."""
        return any(not waiter.done() for waiter, _ in self._waiters)

    def resolve(self, rows: Rows) -> None:
        """Hand everybody their own rows; who was cancelled gets none."""
        start = 0
        for waiter, n in self._waiters:
            if not waiter.done():
                waiter.set_result(rows[start : start + n])
            start += n

    def reject(self, reason: Reason, problem: str | None) -> None:
        """Tell everybody that there are none."""
        for waiter, _ in self._waiters:
            if not waiter.done():
                waiter.set_exception(OnlineStoreAway(reason, problem))
