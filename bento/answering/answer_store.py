"""Answers by ``Idempotency-Key``, shared by the workers of one machine and kept over restarts (SQLite).

Belongs here: who may answer a key, and what was answered. Does not belong here: waiting, the memory of one worker, and
what happens when this store is away (``bento.answering.idempotency``). Upstream and downstream:
``bento.answering.idempotency``.

A worker claims a key before it answers and stores the answer before it gives it, so whatever a caller was told is what
every later caller is told. A claim ends with its worker.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from shadow_platform.adapters.deployment.worker_states import is_running

KEPT_S = 24 * 3600.0
MAX_BYTES = 256 << 20
BUSY_TIMEOUT_S = 1.0
OPEN_ATTEMPTS = 50
PRUNED_AT_ONCE = 1000

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, digest BLOB NOT NULL, owner INTEGER NOT NULL, claimed_at REAL NOT NULL, body BLOB
)
"""
USED_BYTES = """
SELECT (page_count - freelist_count) * page_size
FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()
"""


class Claim(NamedTuple):
    """What became of an attempt to answer a key.

    Attributes:
        state: ``claimed``: answer it; ``answered``: with ``body``; ``taken``: another worker is about to;
            ``other_body``: the key belongs to another request.
    """

    state: Literal["claimed", "answered", "taken", "other_body"]
    body: bytes | None = None


class AnswerStore:
    """One connection, opened when first needed; to be used by one thread. Raises ``sqlite3.Error``.

    Args:
        clock: wall clock, seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        kept_s: float = KEPT_S,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._kept_s = kept_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None

    def claim(self, key: str, digest: bytes, is_impatient: bool = False) -> Claim:
        """Take the key, unless it is answered or another live worker has it; the impatient take it from that one."""
        with self._transaction() as connection:
            row = connection.execute("SELECT digest, owner, claimed_at, body FROM answers WHERE key = ?", (key,))
            found = row.fetchone()
            now = self._clock()
            if found is not None and now - found[2] <= self._kept_s:
                known, owner, _, body = found
                if known != digest:
                    return Claim("other_body")
                if body is not None:
                    return Claim("answered", body)
                if owner != self._pid and is_running(owner) and not is_impatient:
                    return Claim("taken")
            connection.execute("REPLACE INTO answers VALUES (?, ?, ?, ?, NULL)", (key, digest, self._pid, now))
            return Claim("claimed")

    def keep(self, key: str, digest: bytes, body: bytes) -> bytes:
        """Store an answer; returns the one that counts, which is another worker's if that was first."""
        with self._transaction() as connection:
            place = (key, digest)
            connection.execute(
                "UPDATE answers SET body = ? WHERE key = ? AND digest = ? AND body IS NULL", (body, *place)
            )
            found = connection.execute("SELECT body FROM answers WHERE key = ? AND digest = ?", place).fetchone()
        return body if found is None else bytes(found[0])

    def release(self, key: str) -> None:
        """Give up a claim whose answer failed."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE key = ? AND owner = ? AND body IS NULL", (key, self._pid))

    def prune(self) -> None:
        """Forget expired answers, and the oldest ones while the file holds too much; a few a transaction."""
        while self._connection is not None and self._prune_some():
            pass

    def close(self) -> None:
        """Release the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _prune_some(self) -> int:
        delete = f"DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY rowid LIMIT {PRUNED_AT_ONCE})"
        with self._transaction() as connection:
            n_expired = connection.execute(f"{delete} AND claimed_at < ?", (self._clock() - self._kept_s,)).rowcount
            if n_expired or connection.execute(USED_BYTES).fetchone()[0] <= self._max_bytes:
                return n_expired
            return connection.execute(delete).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection or self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        for attempt in range(1, OPEN_ATTEMPTS + 1):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # two workers that change the mode at once do not wait for each other
                if attempt == OPEN_ATTEMPTS:
                    connection.close()
                    raise
                time.sleep(0.02)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(SCHEMA)
        self._connection = connection
        return connection
