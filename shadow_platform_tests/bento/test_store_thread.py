"""How much one lookup of the online store may be asked for, however many requests wait for it together."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bento.answering.online import OnlineReader
from bento.answering.store_thread import MAX_KEYS
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform_tests.bento.helpers import wait_until

NOW = datetime.now(UTC)


class GatedStore:
    """Knows everybody by number, and answers once its gate is open."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        if entities:
            self.sizes.append(len(entities))
            self.gate.wait()
        return [{"numbers": OnlineRow({"n": float(entity["id"])}, NOW)} for entity in entities]


def test_requests_that_wait_together_share_lookups_of_a_bounded_size_and_get_their_own_rows() -> None:
    store, n_keys = GatedStore(), MAX_KEYS * 2 // 5
    reader = OnlineReader(lambda: store, timeout_s=60.0)
    wait_until(lambda: reader.has_tried, "the store is opened")

    async def ask(number: int) -> set[object]:
        return {row["numbers"].values["n"] for row in await reader.read([{"id": str(number)}] * n_keys)}

    async def together() -> list[set[object]]:
        calls = [asyncio.create_task(ask(0))]
        while not store.sizes:
            await asyncio.sleep(0)
        for turn in (range(1, 4), range(4, 5), range(5, 9)):
            calls += [asyncio.create_task(ask(number)) for number in turn]
            await asyncio.sleep(0.01)
        store.gate.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(together()) == [{float(number)} for number in range(9)]
    reader.close()
    assert sum(store.sizes) == 9 * n_keys
    assert max(store.sizes) == 2 * n_keys <= MAX_KEYS
