"""What is in the platform's home when relays and landers are killed at any moment."""

import threading
import time
from random import Random

import pytest

from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import Way, append, contents, numbers, of_all, records
from shadow_platform_tests.log_transport.dying import Carriers, writing

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
PATIENCE_S = 240.0
WAITS = "waiting until it ends"
N_KILLS = 6


def test_sigkill_of_relays_and_landers_at_any_moment_loses_and_doubles_nothing(way: Way, broker: Broker) -> None:
    servers, rng = [way.server("first"), way.server("second")], Random(11)
    carriers = Carriers(way, broker, ["first", "second"])
    try:
        with writing(servers, lines_per_s=1500) as acknowledged:
            wait_until(lambda: bool(contents(way.platform)), "it lands", PATIENCE_S)
            for _ in range(N_KILLS):
                time.sleep(rng.uniform(0.05, 0.9))
                carriers.kill_one(rng)
        wait_until(lambda: contents(way.platform) == of_all(*servers), "everything landed", PATIENCE_S)
    finally:
        carriers.stop()
    assert numbers(way.platform) == acknowledged


def test_a_second_lander_of_a_home_waits_and_takes_over_when_the_first_is_killed(way: Way, broker: Broker) -> None:
    server = way.server("server")
    first, second = Carriers(way, broker, ["server"]), Carriers(way, broker, [])
    try:
        append(server, records(100))
        wait_until(lambda: contents(way.platform) == contents(server), "one of them landed it", PATIENCE_S)
        landers = [carriers._started["platform"] for carriers in (first, second)]
        wait_until(lambda: any(WAITS in lander.text() for lander in landers), "the other waits", PATIENCE_S)
        (leading,) = (lander for lander in landers if WAITS not in lander.text())
        leading.process.kill()
        append(server, records(100, first=100))
        wait_until(lambda: contents(way.platform) == contents(server), "the other took over", PATIENCE_S)
    finally:
        first.stop()
        second.stop()
    assert numbers(way.platform) == list(range(200))


def test_a_log_that_is_landed_here_is_not_relayed_from_here(way: Way) -> None:
    from shadow_platform.log_transport.turns import turn

    stopped = threading.Event()
    with turn(way.platform, "shop", ["predictions", "failures"], lambda: False) as is_ours:
        assert is_ours
        threading.Timer(0.3, stopped.set).start()
        with turn(way.platform, "shop", ["failures"], stopped.is_set) as is_theirs:
            assert not is_theirs
        with turn(way.platform, "shop", ["shadow"], lambda: False) as is_another:
            assert is_another
