"""One broker for the tests of this folder; each test has topics of its own, by a prefix, and homes of its own."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import Way


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker over TCP."""
    started = Broker(tmp_path_factory.mktemp("broker")).start()
    yield started
    started.stop()


@pytest.fixture
def way(broker: Broker, tmp_path: Path) -> Way:
    """From the homes of this test's servers to its platform's, through topics that nobody else uses."""
    return Way(tmp_path, KafkaSettings(broker.servers, broker.properties), f"p{uuid.uuid4().hex[:8]}")
