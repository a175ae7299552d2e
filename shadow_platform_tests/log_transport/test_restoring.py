"""What can be done when lines are missing on one side, and what becomes of segments that were relayed long ago."""

import logging
import os
import socket
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.cli import typer_app
from shadow_platform.cli.log import _keep_h
from shadow_platform.contracts.errors import StreamError
from shadow_platform.contracts.layout import Layout
from shadow_platform.log_transport.relay import LogRelay
from shadow_platform.log_transport.turns import turn
from shadow_platform.settings import Settings
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.conftest import REPOSITORY
from shadow_platform_tests.log_transport.carried import LOGS, USE_CASE, Way, append, contents, records, running
from shadow_platform_tests.processes import start

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
HOUR_S = 3600


def lose(way: Way, segment: Path) -> None:
    """Cut a landed segment off within a line."""
    landed = way.platform.home / segment.relative_to(way.server().home)
    landed.write_bytes(landed.read_bytes()[:1000])


def test_a_home_that_was_restored_gets_from_the_topics_what_it_lacks_by_a_new_group(way: Way) -> None:
    server = way.server()
    segment = append(server, records(40))
    way.carry(server)
    lose(way, segment)
    way.lander().run(lambda: False, until_caught_up=True)
    assert contents(way.platform) != contents(server), "the old group has read them"

    way.lander(group=f"{way.prefix}.restored").run(lambda: False, until_caught_up=True)
    assert contents(way.platform) == contents(server)


def test_again_beside_a_relay_that_runs_is_done_by_that_relay(
    way: Way, broker: Broker, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (broker.environment | {"KAFKA_LOG_PREFIX": way.prefix, "METRICS_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    FileLogSink(layout.log("predictions", "churn")).append_many(records(40))
    relay = LogRelay(layout, "churn", LOGS, way.kafka, way.prefix)
    command = ["log", "relay", "-u", "churn", "--again", "--until-caught-up"]
    with turn(layout, "churn", LOGS, lambda: False), running(relay):
        wait_until(lambda: relay.counters.lines["predictions"] == 40, "published")
        result = CliRunner().invoke(typer_app, command)
        assert result.exit_code == 0, result.output
        assert "the relay that runs here publishes all there is of the predictions,failures again" in result.output
        wait_until(lambda: relay.counters.lines["predictions"] == 80, "published again")
    monkeypatch.setattr("shadow_platform.cli.log.TAKEN_UP_S", 0.3)
    with turn(layout, "churn", ["failures"], lambda: False):
        result = CliRunner().invoke(typer_app, command)
    assert isinstance(result.exception, StreamError)
    assert "has not begun again within 0.3 s; is it a lander" in str(result.exception)
    assert not list(layout.home.rglob("*.again"))


def test_a_port_for_metrics_that_is_taken_keeps_no_line_from_being_carried(
    way: Way, broker: Broker, layout: Layout, free_port: int
) -> None:
    FileLogSink(layout.log("predictions", "churn")).append_many(records(40))
    command = [sys.executable, "-m", "shadow_platform.cli", "log", "relay", "-u", "churn", "--until-caught-up"]
    own = {"SHADOW_HOME": str(layout.home), "KAFKA_LOG_PREFIX": way.prefix, "PYTHONPATH": str(REPOSITORY)}
    environment = {**os.environ, **broker.environment, **own, "METRICS_PORT": str(free_port)}
    with socket.create_server(("127.0.0.1", free_port)):
        relay = start(command, way.folder / "relay.log", environment | {"METRICS_HOST": "127.0.0.1"}, way.folder)
        assert relay.process.wait(240) == 0, relay.text()
    assert f"metrics cannot be served on 127.0.0.1 port {free_port}" in relay.text()
    assert "40 lines published" in relay.text()


def test_catching_up_fails_while_lines_are_missing_and_goes_on_without_them_when_told_so(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    server = way.server()
    segment = append(server, records(10))
    whole = segment.read_bytes()
    relay = way.relay(server)
    end = whole.index(b"\n") + 1
    relay._tails["predictions"]._done = {"": {segment.relative_to(server.log("predictions", USE_CASE)).as_posix(): end}}
    relay.run(lambda: False, until_caught_up=True)
    other = append(server, records(5, first=10))
    way.relay(server).run(lambda: False, until_caught_up=True)

    with pytest.raises(StreamError, match=r"in 1 segments lines are missing before others, .*--again.*--skip-gaps"):
        way.lander().run(lambda: False, until_caught_up=True)
    assert list(contents(way.platform).values()) == [other.read_bytes()]
    assert f"bytes 0 to {end} have not come" in caplog.text
    assert (REGISTRY.get_sample_value("log_land_lag_messages", {"use_case": USE_CASE}) or 0) >= 9

    way.lander(skips_gaps=True).run(lambda: False, until_caught_up=True)
    (aside,) = way.platform.skipped_lines(USE_CASE, "predictions").rglob("*.jsonl")
    assert aside.read_bytes() == whole[end:]
    way.lander().run(lambda: False, until_caught_up=True)
    assert REGISTRY.get_sample_value("log_land_lag_messages", {"use_case": USE_CASE}) == 0


def test_only_segments_that_were_published_whole_and_are_over_for_long_are_deleted(way: Way) -> None:
    server, now = way.server(), time.time()
    root = server.log("predictions", USE_CASE)

    def segment(hours_ago: float, text: bytes = b"") -> Path:
        sink = FileLogSink(root, clock=lambda: now - hours_ago * HOUR_S)
        sink.append_many(records(3))
        sink.close()
        path: Path = sink._path
        path.write_bytes(path.read_bytes() + text)
        return path

    gone = [segment(30), segment(60), segment(60, b'{"torn by a cra')]
    kept = [segment(0), segment(20)]
    relay = way.relay(server, keep_h=24)
    relay._prune()
    assert all(path.exists() for path in (*gone, *kept)), "nothing was published yet"
    way.relay(server).run(lambda: False, until_caught_up=True)
    assert all(path.exists() for path in (*gone, *kept)), "not told to delete"

    late = segment(40)
    relay = way.relay(server, keep_h=24)
    relay._prune()
    assert not any(path.exists() or path.parent.exists() for path in gone)
    assert all(path.exists() for path in (*kept, late)), "published and new; old and not published"
    way.carry(server)
    assert len(contents(way.platform)) == 6, "each had been published"


@pytest.mark.parametrize(
    ("shared", "keep_h", "found"), [("elsewhere", 6, 6), ("elsewhere", 0, None), ("home", 6, None), (None, 6, None)]
)
def test_nothing_is_deleted_in_a_home_that_tables_are_made_of(
    tmp_path: Path, shared: str | None, keep_h: int, found: int | None
) -> None:
    folder = None if shared is None else tmp_path / shared
    settings = Settings(shadow_home=tmp_path / "home", shadow_shared=folder, log_relay_keep_h=keep_h)
    assert _keep_h(settings) == found


def test_what_waits_is_told_while_no_broker_has_answered_yet(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.adapters.kafka.TIMEOUT_S", 0.5)
    monkeypatch.setattr("shadow_platform.log_transport.relay.LAST_S", 0.5)
    way = Way(tmp_path, KafkaSettings(f"127.0.0.1:{free_port}"), "away")
    labels = {"log": "predictions", "use_case": USE_CASE}
    with running(way.relay(way.server())):
        segment = append(way.server(), records(100))
        wait_until(
            lambda: REGISTRY.get_sample_value("log_relay_lag_bytes", labels) == segment.stat().st_size, "it is told"
        )


def test_two_homes_of_one_group_are_told_that_each_gets_a_part(
    way: Way, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.log_transport.lander.ALONE_S", 0.5)
    append(way.server(), records(3))
    way.relay(way.server()).run(lambda: False, until_caught_up=True)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "another member of group" in record.getMessage()]

    with running(way.lander()):
        wait_until(lambda: bool(contents(way.platform)), "it landed")
        time.sleep(2.0)
        assert not told(), "alone"
        with running(way.lander(name="elsewhere")):
            wait_until(lambda: bool(told()), "told")
    assert "give each home a --group of its own" in told()[0]
    assert all(record.levelno == logging.ERROR for record in caplog.records if "another member" in record.getMessage())
