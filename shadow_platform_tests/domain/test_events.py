"""Every raw row ends as one valid event or in quarantine with a reason, whatever its fault."""

import json
from datetime import date
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import EventFileError
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events import ParsedEvents, event_keys, parse_events, quarantine_frame
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

DAY = date(2024, 1, 1)
_TIME = pd.DatetimeTZDtype(unit="us", tz="UTC")
SCHEMA = pa.DataFrameSchema(
    {
        "event_id": pa.Column(str, coerce=True),
        "event_at": pa.Column(_TIME, coerce=True),
        "received_at": pa.Column(_TIME, coerce=True),
        "channel": pa.Column(str, pa.Check.isin(("mail", "shop")), coerce=True),
        "amount": pa.Column(float, pa.Check.ge(0), nullable=True, coerce=True),
        "items": pa.Column(int, coerce=True),
        "is_member": pa.Column(bool, coerce=True),
    }
)
KIND = EventKind("visits", "A visitor came", SCHEMA)


def event(**changes: Any) -> dict[str, Any]:
    row = {"event_id": "e1", "event_at": "2024-01-01T09:00:00Z", "received_at": "2024-01-01T09:00:01.5+00:00"}
    return {**row, "channel": "mail", "amount": 12.5, "items": 2, "is_member": True, "schema_version": 1} | changes


def parse(*lines: dict[str, Any] | bytes, end: bytes = b"\n", **arguments: Any) -> ParsedEvents:
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + end
    return parse_events(content, KIND, "raw/f.jsonl", DAY, **arguments)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in event().items() if key != name}


def test_valid_rows_come_back_in_order_with_the_schemas_types() -> None:
    parsed = parse(event(), event(event_id="e2", amount=None))
    assert parsed.quarantined == ()
    assert list(parsed.valid.columns) == list(SCHEMA.columns)
    assert parsed.valid["event_id"].tolist() == ["e1", "e2"]
    assert parsed.valid["received_at"].iloc[0].isoformat() == "2024-01-01T09:00:01.500000+00:00"
    assert str(parsed.valid["event_at"].dtype) == "datetime64[us, UTC]"
    assert parsed.valid["amount"].isna().tolist() == [False, True]
    assert event_keys(parsed.valid, KIND) == [("e1",), ("e2",)]


FAULTS = [
    (b"{not json", None, "not JSON"),
    (b"[1, 2]", None, "expected a JSON object, found list"),
    (b"null", None, "expected a JSON object, found NoneType"),
    (json.dumps(event()).encode().replace(b"mail", b"m\xe4il"), None, "not UTF-8 at byte"),
    (b'{"event_id": NaN}', None, "NaN is no JSON number"),
    (event(schema_version=2), "schema_version", "expected schema_version 1, found 2"),
    (event(schema_version=True), "schema_version", "expected schema_version 1, found True"),
    (without("schema_version"), "schema_version", "expected schema_version 1, found None"),
    (without("amount"), "amount", "the field is missing"),
    (event(colour="red"), "colour", "the field is unknown to the schema"),
    (event(event_id=None), "event_id", "failed not_nullable"),
    (event(event_id=5), "event_id", "expected a string, found 5"),
    (event(amount="12"), "amount", "expected a number, found '12'"),
    (event(amount=True), "amount", "expected a number, found True"),
    (event(amount=-1), "amount", "failed greater_than_or_equal_to"),
    (event(items=2.5), "items", "expected a whole number, found 2.5"),
    (event(is_member=1), "is_member", "expected true or false, found 1"),
    (event(channel="fax"), "channel", "found 'fax'"),
    (event(event_at="2024-01-01T09:00:00"), "event_at", "with its offset from UTC"),
    (event(event_at="2024-13-01T09:00:00Z"), "event_at", "expected an RFC 3339 time"),
    (event(event_at=1704099600), "event_at", "expected an RFC 3339 time"),
    (event(event_at="2024-01-01T09:00:02Z"), "event_at", "is after received_at"),
    (event(event_at="2023-12-31T09:00:00Z", received_at="2023-12-31T23:59:59Z"), "received_at", "is not on 2024-01-01"),
    (event(received_at="2024-01-02T00:00:00Z"), "received_at", "is not on 2024-01-01"),
]


@pytest.mark.parametrize(("line", "column", "reason"), FAULTS, ids=[f"{c or 'row'}: {r}" for _, c, r in FAULTS])
def test_a_faulty_row_is_quarantined_whole_with_its_reason_and_harms_no_other(
    line: dict[str, Any] | bytes, column: str | None, reason: str
) -> None:
    parsed = parse(event(event_id="before"), line, event(event_id="after"))
    assert parsed.valid["event_id"].tolist() == ["before", "after"]
    (found,) = parsed.quarantined
    assert (found.kind, found.file, found.row, found.column) == ("visits", "raw/f.jsonl", 2, column)
    assert reason in found.reason
    assert found.payload
    assert (parsed.n_rows, parsed.n_quarantined) == (3, 1)


def test_a_row_with_several_faults_names_each_but_counts_once() -> None:
    parsed = parse(event(amount="12", items="many"))
    assert [found.column for found in parsed.quarantined] == ["amount", "items"]
    assert (parsed.n_rows, parsed.n_quarantined) == (1, 1)


def test_a_last_line_that_is_cut_off_is_named_so() -> None:
    parsed = parse(event(), json.dumps(event(event_id="e2")).encode()[:40], end=b"")
    assert parsed.valid["event_id"].tolist() == ["e1"]
    assert "the last line is cut off" in parsed.quarantined[0].reason


def test_a_complete_last_line_needs_no_newline() -> None:
    assert len(parse(event(), event(event_id="e2"), end=b"").valid) == 2


def test_the_second_of_two_rows_with_one_key_is_a_duplicate() -> None:
    parsed = parse(event(), event(amount=99))
    assert parsed.valid["amount"].tolist() == [12.5]
    assert "duplicate of an event already received: {'event_id': 'e1'}" in parsed.quarantined[0].reason


def test_a_key_received_on_an_earlier_day_is_a_duplicate() -> None:
    parsed = parse(event(), event(event_id="e2"), known_keys={("e1",)})
    assert parsed.valid["event_id"].tolist() == ["e2"]


def test_an_invalid_row_does_not_make_its_repetition_a_duplicate() -> None:
    parsed = parse(event(amount="?"), event())
    assert parsed.valid["event_id"].tolist() == ["e1"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_gives_no_events_in_the_schemas_types(content: bytes) -> None:
    parsed = parse_events(content, KIND, "f", DAY)
    assert (parsed.n_rows, len(parsed.valid)) == (0, 0)
    assert str(parsed.valid["event_at"].dtype) == "datetime64[us, UTC]"


def test_a_byte_order_mark_is_no_fault() -> None:
    assert len(parse_events(b"\xef\xbb\xbf" + json.dumps(event()).encode(), KIND, "f", DAY).valid) == 1


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08...", b"PAR1...", json.dumps(event()).encode("utf-16")])
def test_a_file_that_is_no_text_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(EventFileError, match=r"f is not UTF-8 JSON lines .* deliver it as plain UTF-8 text"):
        parse_events(content, KIND, "f", DAY)


def test_a_failure_that_pandera_cannot_locate_is_found_row_by_row() -> None:
    check = pa.Check(lambda frame: bool((frame["items"] < 10).all()), error="too many items")
    schema = pa.DataFrameSchema(SCHEMA.columns, checks=check)
    content = b"\n".join(json.dumps(event(event_id=f"e{n}", items=n)).encode() for n in (1, 50, 2))
    parsed = parse_events(content, EventKind("visits", "", schema), "f", DAY)
    assert parsed.valid["items"].tolist() == [1, 2]
    assert [found.row for found in parsed.quarantined] == [2]


def test_long_payloads_are_cut() -> None:
    assert len(parse(event(channel="x" * 10_000)).quarantined[0].payload) == 4_096


def test_quarantined_rows_fit_their_table() -> None:
    frame = quarantine_frame(parse(event(amount="?"), b"{").quarantined, "tiny", DAY)
    assert tuple(frame.columns) == QUARANTINED_EVENTS.column_names
    assert frame["column_name"].tolist() == ["amount", None]
    assert quarantine_frame((), "tiny", DAY).empty


def test_everything_the_tiny_source_sends_is_valid() -> None:
    received = TinySource().received_on(FIRST_DAY)
    for kind in USE_CASE.events:
        content = "\n".join(json.dumps(row) for row in received[kind.name]).encode()
        parsed = parse_events(content, kind, "f", FIRST_DAY)
        assert parsed.quarantined == ()
        assert len(parsed.valid) == len(received[kind.name]) > 0


JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
ROWS = st.lists(
    st.binary(max_size=12) | st.dictionaries(st.sampled_from(sorted(event())), JSON).map(lambda d: event(**d))
)


@given(ROWS)
def test_no_row_is_ever_lost(rows: list[dict[str, Any] | bytes]) -> None:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    content = b"\n".join([json.dumps(event(event_id="first")).encode(), *lines])
    parsed = parse_events(content, KIND, "f", DAY)
    assert parsed.n_rows == len(parsed.valid) + parsed.n_quarantined
    assert parsed.n_rows == sum(1 for line in content.split(b"\n") if line.strip())
