"""The one thread that opens and touches the online store, so that a store that hangs holds up nobody else.

Belongs here: doing lookups one after another, those that wait together as one. Does not belong here: deadlines and what
to do without an answer (``bento.answering.online``). Upstream: ``bento.answering.online``. Downstream:
``adapters.feature_store``.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue

from shadow_platform.contracts.ports import OnlineFeatures, OnlineRow

HUNG_AFTER_S = 5.0
"""A lookup that takes longer is given up together with its thread."""
OPENING_HUNG_AFTER_S = 60.0
"""Opening loads the store's client, which costs seconds of CPU."""

MAX_KEYS = 2000
"""Lookups that wait together are done as one up to this many keys, so that one lookup stays well within a deadline."""

Keys = Sequence[Mapping[str, str]]
Rows = list[dict[str, OnlineRow]]
Outcome = Rows | Exception
Done = Callable[[Outcome, float], None]
"""Called in the store's thread with rows or error, and the seconds the store took."""
Job = tuple[Keys, Done]


class StoreThread:
    """Lookups in a thread of their own.

    Args:
        opener: opens the store; called before the first lookup, and before the next one after an error.
    """

    def __init__(self, opener: Callable[[], OnlineFeatures]) -> None:
        self._opener = opener
        self._store: OnlineFeatures | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._is_left = False
        threading.Thread(target=self._work, name="online", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a lookup is under way."""
        return self._busy_since is not None

    @property
    def is_hung(self) -> bool:
        """Whether a lookup has been under way for longer than any answer is worth."""
        limit_s = OPENING_HUNG_AFTER_S if self._store is None else HUNG_AFTER_S
        since = self._busy_since
        return since is not None and time.monotonic() - since > limit_s

    def submit(self, keys: Keys, done: Done) -> None:
        """Look up when the lookups before it are done."""
        self._jobs.put((keys, done))

    def leave(self) -> None:
        """End the thread when its lookup ends, if it does; nobody is told what becomes of it."""
        self._is_left = True
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            while not self._jobs.empty() and (job := self._jobs.get()) is not None:
                jobs.append(job)
            for part in _parts(jobs):
                if not self._is_left:
                    self._look_up(part)
            if self._is_left or job is None:
                return

    def _look_up(self, jobs: list[Job]) -> None:
        keys = jobs[0][0] if len(jobs) == 1 else [key for part, _ in jobs for key in part]
        outcome, seconds = self._read(keys)
        start = 0
        for part, done in jobs:
            stop = start + len(part)
            if not self._is_left:
                done(outcome if isinstance(outcome, Exception) else outcome[start:stop], seconds)
            start = stop

    def _read(self, keys: Keys) -> tuple[Outcome, float]:
        self._busy_since = started = time.monotonic()
        try:
            if self._store is None:
                self._store = self._opener()
                started = time.monotonic()
            return self._store.read(keys), time.monotonic() - started
        except Exception as error:  # noqa: BLE001 - the reader decides what an answerless lookup means
            self._store = None
            return error, time.monotonic() - started
        finally:
            self._busy_since = None


def _parts(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in order, together as long as they have no more than ``MAX_KEYS`` keys."""
    part: list[Job] = []
    n_keys = 0
    for job in jobs:
        if part and n_keys + len(job[0]) > MAX_KEYS:
            yield part
            part, n_keys = [], 0
        part.append(job)
        n_keys += len(job[0])
    yield part
