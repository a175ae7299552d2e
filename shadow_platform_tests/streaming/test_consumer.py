"""The stream makes the tables that the batch path makes, whatever happens on the way."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.adapters.kafka import Partition
from shadow_platform.contracts.errors import SettingsError, StreamError, UseCaseError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import Streaming, UseCase
from shadow_platform.domain.events import parse_events, raw_row
from shadow_platform.resources import PlatformResource
from shadow_platform.streaming.consumer import open_consumer
from shadow_platform.streaming.producer import outgoing
from shadow_platform_tests import tiny
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.streaming.consuming import (
    DAYS,
    Seen,
    catch_up,
    consumer,
    events,
    land,
    n_raw_lines,
    produce,
    without_topics,
)
from shadow_platform_tests.streaming.shop import shop
from shadow_platform_tests.tiny import FIRST_DAY, TinySource

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
KINDS = ("visits", "purchases")
FIRST_MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


def offsets(platform: PlatformResource, use_case: UseCase) -> Counter[tuple[str, int, int]]:
    """How often each message lies in the segments, as they are read."""
    return Counter(
        (message.topic, message.partition, message.offset)
        for log in platform.stream_logs(use_case).values()
        for day in log.days()
        for message in log.read(day)
    )


def visit(at: datetime, **changed: object) -> bytes:
    """A valid visit that happened at a moment, as a message's value."""
    row = {**TinySource().received_on(FIRST_DAY)["visits"][0], "event_at": at.isoformat(), **changed}
    return json.dumps({name: value for name, value in row.items() if name != "received_at"}).encode()


def ms(at: datetime) -> int:
    """A moment as a message's stamp."""
    return int(at.timestamp() * 1_000)


def halves(one: frozenset[Partition], other: frozenset[Partition]) -> bool:
    """Whether two members have four partitions each, and none in common."""
    return len(one) == len(other) == 4 and one.isdisjoint(other)


def test_the_stream_makes_the_same_tables_as_files_do(
    platform: PlatformResource, use_case: UseCase, layout: Layout
) -> None:
    n_sent, seen = produce(platform, use_case), Seen()

    member = catch_up(platform, use_case, seen)

    assert member.counters.messages == {"valid": n_sent, "dead": 0}
    assert n_sent > 2_000
    assert all(land(platform, use_case).values())
    batch = PlatformResource(shadow_home=str(layout.home / "batch"))
    land(batch, without_topics(use_case))
    for kind in KINDS:
        pd.testing.assert_frame_equal(
            events(platform, use_case, kind), events(batch, without_topics(use_case), kind), check_like=True
        )
    assert sorted(seen.added) == sorted(pd.concat([events(platform, use_case, kind) for kind in KINDS])["event_id"])
    assert seen.advanced[-1] >= max(events(platform, use_case, kind)["received_at"].max() for kind in KINDS)


def test_poison_goes_to_the_dead_letter_topic_with_its_reason_and_is_quarantined_with_its_text(
    platform: PlatformResource, use_case: UseCase, broker: Broker
) -> None:
    assert use_case.events[0].topic is not None
    topic, at_ms = use_case.events[0].topic.name, 1_704_110_400_000
    visit = dict(TinySource().received_on(FIRST_DAY)["visits"][0])
    good = json.dumps({**visit, "event_at": "2024-01-01T12:00:00Z"}).encode()
    poison = [None, b"no JSON", b"\xff\xfe{\x00", good.replace(b": 1", b": 2", 1), b'{"a":"\n"}', b"x" * 10_000_000]
    sent = [*poison, good]
    broker.send(topic, [{"value": value, "key": b"k", "timestamp": at_ms} for value in sent])

    member = catch_up(platform, use_case)

    assert member.counters.messages == {"valid": 1, "dead": len(poison)}
    letters = broker.read(f"{topic}.dead-letter", len(poison))
    assert Counter(letter.value() for letter in letters) == Counter(poison)
    told = {letter.value(): {name: text.decode() for name, text in letter.headers()} for letter in letters}
    assert told[b"no JSON"]["reason"].startswith("not JSON")
    assert told[None]["reason"] == "expected a JSON object, found NoneType"
    assert told[b"x" * 10_000_000]["reason"].startswith("the line is too long")
    assert {(headers["topic"], headers["partition"]) for headers in told.values()} == {(topic, told[None]["partition"])}
    assert {int(headers["offset"]) for headers in told.values()} == set(range(len(poison)))
    checks = land(platform, use_case, [FIRST_DAY])
    assert checks["every_raw_row_is_valid_or_quarantined"]
    quarantined = platform.lake().read_table(QUARANTINED_EVENTS, use_case)
    assert sorted(quarantined["row"]) == list(range(1, len(poison) + 1))
    assert {headers["reason"] for headers in told.values()} == {
        f"{column}: {reason}" if column else reason
        for column, reason in zip(quarantined["column_name"], quarantined["reason"], strict=True)
    }
    assert " no JSON" in set(quarantined["payload"])


def test_messages_of_a_day_that_come_after_it_was_landed_are_added_and_nothing_else_changes(
    platform: PlatformResource, use_case: UseCase, layout: Layout
) -> None:
    produce(platform, use_case, DAYS[:2])
    catch_up(platform, use_case)
    land(platform, use_case, DAYS[:2])
    raw = [layout.raw_events("tiny", "visits", day) for day in DAYS[:2]]
    raw[0].write_bytes(raw[0].read_bytes() + b'{"dropped": "by hand"}\n')
    before = [path.read_bytes() for path in raw]
    changed_at = raw[1].stat().st_mtime_ns

    produce(platform, use_case, DAYS[:1])
    catch_up(platform, use_case)
    checks = land(platform, use_case, DAYS[:2])

    after = [path.read_bytes() for path in raw]
    assert after[0].startswith(before[0])
    assert after[0].count(b"\n") == before[0].count(b"\n") + tiny.VISITS_PER_DAY
    assert (after[1], raw[1].stat().st_mtime_ns) == (before[1], changed_at)
    assert checks["every_raw_row_is_valid_or_quarantined"]
    assert len(events(platform, use_case, "visits")) == 2 * tiny.VISITS_PER_DAY


def test_two_consumers_share_the_partitions_and_lose_and_double_nothing_when_one_leaves(
    platform: PlatformResource, use_case: UseCase
) -> None:
    n_sent = produce(platform, use_case, DAYS[:3])
    members, stops = [consumer(platform, use_case, Seen()) for _ in range(2)], [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=member.run, args=(stop.is_set,)) for member, stop in zip(members, stops, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: halves(*(member.partitions for member in members)), "each has half of the partitions")
        n_sent += produce(platform, use_case, DAYS[3:5])
        wait_until(lambda: sum(member.counters.messages.total() for member in members) >= n_sent, "all was consumed")
        stops[0].set()
        threads[0].join()
        n_sent += produce(platform, use_case, DAYS[5:])
        wait_until(lambda: len(members[1].partitions) == 8, "the other has all partitions")
        wait_until(lambda: sum(offsets(platform, use_case).values()) == n_sent, "all is in the segments")
    finally:
        for stop, thread in zip(stops, threads, strict=True):
            stop.set()
            thread.join()
    assert all(land(platform, use_case).values())
    assert n_raw_lines(platform, use_case) == n_sent
    assert platform.lake().read_table(QUARANTINED_EVENTS, use_case).empty
    assert len(events(platform, use_case, "visits")) == len(DAYS) * tiny.VISITS_PER_DAY


def test_a_broker_that_goes_and_comes_back_without_its_memory_costs_no_message(
    platform: PlatformResource, use_case: UseCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Topics made anew number their messages from 0 again: none is taken for an old one."""
    mortal, topics = Broker(tmp_path).start(), [kind.topic.name for kind in use_case.events if kind.topic]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", mortal.servers)
    for topic in topics:
        mortal.create(topic)
    n_sent, stop = produce(platform, use_case, DAYS[:1]), threading.Event()
    member = consumer(platform, use_case)
    thread = threading.Thread(target=member.run, args=(stop.is_set,))
    thread.start()
    try:
        wait_until(lambda: member.counters.messages.total() == n_sent, "the first day was consumed")
        mortal.stop()
        assert not stop.wait(2)
        assert thread.is_alive()
        mortal.start()
        for topic in topics:
            mortal.create(topic)
        n_sent += produce(platform, use_case, DAYS[1:2])
        wait_until(lambda: member.counters.messages.total() >= n_sent, "the second day was consumed")
    finally:
        stop.set()
        thread.join()
        mortal.stop()
    land(platform, use_case, DAYS[:2])
    assert len(events(platform, use_case, "visits")) == 2 * tiny.VISITS_PER_DAY


class Slow(Seen):
    """Features that take long to be restored, in parts that do not."""

    def restore(self, until: datetime) -> Iterator[None]:
        for _ in range(60):
            time.sleep(0.1)
            assert self.added == []
            yield
        yield from super().restore(until)


def test_a_restore_longer_than_the_broker_waits_for_a_member_ends_and_costs_no_message(
    platform: PlatformResource, use_case: UseCase, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(platform, use_case, DAYS[:2])
    catch_up(platform, use_case)
    config = tmp_path / "impatient.properties"
    config.write_text(broker.properties.read_text() + "max.poll.interval.ms=4000\n")
    monkeypatch.setenv("KAFKA_CONFIG", str(config))
    n_new, slow = produce(platform, use_case, DAYS[2:]), Slow()

    member = catch_up(platform, use_case, slow)

    assert len(slow.restored) == 1
    assert member.counters.messages == {"valid": n_new, "dead": 0}
    assert len(slow.added) == len(set(slow.added)) == n_new


def test_a_message_stamped_ahead_is_refused_by_stream_and_tables_alike_and_its_correction_is_valid(
    platform: PlatformResource, use_case: UseCase, broker: Broker
) -> None:
    kind = use_case.events[0]
    assert kind.topic is not None
    now = datetime.now(UTC)
    for at in (now + timedelta(minutes=10), now):
        broker.send(kind.topic.name, [{"value": visit(FIRST_MOMENT), "key": b"k", "timestamp": ms(at)}])

    member = catch_up(platform, use_case)

    assert member.counters.messages == {"valid": 1, "dead": 1}
    (letter,) = broker.read(f"{kind.topic.name}.dead-letter", 1)
    log = platform.stream_logs(use_case)[kind.name]
    found = [(m, parse_events(raw_row(m) + b"\n", kind, "f", day)) for day in log.days() for m in log.read(day)]
    assert {len(landed.valid) for message, landed in found if message.stamped_at > now + timedelta(minutes=5)} == {0}
    assert sum(len(landed.valid) for _, landed in found) == 1
    (refused,) = (event for _, landed in found for event in landed.quarantined)
    assert dict(letter.headers())["reason"].decode() == f"{refused.column}: {refused.reason}"
    assert "lay in the future" in refused.reason


def test_no_row_is_written_before_its_stamp_is_true_however_far_ahead_a_senders_clock_is(
    platform: PlatformResource, use_case: UseCase, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("domain.events.messages", "streaming.consumer", "streaming.history"):
        monkeypatch.setattr(f"shadow_platform.{module}.SKEW", timedelta(minutes=10))
    topic, seen = use_case.events[0].topic, Seen()
    assert topic is not None
    at = datetime.now(UTC) + timedelta(seconds=250)
    broker.send(topic.name, [{"value": visit(FIRST_MOMENT), "key": b"k", "timestamp": ms(at)}])

    member = consumer(platform, use_case, seen)
    member.run(lambda: len(seen.advanced) > 2)

    assert member.counters.messages == {"valid": 1, "dead": 0}
    assert len(seen.added) == 1
    assert max(seen.restored + seen.advanced) <= datetime.now(UTC) < at


class Refusing(Seen):
    """Features that cannot be written for a while."""

    def advance(self, until: datetime) -> dict[str, int]:
        from shadow_platform.contracts.errors import FeatureStoreError

        if len(self.advanced) < 2:
            self.advanced.append(until)
            raise FeatureStoreError("the online store is away")
        return super().advance(until)


def test_an_online_store_that_is_away_stops_no_message(platform: PlatformResource, use_case: UseCase) -> None:
    n_sent, seen = produce(platform, use_case, DAYS[:1]), Refusing()
    member = consumer(platform, use_case, seen)

    member.run(lambda: len(seen.advanced) > 2 and member.counters.messages.total() >= n_sent)

    assert member.counters.failures == 2
    assert len(offsets(platform, use_case)) == n_sent


def test_features_are_restored_at_the_streams_own_time_when_a_consumer_begins_again(
    platform: PlatformResource, use_case: UseCase, broker: Broker
) -> None:
    produce(platform, use_case, DAYS[:2])
    newest = max(row.stamped_at for day in DAYS[:2] for row in outgoing(use_case, TinySource(), day))
    topic = use_case.events[0].topic
    assert topic is not None
    broker.send(topic.name, [{"value": None, "key": b"k", "timestamp": ms(datetime.now(UTC))}])  # a tombstone of now
    first, second = Seen(), Seen()
    catch_up(platform, use_case, first)
    catch_up(platform, use_case, second)

    assert len(first.restored) == len(second.restored) == 1
    assert newest <= second.restored[0] < newest + timedelta(minutes=5)
    assert second.added == []


def test_a_view_over_topics_with_different_numbers_of_partitions_is_refused_at_the_start(
    platform: PlatformResource, broker: Broker
) -> None:
    value = shop("uneven-")
    value = replace(value, views=(replace(value.views[0], streaming=Streaming()),))
    for kind, n_partitions in zip(value.events, (4, 2), strict=True):
        assert kind.topic is not None
        broker.create(kind.topic.name, n_partitions)

    with pytest.raises(StreamError, match=r"reads topics .*uneven-visits with 4, uneven-purchases with 2"):
        consumer(platform, value)


def test_a_consumer_needs_a_broker_and_a_topic(
    platform: PlatformResource, use_case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UseCaseError, match="use case tiny has no topic; give an EventKind one, with topic="):
        open_consumer(platform, tiny.USE_CASE)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS is not set, so there is no stream; set it to"):
        open_consumer(platform, use_case)
