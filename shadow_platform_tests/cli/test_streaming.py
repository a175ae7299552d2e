"""``shadow produce`` and ``shadow stream`` as people run them."""

import signal
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import SettingsError, StreamError, UseCaseError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.scraped import scrape
from shadow_platform_tests.streaming import shop
from shadow_platform_tests.tiny import FIRST_DAY, VISITS_PER_DAY

pytestmark = pytest.mark.processes
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Broker(tmp_path_factory.mktemp("broker")).start()
    yield started
    started.stop()


@pytest.fixture
def shadow(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow`` with the broker configured."""
    for name, value in broker.environment.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(typer_app, [*arguments])


def test_a_day_is_sent_and_consumed_and_a_consumer_ends_cleanly_when_told(
    broker: Broker, shadow: Command, layout: Layout, start_process: StartProcess, free_port: int
) -> None:
    sent = shadow("produce", "-u", shop.NAME, "--to", str(FIRST_DAY), "--topic", "visits", "--speed", "100000000x")
    assert (sent.exit_code, sent.output.splitlines()[-1]) == (0, f"{VISITS_PER_DAY} messages delivered")
    assert len(broker.read("visits", VISITS_PER_DAY)) == VISITS_PER_DAY
    command = ["-c", "from shadow_platform.cli import app; app()", "stream", "-u", shop.NAME]
    log = StreamLog(layout.stream("tiny", "visits"))

    settings = {**broker.environment, "METRICS_PORT": str(free_port), "METRICS_HOST": "127.0.0.1"}
    consumer = start_process(command, SHADOW_HOME=str(layout.home), **settings)
    consumer.wait_until(lambda: len(list(log.read(FIRST_DAY))) == VISITS_PER_DAY, "the messages were consumed")
    taken = {"use_case": "tiny", "outcome": "valid"}
    consumer.wait_until(
        lambda: (
            scrape(f"http://127.0.0.1:{free_port}").values("shadow_stream_messages_total", **taken) == [VISITS_PER_DAY]
        ),
        "they were counted",
    )
    consumer.wait_until(
        lambda: scrape(f"http://127.0.0.1:{free_port}").values("shadow_stream_lag_messages") == [0], "none is left"
    )
    assert scrape(f"http://127.0.0.1:{free_port}").contradictions() == []
    consumer.signal(signal.SIGTERM)

    assert consumer.process.wait(60) == 0
    assert f"stopped: {VISITS_PER_DAY} messages" in consumer.text()
    again = start_process([*command, "--until-caught-up"], SHADOW_HOME=str(layout.home), **broker.environment)
    assert again.process.wait(120) == 0
    assert "stopped: 0 messages" in again.text()


def test_what_cannot_be_sent_is_said(shadow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = shadow("produce", "-u", shop.NAME, "--topic", "orders")
    assert isinstance(refused.exception, UseCaseError)
    assert "use case tiny has no topic 'orders'; it has visits, purchases" in str(refused.exception)
    refused = shadow("produce", "-u", shop.NAME, "--from", "2024-01-05", "--to", "2024-01-04")
    assert "there is no day from 2024-01-05 to 2024-01-04" in str(refused.exception)
    for arguments in (("--speed", "fast"), ("--speed", "0x"), ("--speed", "2x", "--rate", "5"), ("--rate", "0")):
        assert shadow("produce", "-u", shop.NAME, *arguments).exit_code == 2
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    for command in ("produce", "stream"):
        assert isinstance(shadow(command, "-u", shop.NAME).exception, SettingsError)


def test_a_broker_that_is_away_is_one_line(shadow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadow_platform.adapters.kafka.TIMEOUT_S", 0.5)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    for command in ("produce", "stream"):
        error = shadow(command, "-u", shop.NAME).exception
        assert isinstance(error, StreamError)
        assert "no Kafka broker at 127.0.0.1:1 answers" in str(error)
