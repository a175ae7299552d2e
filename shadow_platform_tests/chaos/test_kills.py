"""What callers and the logs may rely on when any process of the service is killed at any moment."""

from random import Random

import pytest

from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.chaos.home import HEAL_S, Home, kill
from shadow_platform_tests.chaos.ledger import account, foreign_answers
from shadow_platform_tests.chaos.load import Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]


ROLES = ("guard", "server", "server's child", "server's grandchild", "shadow worker", "shadow worker's child")


def test_sigkill_of_any_process_under_load_loses_and_doubles_nothing(home: Home) -> None:
    rng, load, url = Random(20), Load(home.service.url), home.service.url
    with load.running():
        home.wait_explained()
        wait_until(lambda: tuple(sorted(home.processes())) == ROLES, "every kind of process is there", HEAL_S)
        for role in rng.sample(ROLES, len(ROLES)):
            load.more_answers(rng.randrange(20, 200))
            if role == "server's grandchild":
                home.wait_explained()
            kill(home, role, rng)
            load.more_answers(50)
            home.wait_whole()
            found = account(load, home.layout)
            assert (found.lost, found.doubled) == (set(), set()), role
    home.catch_up()
    assert set(load.statuses) == {200}
    assert foreign_answers(load, home.layout, [home.manifest.champion]) == []
    assert home.service.url == url
