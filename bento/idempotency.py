"""``Idempotency-Key``: the same key gives the same answer, the same ``request_id`` and one log row.

The id is derived from the key, so that it is the same in every worker and after a restart (the tables keep one row an
id); the answer itself is remembered per worker within bounds, so that a repeated request is neither scored nor logged
again. Upstream: callers that repeat a request. Downstream: the predictor.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from uuid import UUID

from shadow_platform.contracts.errors import RequestError

MAX_KEY = 256
MAX_ENTRIES = 10_000
MAX_BYTES = 32 << 20


def request_id_of(use_case: str, key: str, index: int) -> str:
    """UUIDv8 (RFC 9562: built from a hash) of the request at a place of a keyed body."""
    digest = bytearray(blake2b(f"{use_case}\0{key}\0{index}".encode(), digest_size=16).digest())
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(digest)))


def check_key(key: str) -> str:
    """The key; raises ``RequestError`` when it cannot be one."""
    if 1 <= len(key) <= MAX_KEY and key.isprintable():
        return key
    message = f"has {len(key)} characters; expected 1 to {MAX_KEY} printable ones"
    raise RequestError([{"field": "Idempotency-Key", "message": message}])


class AnswerCache:
    """Answers by key, oldest forgotten first."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._entries: OrderedDict[str, tuple[bytes, asyncio.Future[bytes]]] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0

    async def once(self, key: str, body: bytes, answer: Callable[[], Awaitable[bytes]]) -> bytes:
        """The remembered answer, or the one made now; an answer that failed is not remembered.

        Raises:
            RequestError: the key was used with another body.
        """
        digest = blake2b(body, digest_size=16).digest()
        known = self._entries.get(key)
        if known is not None:
            if known[0] != digest:
                message = "was used with another body before; send a new key with a new request"
                raise RequestError([{"field": "Idempotency-Key", "message": message}])
            return await asyncio.shield(known[1])
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._entries[key] = (digest, future)
        try:
            result = await answer()
        except BaseException as error:
            self._entries.pop(key, None)
            future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            future.exception()
            raise
        future.set_result(result)
        self._bytes += len(result)
        self._trim()
        return result

    def _trim(self) -> None:
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            key, (digest, future) = self._entries.popitem(last=False)
            if not future.done():
                self._entries[key] = (digest, future)
                return
            self._bytes -= len(future.result())
