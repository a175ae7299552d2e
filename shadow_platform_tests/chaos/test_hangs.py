"""What callers and the logs may rely on when a process of the service stops without ending."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import psutil
import pytest

from shadow_platform_tests.bento.helpers import body_of, wait_until
from shadow_platform_tests.chaos.home import Home, descendants
from shadow_platform_tests.chaos.ledger import account
from shadow_platform_tests.chaos.load import Load, answer_of

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]


@contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Processes that do nothing while the block runs."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_a_shadow_worker_that_hangs_is_not_noticed_by_callers(home: Home) -> None:
    leader = psutil.Process(home.service.shadow_pid)
    load = Load(home.service.url)
    with stopped([leader, *descendants(leader)]), load.running():
        load.more_answers(300)
    assert set(load.statuses) == {200}
    assert load.unreachable == []
    home.catch_up()


def test_a_worker_that_hangs_leaves_the_others_answering_and_loses_nothing_once_it_goes_on(home: Home) -> None:
    worker = psutil.Process(home.service.worker_pids[0])
    load, fresh = Load(home.service.url), Load(home.service.url)
    with load.running(8):
        load.more_answers(100)
        with stopped([worker]), httpx.Client(base_url=home.service.url, timeout=1.0) as client:

            def is_answered(index: int) -> bool:
                try:
                    fresh.answers.append(answer_of(index, client.post("/predict", json=body_of(index)).json()))
                except httpx.TimeoutException:
                    return False
                return True

            for index in range(50):
                wait_until(lambda i=index: is_answered(i), "another worker takes the request")  # type: ignore[misc]
        load.more_answers(100)
    assert set(load.statuses) == {200}
    assert load.unreachable == []
    for callers in (load, fresh):
        found = account(callers, home.layout)
        assert (found.lost, found.doubled) == (set(), set())
    home.catch_up()
