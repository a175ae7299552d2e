"""What callers and the logs may rely on when nothing more can be written.

A limit on the size of files refuses writes as a full device does, in chosen processes only and without privileges.
"""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx
import pytest

from shadow_platform_tests.bento.helpers import body_of, wait_until
from shadow_platform_tests.chaos.home import Home
from shadow_platform_tests.chaos.ledger import account, conservation, logged
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@contextmanager
def no_space(pids: Sequence[int], n_bytes: int = 100) -> Iterator[None]:
    """Processes that can write no file beyond this size, and the children they start meanwhile."""
    try:
        _limit(pids, (n_bytes, resource.RLIM_INFINITY))
        yield
    finally:
        _limit(pids, UNLIMITED)


def _limit(pids: Sequence[int], sizes: tuple[int, int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a model child that was replaced meanwhile
            resource.prlimit(pid, resource.RLIMIT_FSIZE, sizes)


def test_a_full_disk_is_503_and_never_an_unlogged_answer(home: Home) -> None:
    before = len(logged(home.layout))
    with httpx.Client(base_url=home.service.url, timeout=TIMEOUT_S) as client:
        with no_space(home.service.worker_pids):
            for path, body in (("/predict", body_of(1)), ("/predict/batch", [body_of(1), body_of(2)])):
                response = client.post(path, json=body)
                assert response.status_code == 503
                assert response.headers["content-type"] == "application/problem+json"
                assert "retry-after" in response.headers
                assert response.json()["type"].endswith("log-unavailable")
                assert "free space on the device" in response.json()["detail"]
            wait_until(lambda: client.get("/ready").status_code == 503, "readiness says so")
            assert "log:" in client.get("/ready").json()["detail"]
            assert client.get("/health").status_code == 200
        assert len(logged(home.layout)) == before
        wait_until(lambda: client.get("/ready").status_code == 200, "it is ready again")
        assert client.post("/predict", json=body_of(1)).status_code == 200


def test_a_disk_that_fills_up_under_load_tears_no_line_and_the_service_recovers_by_itself(home: Home) -> None:
    load = Load(home.service.url)
    with load.running():
        for n_bytes in (100, 5_000, 50_000):
            load.more_answers(50)
            n_refused = len(load.refusals)
            with no_space(home.service.worker_pids, n_bytes):
                wait_until(lambda n=n_refused: len(load.refusals) >= n + 20, "requests are refused")  # type: ignore[misc]
        load.more_answers(50)
    assert set(load.statuses) == {200, 503}
    assert all("log-unavailable" in body for _, body in load.refusals)
    found = account(load, home.layout)
    assert (found.lost, found.doubled) == (set(), set())
    assert len(logged(home.layout)) >= found.acknowledged
    home.catch_up()


def test_a_full_shadow_log_stops_the_shadow_alone_and_it_catches_up_later(home: Home) -> None:
    home.catch_up()
    pids = [found.pid for role, each in home.processes().items() if role.startswith("shadow") for found in each]
    before = conservation(home.layout, home.challenger).outcomes
    load = Load(home.service.url)
    with no_space(pids):
        with load.running():
            load.more_answers(600)
        assert conservation(home.layout, home.challenger).outcomes == before
    assert set(load.statuses) == {200}
    assert load.unreachable == []
    home.catch_up()
