"""Reads online features beside the event loop, within a time limit, and survives a store that is away.

The store is opened, and only ever touched, by one thread of its own: importing its client takes seconds, and a lookup
that hangs must not hang the worker. Upstream: ``adapters.feature_store``. Downstream: the predictor.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.ports import OnlineFeatures, OnlineRow

LOGGER = logging.getLogger("shadow_platform.online")

LOOKUP_TIMEOUT_S = 0.25
REOPEN_AFTER_S = 5.0


class OnlineReader:
    """Lookups by join keys.

    Args:
        opener: opens the store; called in the reader's thread, again ``REOPEN_AFTER_S`` after it failed.
    """

    def __init__(self, opener: Callable[[], OnlineFeatures], timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        self._opener = opener
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="online")
        self._store: OnlineFeatures | None = None
        self._retry_at = 0.0
        self.problem: str | None = "the feature store is being opened"
        self.has_tried = False
        self._pool.submit(self._open)

    async def read(self, keys: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        """View name -> row for each request's join keys; raises ``FeatureStoreError``."""
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._pool, self._read, keys), self._timeout_s)
        except TimeoutError:
            self.problem = f"a lookup took longer than {self._timeout_s * 1000:.0f} ms"
            raise FeatureStoreError(f"online store: {self.problem}; features are imputed meanwhile") from None

    def probe(self) -> None:
        """Try to open a store that is away, without waiting for it."""
        if self._store is None:
            self._pool.submit(self._open)

    def close(self) -> None:
        """End the thread; a lookup under way is left to itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, keys: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        store = self._store or self._open()
        if store is None:
            raise FeatureStoreError(f"online store: {self.problem}; features are imputed meanwhile")
        try:
            rows = store.read(keys)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            self._store = None
            self._retry_at = time.monotonic() + REOPEN_AFTER_S
            raise FeatureStoreError(f"online store: {self.problem}; features are imputed meanwhile") from error
        self.problem = None
        return rows

    def _open(self) -> OnlineFeatures | None:
        if self._store is not None or time.monotonic() < self._retry_at:
            return self._store
        try:
            self._store = self._opener()
            self.problem = None
        except Exception as error:  # noqa: BLE001 - without the store, features are imputed and readiness says so
            self.problem = f"{type(error).__name__}: {error}"
            LOGGER.error("online store cannot be opened: %s", self.problem)
            self._retry_at = time.monotonic() + REOPEN_AFTER_S
        finally:
            self.has_tried = True
        return self._store
