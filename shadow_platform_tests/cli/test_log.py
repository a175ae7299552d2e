"""``shadow log relay`` and ``shadow log land`` as people run them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import SettingsError
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.log_transport.carried import Way, append, contents, records
from shadow_platform_tests.scraped import scrape

pytestmark = pytest.mark.processes
LOG = ["-m", "shadow_platform.cli", "log"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path).start()
    yield started
    started.stop()


def test_a_log_is_carried_told_in_metrics_and_both_end_cleanly_when_told(
    broker: Broker, tmp_path: Path, start_process: StartProcess, free_port: int
) -> None:
    way = Way(tmp_path, KafkaSettings(broker.servers, broker.properties), "shadow")
    server = way.server()
    append(server, records(40))
    landing = {"METRICS_PORT": str(free_port), "METRICS_HOST": "127.0.0.1"}
    lander = start_process(
        [*LOG, "land", "-u", shop.NAME], SHADOW_HOME=str(way.platform.home), **broker.environment, **landing
    )
    relay = start_process(
        [*LOG, "relay", "-u", shop.NAME, "--until-caught-up"], SHADOW_HOME=str(server.home), **broker.environment
    )

    assert relay.process.wait(120) == 0
    assert "stopped: 40 lines published" in relay.text()
    wait_until(lambda: contents(way.platform) == contents(server), "it landed")
    landed, url = {"log": "predictions", "use_case": "shop"}, f"http://127.0.0.1:{free_port}"
    wait_until(lambda: scrape(url).values("log_landed_lines_total", **landed) == [40], "it is counted")
    lander.signal(signal.SIGTERM)
    assert lander.process.wait(60) == 0
    assert "stopped: 40 lines landed" in lander.text()


def test_what_cannot_be_carried_is_one_line() -> None:
    shadow = CliRunner().invoke
    for command in ("relay", "land"):
        unset = shadow(typer_app, ["log", command, "-u", shop.NAME]).exception
        assert isinstance(unset, SettingsError)
        assert "KAFKA_BOOTSTRAP_SERVERS is not set" in str(unset)
        unknown = shadow(typer_app, ["log", command, "-u", shop.NAME, "--logs", "predictions,requests"]).exception
        assert isinstance(unknown, SettingsError)
        assert "--logs 'predictions,requests': expected one or more of predictions, failures, shadow" in str(unknown)
