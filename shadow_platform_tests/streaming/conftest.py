"""One broker for all tests of the stream: each test has topics, and a home, of its own."""

import uuid
from collections.abc import Iterator

import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.streaming.shop import shop


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker over TCP."""
    started = Broker(tmp_path_factory.mktemp("broker")).start()
    yield started
    started.stop()


@pytest.fixture
def platform(broker: Broker, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> PlatformResource:
    """The platform of this test's home, with the broker configured."""
    for name, value in broker.environment.items():
        monkeypatch.setenv(name, value)
    return PlatformResource(shadow_home=str(layout.home))


@pytest.fixture
def use_case(broker: Broker) -> UseCase:
    """A use case whose topics have four partitions each and nobody else's messages."""
    found = shop(f"{uuid.uuid4().hex[:8]}-")
    for kind in found.events:
        assert kind.topic is not None
        broker.create(kind.topic.name)
    return found
