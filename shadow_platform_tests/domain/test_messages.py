"""A message becomes one row, and the stream judges it as the events stage will."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.kafka import stamp
from shadow_platform.contracts.stream import Message
from shadow_platform.domain.events import SKEW, EventSorter, parse_events, raw_row, sort_messages
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

VISITS = USE_CASE.events[0]
AT = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, 12, tzinfo=UTC)
NOW = AT + timedelta(days=400)
SORTER = EventSorter(VISITS)


def message(value: bytes | None, offset: int = 0, at: datetime = AT) -> Message:
    return Message("visits", 0, offset, at, None, value)


def visit(**changed: Any) -> dict[str, Any]:
    row = {**TinySource().received_on(FIRST_DAY)["visits"][0], "event_at": AT.isoformat(), **changed}
    return {name: value for name, value in row.items() if name != "received_at"}


POISON: dict[str, bytes | None] = {
    "tombstone": None,
    "nothing": b"",
    "blank": b" \n\t ",
    "no JSON": b"visit of today",
    "cut off": b'{"event_id": "v',
    "a list": b"[1, 2]",
    "a number": b"7",
    "several objects": b'{"a": 1}\n{"a": 2}',
    "newline in a text": b'{"event_id": "x\ny"}',
    "UTF-16": json.dumps(visit()).encode("utf-16"),
    "Latin-1": b'{"event_id": "caf\xe9"}',
    "gzip": b"\x1f\x8b\x08\x00\n\n\x00",
    "Parquet": b"PAR1\x15\x04PAR1",
    "too long": b'{"event_id": "' + b"x" * (1 << 20) + b'"}',
    "another version": json.dumps(visit(schema_version=2)).encode(),
    "missing field": b"{}",
    "unknown field": json.dumps(visit(surprise=1)).encode(),
    "out of range": json.dumps(visit(cart_value=-1)).encode(),
    "happens later": json.dumps(visit(event_at="2024-01-01T13:00:00Z")).encode(),
}
SHORT = [value for value in POISON.values() if value is None or len(value) < 1_000]
values = st.sampled_from(SHORT) | st.binary(max_size=40) | st.text(max_size=20).map(str.encode)


@pytest.mark.parametrize("value", POISON.values(), ids=POISON)
def test_poison_is_a_dead_letter_with_a_reason_and_a_quarantined_row(value: bytes | None) -> None:
    found = sort_messages(SORTER, [message(value)], NOW)

    assert len(found.valid) == 0
    assert [letter.message.value for letter in found.dead] == [value]
    landed = parse_events(raw_row(message(value)) + b"\n", VISITS, "f", FIRST_DAY)
    assert (landed.n_rows, landed.n_quarantined) == (1, 1)
    reasons = [f"{event.column}: {event.reason}" if event.column else event.reason for event in landed.quarantined]
    assert found.dead[0].reason == "; ".join(reasons)


@settings(max_examples=40, deadline=None)
@given(st.lists(values | st.just(json.dumps(visit()).encode()), min_size=1, max_size=6))
@example([POISON["UTF-16"], json.dumps(visit()).encode()])
def test_a_message_among_others_is_one_row_and_is_judged_as_alone(some: list[bytes | None]) -> None:
    messages = [message(value, offset) for offset, value in enumerate(some)]

    landed = parse_events(b"".join(raw_row(m) + b"\n" for m in messages), VISITS, "f", FIRST_DAY)
    found = sort_messages(SORTER, messages, NOW)

    assert landed.n_rows == len(messages)
    assert len(landed.valid) == len(found.valid) == len(messages) - len(found.dead)
    alone = [m for m in messages if sort_messages(SORTER, [m], NOW).dead]
    assert sorted(letter.message.offset for letter in found.dead) == [m.offset for m in alone]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.sampled_from([None, 2]))
def test_an_object_keeps_its_fields_and_is_received_when_it_was_stamped(
    fields: dict[str, Any], indent: int | None
) -> None:
    row = raw_row(message(json.dumps(fields, indent=indent).encode() + b"\r\n"))

    assert b"\n" not in row
    assert json.loads(row) == {**fields, "received_at": "2024-01-01T12:00:00+00:00"}


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_senders_own_time_of_receipt_counts_for_nothing(place: str) -> None:
    theirs = {"received_at": "1999-01-01T00:00:00Z"}
    value = {**theirs, **visit()} if place == "first" else {**visit(), **theirs}

    found = sort_messages(SORTER, [message(json.dumps(value).encode())], NOW)

    assert found.dead == ()
    assert found.valid["received_at"].tolist() == [AT]


def test_messages_of_two_days_are_each_judged_by_their_own(tmp_path: object) -> None:
    late = AT + timedelta(hours=13)
    messages = [message(json.dumps(visit(event_id=str(n))).encode(), n, at) for n, at in enumerate([late, AT, late])]

    found = sort_messages(SORTER, messages, NOW)

    assert found.dead == ()
    assert sorted(found.valid["received_at"]) == [AT, late, late]


def test_a_message_from_the_future_is_refused() -> None:
    value = json.dumps(visit()).encode()

    (letter,) = sort_messages(SORTER, [message(value)], AT - timedelta(hours=1)).dead

    assert letter.reason.startswith("received_at: received_at lies in the future")


@settings(max_examples=40, deadline=None)
@given(st.timedeltas(timedelta(minutes=-2), timedelta(minutes=2)), st.timedeltas(timedelta(0), timedelta(days=300)))
@example(SKEW, timedelta(0))
@example(SKEW + timedelta(milliseconds=1), timedelta(0))
def test_a_message_is_judged_by_when_it_was_consumed_however_much_later_it_is_read(
    ahead: timedelta, later: timedelta
) -> None:
    found = Message("visits", 0, 0, AT, None, json.dumps(visit()).encode(), AT - ahead)

    streamed = sort_messages(SORTER, [found], AT - ahead + SKEW)
    landed = parse_events(raw_row(found) + b"\n", VISITS, "f", FIRST_DAY)
    read_again = sort_messages(SORTER, [found], AT + later + SKEW)

    assert len(streamed.dead) == landed.n_quarantined == len(read_again.dead) == (ahead > SKEW)


@pytest.mark.parametrize("at_ms", [int(AT.timestamp() * 1e6), int(AT.timestamp()), -1], ids=["µs", "s", "none"])
def test_a_stamp_that_is_not_in_milliseconds_is_a_dead_letter(at_ms: int) -> None:
    value = json.dumps(visit()).encode()

    (letter,) = sort_messages(SORTER, [message(value, at=stamp(at_ms)), message(value, 1)], NOW).dead

    assert letter.message.offset == 0
    assert letter.reason.startswith(("received_at: received_at lies in the future", "event_at: event_at is after"))


def test_no_message_gives_no_event_with_all_columns() -> None:
    assert list(sort_messages(SORTER, [], NOW).valid.columns) == list(VISITS.schema.columns)
