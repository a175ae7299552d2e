"""What was logged in one home is in another: every line once, every segment byte by byte."""

import logging
import time
from pathlib import Path

import pytest

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import (
    USE_CASE,
    Way,
    append,
    contents,
    of_all,
    records,
    running,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


def test_segments_of_two_machines_land_byte_by_byte(way: Way) -> None:
    first, second = way.server("first"), way.server("second")
    append(first, records(700))
    append(first, records(3), "failures")
    append(second, records(500, first=700, size=3000))

    lander = way.carry(first, second)

    assert contents(way.platform) == of_all(first, second)
    assert lander.counters.lines == {"predictions": 1200, "failures": 3}
    assert (lander.counters.repeated, lander.counters.errors) == (0, 0)


def test_what_is_logged_while_both_run_arrives_within_moments_and_readers_see_whole_lines(way: Way) -> None:
    server, platform = way.server(), way.platform
    source, after, seen = FileLogSource(platform.log("predictions", USE_CASE)), dict[str, int](), 0
    sink = FileLogSink(server.log("predictions", USE_CASE))
    with running(way.relay(server)), running(way.lander()):
        for record in records(400):
            sink.append(record)
            time.sleep(0.001)
        deadline = time.monotonic() + 120
        while seen < 400 and time.monotonic() < deadline:
            for line in source.read(after):
                assert line.payload.startswith(b'{"request_id":')
                assert line.payload.endswith(b"}")
                after[line.offset.segment], seen = line.offset.end, seen + 1
    sink.close()
    assert seen == 400
    assert contents(platform) == contents(server)


def test_a_relay_that_is_told_to_stop_publishes_what_was_logged_before(way: Way) -> None:
    server = way.server()
    append(server, records(1))
    way.carry(server)
    append(server, records(5_000, first=1))

    way.relay(server).run(lambda: True)

    way.carry()
    assert contents(way.platform) == contents(server)


def test_a_torn_line_is_not_sent_before_it_is_whole(way: Way) -> None:
    server = way.server()
    segment = append(server, records(5))
    whole = segment.read_bytes()
    segment.write_bytes(whole + b'{"request_id": 5, "pad')

    way.carry(server)
    (landed,) = contents(way.platform).values()
    assert landed == whole
    relay = way.relay(server)
    relay.run(lambda: False, until_caught_up=True)
    assert relay._tails["predictions"].lag_bytes() == 0, "what a crash tore off does not count as waiting"

    with segment.open("ab") as file:
        file.write(b'ding": ""}\n')
    way.carry(server)
    assert contents(way.platform) == contents(server)


def test_bytes_that_are_no_json_travel_too(way: Way) -> None:
    server = way.server()
    segment = append(server, records(1))
    segment.write_bytes(segment.read_bytes() + b"\xff\xfe\x00 no JSON\n\n\r\n" + b"x" * 900_000 + b"\n")

    way.carry(server)

    assert contents(way.platform) == contents(server)


def test_logs_by_challenger_keep_their_folders(way: Way) -> None:
    server = way.server()
    for version in ("2", "3"):
        sink = FileLogSink(server.log("shadow", USE_CASE) / f"challenger={version}")
        sink.append_many(records(4))
        sink.close()

    way.carry(server, logs=("shadow",))

    assert len(contents(way.platform, ("shadow",))) == 2
    assert contents(way.platform, ("shadow",)) == contents(server, ("shadow",))


def test_a_relay_goes_on_where_it_was_and_without_its_file_everything_is_recognised(way: Way) -> None:
    server = way.server()
    append(server, records(300))
    way.carry(server)
    append(server, records(50, first=300))

    relay = way.relay(server)
    relay.run(lambda: False, until_caught_up=True)
    assert relay.counters.lines == {"predictions": 50}
    server.relay_progress(USE_CASE, "predictions").write_bytes(b'{"": {"dt=20')
    lander = way.carry(server)

    assert lander.counters.lines == {"predictions": 50}
    assert lander.counters.repeated == 350
    assert contents(way.platform) == contents(server)


def test_what_the_platform_lost_is_published_again_on_demand(way: Way) -> None:
    server = way.server()
    append(server, records(40))
    segment = append(server, records(40, first=40))
    way.carry(server)
    landed = way.platform.home / segment.relative_to(server.home)
    landed.write_bytes(landed.read_bytes()[:1000])

    way.relay(server, again=True).run(lambda: False, until_caught_up=True)
    way.lander().run(lambda: False, until_caught_up=True)

    assert contents(way.platform) == contents(server)


def test_a_line_that_is_refused_is_told_and_holds_up_its_own_segment_only(
    way: Way, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = way.server()
    segment = append(server, [*records(10), *records(1, first=10, size=20_000), *records(10, first=11)])
    append(server, records(10, first=21))
    monkeypatch.setattr("shadow_platform.log_transport.tail.REFUSED_S", 3600.0)
    narrow = tmp_path / "narrow.properties"
    narrow.write_text(broker.properties.read_text() + "message.max.bytes=5000\n")
    small = Way(way.folder, KafkaSettings(broker.servers, narrow), way.prefix)

    with running(way.lander()):
        with running(small.relay(server)):
            landed = way.platform.home / segment.relative_to(server.home)
            wait_until(lambda: len(contents(way.platform)) == 2, "the other segment landed")
            wait_until(lambda: landed.read_bytes().count(b"\n") == 10, "so did the lines before it")
        refusals = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(refusals) == 1, "not at every turn"
        assert f"at byte {len(b''.join(segment.read_bytes().splitlines(keepends=True)[:10]))} of " in refusals[0]
        assert "raise max.message.bytes of the topic" in refusals[0]
        with running(way.relay(server)):
            wait_until(lambda: contents(way.platform) == contents(server), "everything, in order")


def test_a_broker_that_is_away_for_a_while_costs_time_and_no_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.log_transport.relay.SILENT_S", 1.0)
    monkeypatch.setattr("shadow_platform.log_transport.topics.RETRY_S", 0.5)
    monkeypatch.setattr("shadow_platform.adapters.kafka.TIMEOUT_S", 1.0)
    broker = Broker(tmp_path)
    way = Way(tmp_path, KafkaSettings(broker.servers, broker.properties), "away")
    server = way.server()
    append(server, records(20))
    try:
        relay = way.relay(server)
        with running(relay), running(way.lander()):
            wait_until(lambda: "answers as it should" in caplog.text, "nobody answers at the start")
            broker.start()
            wait_until(lambda: contents(way.platform) == contents(server), "it came")
            broker.pause()
            append(server, records(300, first=20))
            wait_until(lambda: "takes lines; they wait" in caplog.text, "the outage is told")
            assert relay._tails["predictions"].lag_bytes() > 300 * 200
            broker.resume()
            wait_until(lambda: contents(way.platform) == contents(server), "the rest came")
            assert relay.counters.errors > 0
    finally:
        broker.stop()
