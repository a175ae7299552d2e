"""``Idempotency-Key``: the same key gives the same answer, the same ``request_id`` and one log row.

The id is derived from the key, so that it is the same in every worker and after a restart, whatever else fails (the
tables keep one row an id). The answer is remembered by the worker, and shared with the other workers through a store
(``bento.answering.answer_store``), which is asked, beside the event loop, only for keys that the worker does not know.
Upstream: callers that repeat a request. Downstream: the predictor.
"""

import asyncio
import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import NamedTuple, TypeVar
from uuid import UUID

from bento.answering.answer_store import KEPT_S, AnswerStore, Claim
from shadow_platform.contracts.errors import RequestError

LOGGER = logging.getLogger("shadow_platform.idempotency")

MAX_KEY = 256
MAX_ENTRIES = 10_000
MAX_BYTES = 32 << 20
PATIENCE_S = 10.0
"""Longest wait for another worker's answer; after it, the waiting worker answers itself."""
STORE_TIMEOUT_S = 2.0
STORE_RETRY_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.1

T = TypeVar("T")
Answer = Callable[[], Awaitable[bytes]]


def request_id_of(use_case: str, key: str, index: int) -> str:
    """UUIDv8 (RFC 9562: built from a hash) of the request at a place of a keyed body."""
    digest = bytearray(blake2b(f"{use_case}\0{key}\0{index}".encode(), digest_size=16).digest())
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(digest)))


def check_key(key: str) -> str:
    """The key; raises ``RequestError`` when it cannot be one."""
    if 1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable():
        return key
    message = f"has {len(key)} characters; expected 1 to {MAX_KEY} printable ASCII ones"
    raise RequestError([{"field": "Idempotency-Key", "message": message}])


def _used_before() -> RequestError:
    message = "was used with another request before; send a new key with a new request"
    return RequestError([{"field": "Idempotency-Key", "message": message}])


class SharedAnswers:
    """Answers of all workers of this machine. Without its store, every worker is on its own.

    Args:
        count_error: called when the store failed or took too long.
    """

    def __init__(self, store: AnswerStore, count_error: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._count_error = count_error
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")
        self._away_until = 0.0
        self._unreleased: set[str] = set()

    async def once(self, key: str, digest: bytes, answer: Answer) -> bytes:
        """The answer that some worker gave, or the one made now; raises ``RequestError`` for another body's key."""
        try:
            claim = await self._claim(key, digest)
            if claim is not None and claim.body is not None:
                return claim.body
            body = await answer()
        except BaseException:
            self._thread.submit(self._release, key)
            raise
        if claim is None:
            return body
        # Whoever stops waiting leaves the call to go on: a claim without its answer holds up the other workers.
        return await self._ask(self._thread.submit(self._keep, key, digest, body)) or body

    def prune(self) -> None:
        """Have old answers forgotten, and claims given up that could not be before, without waiting for it."""
        self._thread.submit(self._prune)

    def close(self) -> None:
        """Release the store, once what was begun is done."""
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=False)

    async def _claim(self, key: str, digest: bytes) -> Claim | None:
        """The claim to answer, or the answer there is, waiting for a worker that is about to give it.

        ``None`` while the store is away: nothing is claimed, answer yourself.
        """
        deadline, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        while True:
            if time.monotonic() < self._away_until:
                return None
            call = self._thread.submit(self._store.claim, key, digest, time.monotonic() >= deadline)
            claim = await self._ask(call)
            if claim is None and not call.cancel():
                self._thread.submit(self._release, key)
            if claim is None or claim.state in ("claimed", "answered"):
                return claim
            if claim.state == "other_body":
                raise _used_before()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _keep(self, key: str, digest: bytes, body: bytes) -> bytes:
        """In the store's thread; what cannot be kept is released with the next pruning."""
        self._unreleased.add(key)
        kept = self._store.keep(key, digest, body)
        self._unreleased.discard(key)
        return kept

    def _release(self, key: str) -> None:
        """In the store's thread; what fails is tried again with the next pruning."""
        self._unreleased.add(key)
        self._store.release(key)
        self._unreleased.discard(key)

    def _prune(self) -> None:
        """In the store's thread."""
        for key in tuple(self._unreleased):
            self._release(key)
        self._store.prune()

    async def _ask(self, call: Future[T]) -> T | None:
        """Result of a call in the store's thread; ``None`` when it fails, or takes too long: it goes on meanwhile."""
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(call)), STORE_TIMEOUT_S)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            self._away_until = time.monotonic() + STORE_RETRY_S
            self._count_error()
            text = str(error) or f"no answer within {STORE_TIMEOUT_S:.0f} s"
            LOGGER.error("store of keyed answers: %s; until it is back, a key counts within one worker alone", text)
            return None


class _Entry(NamedTuple):
    digest: bytes
    future: "asyncio.Future[bytes]"
    made_at: float


class AnswerCache:
    """Answers by key that this worker knows, oldest forgotten first.

    Args:
        shared: answers of the other workers; ``None``: there are none.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        shared: SharedAnswers | None = None,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shared = shared
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0

    async def once(self, key: str, body: bytes, answer: Answer) -> bytes:
        """The remembered answer, or the one made now; an answer that failed is not remembered.

        Raises:
            RequestError: the key was used with another body.
        """
        self._trim()
        digest = blake2b(body, digest_size=16).digest()
        known = self._entries.get(key)
        if known is not None:
            if known.digest != digest:
                raise _used_before()
            return await asyncio.shield(known.future)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._entries[key] = _Entry(digest, future, self._clock())
        try:
            result = await (answer() if self.shared is None else self.shared.once(key, digest, answer))
        except BaseException as error:
            self._entries.pop(key, None)
            future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            future.exception()
            raise
        future.set_result(result)
        self._bytes += len(result)
        return result

    def _trim(self) -> None:
        expired = self._clock() - KEPT_S
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            is_full = len(self._entries) > self._max_entries or self._bytes > self._max_bytes
            if not entry.future.done() or not (is_full or entry.made_at < expired):
                return
            del self._entries[key]
            self._bytes -= len(entry.future.result())
