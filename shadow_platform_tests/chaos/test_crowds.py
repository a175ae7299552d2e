"""What callers may rely on when ten thousand of them come at once."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from shadow_platform_tests.bento.helpers import body_of
from shadow_platform_tests.chaos.home import Home
from shadow_platform_tests.chaos.ledger import account
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

N_CALLERS = 10_000
MIB = 1 << 20
MOST_GROWTH = 256 * MIB
"""Memory of a worker that may be gone to connections: 25 KB for each of the ten thousand."""


def test_ten_thousand_callers_at_once_are_answered_or_refused_politely(home: Home, repository: Path) -> None:
    workers = [psutil.Process(pid) for pid in home.service.worker_pids]
    before = [worker.memory_info().rss for worker in workers]
    command = [sys.executable, "-m", "shadow_platform_tests.chaos.crowd", home.service.url, str(N_CALLERS)]
    alive = 0
    with (
        subprocess.Popen([*command, json.dumps(body_of(1))], cwd=repository, stdout=subprocess.PIPE) as crowd,
        httpx.Client(base_url=home.service.url, timeout=TIMEOUT_S) as client,
    ):
        while crowd.poll() is None:
            assert client.get("/health").status_code == 200
            alive += 1
        assert crowd.stdout is not None
        answers: dict[str, int] = json.loads(crowd.stdout.read())
    assert answers.keys() <= {"200", "429+", "503+"}, answers
    assert sum(answers.values()) == N_CALLERS
    assert answers["200"] > 0
    assert answers["429+"] > 0
    assert alive > 1
    assert home.service.worker_pids == [worker.pid for worker in workers]
    for worker, rss in zip(workers, before, strict=True):
        assert worker.memory_info().rss - rss < MOST_GROWTH
    load = Load(home.service.url)
    with load.running():
        load.more_answers(50)
    assert set(load.statuses) == {200}
    assert account(load, home.layout).lost == set()
