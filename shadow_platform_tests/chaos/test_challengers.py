"""What callers may rely on whatever a challenger does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shadow_platform_tests.bento.bundles import raising_bundle, slow_bundle
from shadow_platform_tests.chaos.home import Home
from shadow_platform_tests.chaos.ledger import conservation, foreign_answers
from shadow_platform_tests.chaos.load import Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

MISBEHAVING: dict[str, Callable[[Path], str]] = {"slow": slow_bundle, "raising": raising_bundle}


@pytest.mark.parametrize("kind", MISBEHAVING)
def test_the_champion_answers_the_same_beside_a_misbehaving_challenger(kind: str, home: Home) -> None:
    home.wait_whole(home.deploy(challenger=MISBEHAVING[kind](home.layout.bundles)))
    load = Load(home.service.url)
    with load.running(1):
        load.more_answers(130)
    assert set(load.statuses) == {200}
    assert foreign_answers(load, home.layout, [home.manifest.champion]) == []
    home.catch_up()
    balance = conservation(home.layout, home.challenger)
    assert balance.sent >= 130
    assert (balance.outcomes["failed"] > 0) == (kind == "raising")
