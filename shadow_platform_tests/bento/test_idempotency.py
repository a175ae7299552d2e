"""The same key gives the same answer: within a worker, between workers, and when the store between them is away."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.answering import idempotency
from bento.answering.answer_store import AnswerStore, Claim
from bento.answering.idempotency import AnswerCache, SharedAnswers, check_key, request_id_of
from shadow_platform.contracts.errors import RequestError

OTHER_PID = os.getppid()
"""Of a process that lives as long as this test."""


class Counted:
    """An answer that takes a moment, counts how often it was made, and is another each time."""

    def __init__(self, name: str = "answer") -> None:
        self.name = name
        self.n = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> bytes:
        self.n += 1
        n = self.n
        await self.may_end.wait()
        return f"{self.name} {n}".encode()


class TwoWorkers:
    """Two workers of one machine, with one store."""

    def __init__(self, path: Path, patience_s: float = 120.0) -> None:
        self.errors: list[int] = []
        self.stores = [AnswerStore(path), AnswerStore(path)]
        self.stores[1]._pid = OTHER_PID
        self.shared = [SharedAnswers(store, lambda: self.errors.append(1), patience_s) for store in self.stores]
        self.workers = [AnswerCache(shared) for shared in self.shared]


@pytest.fixture(autouse=True)
def slow_device() -> Iterator[None]:
    """A store whose device is busy is away for nobody here, and one that is away comes back within no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idempotency, "STORE_TIMEOUT_S", 60.0)
        patch.setattr(idempotency, "STORE_RETRY_S", 3600.0)
        yield


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoWorkers]:
    found = TwoWorkers(tmp_path / "answers.db")
    yield found
    for shared in found.shared:
        shared.close()


def run(call: Callable[[], Awaitable[object]]) -> None:
    async def all_of() -> None:
        await call()

    asyncio.run(all_of())


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 1000))
def test_the_request_id_of_a_key_is_always_the_same_and_no_other_s(use_case: str, key: str, index: int) -> None:
    found = request_id_of(use_case, key, index)
    assert UUID(found).version == 8
    assert found == request_id_of(use_case, key, index)
    assert found not in {request_id_of(use_case, key, index + 1), request_id_of(use_case, f"{key}x", index)}


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb", "ключ"])
def test_a_key_is_short_and_printable(key: str) -> None:
    with pytest.raises(RequestError, match="expected 1 to 256 printable ASCII ones"):
        check_key(key)


def test_concurrent_requests_with_one_key_are_answered_once_in_whichever_worker(two: TwoWorkers) -> None:
    async def ask() -> None:
        answer = Counted()
        answer.may_end.clear()
        calls = [asyncio.ensure_future(two.workers[i % 2].once("k", b"body", answer)) for i in range(20)]
        while not answer.n:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        answer.may_end.set()
        assert set(await asyncio.gather(*calls)) == {b"answer 1"}
        assert answer.n == 1

    run(ask)
    assert two.errors == []


def test_an_answer_outlives_the_worker_that_gave_it(two: TwoWorkers, tmp_path: Path) -> None:
    async def ask() -> None:
        answer = Counted()
        assert await two.workers[0].once("k", b"body", answer) == b"answer 1"
        reborn = TwoWorkers(tmp_path / "answers.db")
        assert await reborn.workers[1].once("k", b"body", answer) == b"answer 1"
        for shared in reborn.shared:
            shared.close()

    run(ask)


def test_another_body_with_the_same_key_is_refused_by_every_worker(two: TwoWorkers) -> None:
    async def ask() -> None:
        answer = Counted()
        await two.workers[0].once("k", b"body", answer)
        for worker in two.workers:
            with pytest.raises(RequestError, match="used with another request"):
                await worker.once("k", b"other", answer)
        assert answer.n == 1

    run(ask)


def test_an_answer_that_failed_is_not_remembered(two: TwoWorkers) -> None:
    async def fail() -> bytes:
        raise ValueError("no")

    async def ask() -> None:
        for worker in two.workers:
            with pytest.raises(ValueError, match="no"):
                await worker.once("k", b"body", fail)
        assert await two.workers[1].once("k", b"other", Counted()) == b"answer 1"

    run(ask)


def test_the_claim_of_a_dead_worker_is_taken_over(two: TwoWorkers) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    two.stores[1]._pid = ended.pid
    digest = blake2b(b"body", digest_size=16).digest()
    assert two.stores[1].claim("k", digest).state == "claimed"

    async def ask() -> None:
        assert await two.workers[0].once("k", b"body", Counted()) == b"answer 1"

    run(ask)


def test_waiting_for_a_worker_that_hangs_has_an_end_and_both_callers_get_one_answer(tmp_path: Path) -> None:
    two = TwoWorkers(tmp_path / "answers.db", patience_s=0.3)

    async def ask() -> None:
        hanging, quick = Counted("hanging"), Counted("quick")
        hanging.may_end.clear()
        first = asyncio.ensure_future(two.workers[1].once("k", b"body", hanging))
        while not hanging.n:
            await asyncio.sleep(0.01)
        assert await two.workers[0].once("k", b"body", quick) == b"quick 1"
        hanging.may_end.set()
        assert await first == b"quick 1"

    run(ask)


def test_answers_expire(tmp_path: Path) -> None:
    now = [1000.0]
    store = AnswerStore(tmp_path / "answers.db", kept_s=60.0, clock=lambda: now[0])
    assert store.claim("k", b"1").state == "claimed"
    assert store.keep("k", b"1", b"answer") == b"answer"
    assert store.claim("k", b"1").body == b"answer"
    now[0] += 61.0
    assert store.claim("k", b"2").state == "claimed"
    now[0] += 61.0
    store.prune()
    store.close()
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    connection.close()


def test_the_store_stays_within_its_bound_and_forgets_the_oldest_first(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.db", max_bytes=2 << 20)
    for index in range(3000):
        assert store.claim(f"k-{index}", b"1").state == "claimed"
        store.keep(f"k-{index}", b"1", b"x" * 1000)
    store.prune()
    assert store.claim("k-0", b"1").state == "claimed"
    assert store.claim("k-2999", b"1").state == "answered"
    store.close()


def test_one_worker_s_memory_is_bounded_and_expires() -> None:
    now = [0.0]

    async def ask() -> None:
        cache, answer = AnswerCache(max_entries=3, clock=lambda: now[0]), Counted()
        for index in range(10):
            await cache.once(f"k-{index}", b"body", answer)
        assert await cache.once("k-9", b"body", answer) == b"answer 10"
        assert await cache.once("k-0", b"body", answer) == b"answer 11"
        now[0] += 25 * 3600.0
        assert await cache.once("k-9", b"body", answer) == b"answer 12"

    run(ask)


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 100)


@pytest.mark.parametrize("make", [_garbage, Path.mkdir])
def test_a_broken_store_is_counted_and_every_request_is_answered(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "answers.db")
    two = TwoWorkers(tmp_path / "answers.db")

    async def ask() -> None:
        answer = Counted()
        assert await two.workers[0].once("k", b"body", answer) == b"answer 1"
        assert await two.workers[0].once("k", b"body", answer) == b"answer 1"
        assert await two.workers[1].once("k", b"body", answer) == b"answer 2"

    run(ask)
    assert two.errors == [1, 1]


def test_a_store_that_is_locked_does_not_hold_answers_up_one_after_the_other(two: TwoWorkers, tmp_path: Path) -> None:
    two.stores[0].claim("first", b"1")
    locker = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")

    async def ask() -> None:
        answer = Counted()
        for index in range(50):
            await two.workers[0].once(f"k-{index}", b"body", answer)
        assert answer.n == 50

    run(ask)
    assert two.errors == [1]
    locker.execute("ROLLBACK")
    locker.close()


PATIENCE_OF_A_TEST_S = 60.0
"""Half of what a worker waits for another one's answer: within it, a claim that nobody settles is not got over."""


async def begun(two: TwoWorkers, key: str) -> tuple[Counted, "asyncio.Task[bytes]"]:
    """An answer of the first worker that has claimed its key and has not ended."""
    answer = Counted()
    answer.may_end.clear()
    call = asyncio.create_task(two.workers[0].once(key, b"body", answer))
    while not answer.n:
        await asyncio.sleep(0.01)
    return answer, call


def test_a_slow_call_of_the_store_leaves_no_claim_without_its_answer(
    two: TwoWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, other = threading.Event(), Counted("other")

    async def ask() -> None:
        answers = [await begun(two, f"k-{i}") for i in range(3)]
        two.shared[0]._thread.submit(gate.wait)
        monkeypatch.setattr(idempotency, "STORE_TIMEOUT_S", 0.05)
        for answer, call in answers:
            answer.may_end.set()
            assert await call == b"answer 1"
        monkeypatch.undo()
        gate.set()
        for i in range(3):
            call = asyncio.create_task(two.workers[1].once(f"k-{i}", b"body", other))
            assert await asyncio.wait_for(call, PATIENCE_OF_A_TEST_S) == b"answer 1"

    run(ask)
    assert other.n == 0


def test_a_claim_whose_answer_the_store_refuses_is_given_up_once_it_can_be(two: TwoWorkers, tmp_path: Path) -> None:
    async def ask() -> None:
        answer, call = await begun(two, "k")
        locker = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        answer.may_end.set()
        assert await call == b"answer 1"
        locker.execute("ROLLBACK")
        locker.close()
        two.shared[0].prune()
        other = two.workers[1].once("k", b"body", Counted("other"))
        assert await asyncio.wait_for(other, PATIENCE_OF_A_TEST_S) == b"other 1"

    run(ask)
    assert two.errors == [1]


def test_a_claim_that_came_too_late_for_its_request_is_given_up(
    two: TwoWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, claim = threading.Event(), two.stores[0].claim

    def slow_claim(key: str, digest: bytes, is_impatient: bool = False) -> Claim:
        gate.wait()
        return claim(key, digest, is_impatient)

    async def ask() -> None:
        monkeypatch.setattr(two.stores[0], "claim", slow_claim)
        monkeypatch.setattr(idempotency, "STORE_TIMEOUT_S", 0.05)
        assert await two.workers[0].once("k", b"body", Counted()) == b"answer 1"
        monkeypatch.undo()
        gate.set()
        await asyncio.wrap_future(two.shared[0]._thread.submit(lambda: None))
        other = two.workers[1].once("k", b"body", Counted("other"))
        assert await asyncio.wait_for(other, PATIENCE_OF_A_TEST_S) == b"other 1"

    run(ask)
