"""Messages of a stream that come for a day after, or while, it is landed reach the tables, and are asked for once."""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.stream import Message
from shadow_platform_tests.automation.test_late_days import LATE_DAY, Home, late
from shadow_platform_tests.streaming.shop import shop
from shadow_platform_tests.tiny import FIRST_DAY, TinySource

USE_CASE = shop("late-")
VISITS = USE_CASE.events[0]
VIEW = USE_CASE.views[0]
LANDED = {"raw_events", "events", "quarantined_events"}


class Streamed(Home):
    """A home that a stream brings its events to, as a consumer leaves them: two days of visits."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance) -> None:
        super().__init__(layout, instance, USE_CASE)
        self.folder = layout.stream("tiny", "visits")
        for day in (FIRST_DAY, LATE_DAY):
            self.receive(*TinySource().received_on(day)["visits"])

    def receive(self, *rows: Mapping[str, Any], offset: int = 0) -> None:
        """A consumer starts, is given messages, and ends."""
        log = StreamLog(self.folder)
        log.append(message(row, offset + place) for place, row in enumerate(rows))
        log.close()

    def settle(self) -> None:
        """Let an hour pass since anything was written."""
        files = [*self.folder.glob("*/*"), *(self.layout.home / "raw").glob("**/events.jsonl")]
        for path in files:
            before = path.stat().st_mtime
            os.utime(path, (before - 3600, before - 3600))

    def visits(self, day: date = LATE_DAY) -> list[str]:
        return sorted(pd.read_parquet(self.layout.events("tiny", "visits", day))["visit_id"])


def message(row: Mapping[str, Any], offset: int) -> Message:
    stamped_at = datetime.fromisoformat(row["received_at"])
    assert VISITS.topic is not None
    return Message(VISITS.topic.name, 0, offset, stamped_at, b"key", json.dumps(dict(row)).encode())


@pytest.fixture
def home(layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Streamed:
    """Messages are in the segments; the broker itself is not asked."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    return Streamed(layout, instance)


def test_a_message_that_comes_while_its_day_is_landed_is_landed_by_the_next_run(
    home: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = StreamLog.read

    def read_and_receive(log: StreamLog, day: date) -> Iterator[Message]:
        yield from read(log, day)
        if day == LATE_DAY and log.size(day) == size:
            home.receive(late(), offset=10_000)

    size = StreamLog(home.folder).size(LATE_DAY)
    with monkeypatch.context() as during:
        during.setattr(StreamLog, "read", read_and_receive)
        home.ingest(LATE_DAY)
    assert StreamLog(home.folder).size(LATE_DAY) > size
    assert "late" not in home.visits()

    home.settle()
    assert home.act() == (LANDED, str(LATE_DAY), str(LATE_DAY))
    assert "late" in home.visits()
    home.settle()
    assert home.act()[0] == {VIEW.name}
    assert "no day is touched" in home.tick().skip_message


def test_a_message_that_is_delivered_again_is_looked_at_once_and_changes_nothing(home: Streamed) -> None:
    home.ingest(LATE_DAY)
    home.settle()
    assert "no day is touched" in home.tick().skip_message
    before, visits = home.files("events", "features"), home.visits()

    home.receive(*TinySource().received_on(LATE_DAY)["visits"][-3:], offset=len(visits) - 3)
    home.settle()
    assert home.act() == (LANDED, str(LATE_DAY), str(LATE_DAY))
    home.settle()
    assert "no day is touched" in home.tick().skip_message
    assert (home.files("events", "features"), home.visits()) == (before, visits)


def test_a_raw_file_that_a_killed_run_did_not_note_is_landed_again(home: Streamed) -> None:
    home.ingest(LATE_DAY)
    home.receive(late(), offset=10_000)
    home.layout.record(home.layout.raw_events("tiny", "visits", LATE_DAY)).unlink()
    home.settle()
    assert home.act() == (LANDED, str(LATE_DAY), str(LATE_DAY))
    assert home.visits().count("late") == 1
