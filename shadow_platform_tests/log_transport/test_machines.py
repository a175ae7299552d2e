"""Two machines answer, a third shadows and guards: each request is compared once, and a promotion reaches both."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bento.serve import GUARD, RELAY, SERVER, SHADOW, RunningService, free_port, running_service
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, body_of, deploy, predictions, settings_at, wait_until
from shadow_platform_tests.bento.shadowed import has_each_once
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import Way, contents, of_all, running

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
N_REQUESTS = 60
PATIENCE_S = 240.0


def settings_of(way: Way, broker: Broker, name: str, **values: object) -> Settings:
    """Settings of one machine of the cluster."""
    kafka = {"kafka_bootstrap_servers": broker.servers, "kafka_config": broker.properties}
    transport = {"log_transport": "kafka", "kafka_log_prefix": way.prefix}
    return settings_at(way.folder / name, **kafka, **transport, **values)


@pytest.fixture
def answering(way: Way, broker: Broker) -> Iterator[list[RunningService]]:
    """Two services that take their models from the platform's home, and write nothing there."""
    layout = way.platform
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    before = {path: path.stat().st_mtime_ns for path in layout.home.rglob("*")}
    with ExitStack() as stack:
        services = []
        for name in ("first", "second"):
            settings = settings_of(way, broker, name, serve_roles="predictor", shadow_shared=layout.home)
            services.append(stack.enter_context(running_service(settings, shop.NAME, free_port())))
        assert {path: path.stat().st_mtime_ns for path in layout.home.rglob("*")} == before
        yield services


def test_what_two_machines_answer_is_compared_once_by_a_third(
    way: Way, broker: Broker, answering: list[RunningService]
) -> None:
    settings = settings_of(way, broker, "platform", serve_roles="shadow,guard", environment="production")
    with running(way.lander()), running_service(settings, shop.NAME, free_port()) as platform:
        assert [child.name for child in platform.children] == [SHADOW, GUARD]
        assert [[child.name for child in service.children] for service in answering] == [[SERVER, RELAY]] * 2
        for number in range(N_REQUESTS):
            for service in answering:
                answer = httpx.post(f"{service.url}/predict", json=body_of(number), timeout=PATIENCE_S, trust_env=False)
                assert answer.status_code == 200
            if number == N_REQUESTS // 2:
                relay = answering[0].children[1]
                assert relay.process is not None
                relay.process.kill()
        wait_until(lambda: len(predictions(way.platform)) == 2 * N_REQUESTS, "every answer landed", PATIENCE_S)
        wait_until(lambda: has_each_once(way.platform, 2 * N_REQUESTS), "each was compared", PATIENCE_S)
        assert contents(way.platform) == of_all(way.server("first"), way.server("second"))
        assert answering[0].children[1].n_restarts == 1

        deploy(way.platform, line_bundle(way.platform.bundles, slope=0.05), version="3")
        wait_until(
            lambda: [_champion(service) for service in answering] == ["3", "3"], "both answer with it", PATIENCE_S
        )
    states = [sorted(path.name for path in _workers(way, name).glob("*.json")) for name in ("first", "second")]
    assert all(states), "what a worker says of itself stays on its machine"
    assert not _workers(way, "platform").exists()


def _champion(service: RunningService) -> str:
    found = httpx.get(f"{service.url}/model", timeout=PATIENCE_S, trust_env=False).json()
    return str(found["champion"]["version"])


def _workers(way: Way, name: str) -> Path:
    return way.server(name).worker_states(USE_CASE)
