"""What the tables may rely on when consumers of a stream are killed at any moment."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from shadow_platform.adapters.kafka import EventProducer
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.resources import PlatformResource
from shadow_platform.streaming.brokers import kafka_settings
from shadow_platform.streaming.producer import at_rate, finish, outgoing, send
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.streaming import shop
from shadow_platform_tests.streaming.consuming import DAYS, events, land, n_raw_lines, without_topics
from shadow_platform_tests.tiny import TinySource

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
STREAM = ["-c", "from shadow_platform.cli import app; app()", "stream", "--use-case", shop.NAME]
EVENTS_PER_S = 400


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path).start()
    yield started
    started.stop()


def n_messages(platform: PlatformResource) -> int:
    """Different messages in the segments."""
    logs = platform.stream_logs(shop.USE_CASE).values()
    return len({(m.topic, m.partition, m.offset) for log in logs for day in log.days() for m in log.read(day)})


def wait_for_messages(platform: PlatformResource, n: int) -> None:
    """Return when so many messages are in the segments."""
    wait_until(lambda: n_messages(platform) >= n, f"{n} messages came", 180)


def send_slowly(platform: PlatformResource, sent: list[int]) -> None:
    """Send the events of some days while consumers come and go."""
    producer = EventProducer(kafka_settings(platform.settings))
    every_event = (event for day in DAYS for event in outgoing(shop.USE_CASE, TinySource(), day))
    for _ in send(producer, every_event, at_rate(EVENTS_PER_S)):
        pass
    sent.append(finish(producer))


def test_sigkill_of_consumers_at_any_moment_loses_and_doubles_nothing(
    broker: Broker, layout: Layout, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in broker.environment.items():
        monkeypatch.setenv(name, value)
    for kind in shop.USE_CASE.events:
        assert kind.topic is not None
        broker.create(kind.topic.name)
    platform, rng, sent = PlatformResource(shadow_home=str(layout.home)), Random(4), list[int]()
    consumers = [start_process(STREAM, **os.environ) for _ in range(3)]
    wait_until(lambda: all("assigned" in member.text() for member in consumers), "the consumers joined", 120)
    producing = threading.Thread(target=send_slowly, args=(platform, sent))
    producing.start()
    n_until_a_kill = 0
    for member in consumers[:2]:
        n_until_a_kill += rng.randrange(100, 400)
        wait_for_messages(platform, n_until_a_kill)
        member.signal(signal.SIGKILL)
    producing.join()
    wait_for_messages(platform, sent[0])
    consumers[2].signal(signal.SIGTERM)
    assert consumers[2].process.wait(120) == 0
    assert "stopped" in consumers[2].text()

    assert all(land(platform, shop.USE_CASE).values())
    assert n_raw_lines(platform, shop.USE_CASE) == sent[0]
    assert platform.lake().read_table(QUARANTINED_EVENTS, shop.USE_CASE).empty
    batch, files = PlatformResource(shadow_home=str(layout.home / "batch")), without_topics(shop.USE_CASE)
    land(batch, files)
    for name in ("visits", "purchases"):
        pd.testing.assert_frame_equal(events(platform, shop.USE_CASE, name), events(batch, files, name))
