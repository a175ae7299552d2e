"""A consumer that begins knows the events of its partitions, and of no other consumer's."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.stream import Message
from shadow_platform.domain.events import parse_events
from shadow_platform.streaming.history import StreamHistory
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

VISITS = USE_CASE.events[0]
NOTHING = parse_events(b"", VISITS, "f", FIRST_DAY).valid
START = datetime(2024, 1, 1, tzinfo=UTC)
SECOND_DAY = FIRST_DAY + timedelta(days=1)


@pytest.fixture
def log(layout: Layout) -> StreamLog:
    return StreamLog(layout.stream("tiny", "visits"))


@pytest.fixture
def history(layout: Layout, log: StreamLog) -> StreamHistory:
    return StreamHistory(Lake(layout), USE_CASE, {"visits": log})


def streamed(log: StreamLog, rows: list[dict[str, Any]], n_partitions: int = 2) -> None:
    """Append rows as messages, one after the other to each partition."""
    for offset, row in enumerate(rows):
        at = datetime.fromisoformat(row["received_at"])
        value = json.dumps({name: found for name, found in row.items() if name != "received_at"}).encode()
        log.append([Message("visits", offset % n_partitions, offset, at, None, value)])
    log.append([Message("visits", 0, len(rows), START, None, b"poison")])
    log.close()


def landed(layout: Layout, rows: list[dict[str, Any]]) -> None:
    """Make the rows of the first day valid events of the lake."""
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    Lake(layout).write_events(USE_CASE, VISITS, FIRST_DAY, parse_events(content, VISITS, "f", FIRST_DAY).valid)


def known(history: StreamHistory, start: datetime, end: datetime) -> pd.DataFrame:
    """All parts of the history."""
    return pd.concat([NOTHING, *history(VISITS, start, end)], ignore_index=True)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["event_id"] for row in rows)


def test_events_of_the_partitions_assigned_are_known_from_the_segments(log: StreamLog, history: StreamHistory) -> None:
    rows = [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"]]
    streamed(log, rows)
    history.partitions = frozenset({("visits", 1)})

    found = known(history, START, START + timedelta(days=1))

    assert sorted(found["event_id"]) == ids(rows[1::2])
    assert list(found.columns) == list(VISITS.schema.columns)


def test_the_span_holds_its_start_and_not_its_end(log: StreamLog, history: StreamHistory) -> None:
    rows = [dict(row) for day in (FIRST_DAY, SECOND_DAY) for row in TinySource().received_on(day)["visits"]]
    streamed(log, rows)
    history.partitions = frozenset({("visits", 0), ("visits", 1)})
    start, end = (datetime.fromisoformat(rows[place]["received_at"]) for place in (50, 250))

    assert sorted(known(history, start, end)["event_id"]) == ids(rows[50:250])


def test_what_was_landed_is_known_unless_another_consumer_brought_it(
    layout: Layout, log: StreamLog, history: StreamHistory
) -> None:
    rows = [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"]]
    landed(layout, rows)
    streamed(log, rows[100:])
    history.partitions = frozenset({("visits", 0)})

    found = known(history, START, START + timedelta(days=1))

    assert sorted(set(found["event_id"])) == ids(rows[:100] + rows[100::2])


def test_without_any_message_the_lake_is_all_there_is(layout: Layout, history: StreamHistory) -> None:
    rows = [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"]]
    assert len(known(history, START, START + timedelta(days=1))) == 0
    landed(layout, rows)

    assert sorted(known(history, START, START + timedelta(days=1))["event_id"]) == ids(rows)


@pytest.mark.parametrize("part", [1, 7, 1_000])
def test_the_history_is_the_same_in_parts_of_any_size(
    layout: Layout, log: StreamLog, history: StreamHistory, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr("shadow_platform.streaming.history.PART_MESSAGES", part)
    rows = [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"]][:60]
    landed(layout, rows[:30])
    streamed(log, rows[10:])
    history.partitions = frozenset({("visits", 1)})

    parts = list(history(VISITS, START, START + timedelta(days=1)))

    assert max(len(found) for found in parts[-2:]) <= part
    assert sorted(pd.concat(parts)["event_id"]) == ids(rows[:10] + rows[11::2])


def test_the_newest_event_tells_the_time_and_no_other_message_does(log: StreamLog, history: StreamHistory) -> None:
    rows = [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"]]
    assert list(history.newest(VISITS)) == []
    streamed(log, rows)
    years_later, consumed_at = START.replace(year=2026), START + timedelta(days=1, hours=1)
    value = json.dumps({name: found for name, found in rows[-1].items() if name != "received_at"}).encode()
    log.append([Message("visits", 3, 0, years_later, b"k", None)])
    log.append([Message("visits", 3, 1, START + timedelta(days=1), None, value, consumed_at)])
    log.close()

    assert list(history.newest(VISITS))[-1] == (START + timedelta(days=1), consumed_at)
