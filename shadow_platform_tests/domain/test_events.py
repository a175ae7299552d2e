"""Every raw row ends as one valid event or in quarantine with a reason, whatever its fault."""

import gc
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.contracts.errors import EventFileError
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.domain.events import EventSorter, Tally, parse_events, quarantine_frame
from shadow_platform.domain.events.decoding import careful_rows, certain_rows
from shadow_platform.domain.events.faults import Faults
from shadow_platform.domain.events.form import RowForm
from shadow_platform.domain.events.lines import MAX_LINE_BYTES, Chunk
from shadow_platform_tests.domain.events_kind import DAY, KIND, NOW, SCHEMA, encoded, event, parse, sort
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource


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
    assert parsed.valid.index.tolist() == [1, 2]


FAULTS = [
    (b"{not json", None, "not JSON"),
    (b"[1, 2]", None, "expected a JSON object, found list"),
    (b"null", None, "expected a JSON object, found NoneType"),
    (json.dumps(event()).encode().replace(b"mail", b"m\xe4il"), None, "not UTF-8: byte"),
    (b'{"event_id": NaN}', None, "not JSON: unexpected character"),
    (json.dumps(event()).encode().replace(b"12.5", b"1e400"), None, "not JSON: number is infinity"),
    (json.dumps(event()).encode().replace(b"mail", b"\\ud800"), None, "not JSON: no low surrogate"),
    (json.dumps(event()).encode().replace(b"mail", b"ma\x00il"), None, "not JSON: unexpected control character"),
    (json.dumps(event()).encode() * 2, None, "not JSON: unexpected content after document"),
    (b'{"event_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "not JSON: depth limit exceeded"),
    (b'{"event_id": "' + b"x" * MAX_LINE_BYTES + b'"}', None, "the line is too long: more than 1,048,576 bytes"),
    (b" " * MAX_LINE_BYTES + json.dumps(event()).encode(), None, "the line is too long"),
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
    (event(amount={"net": 1}), "amount", "expected a number, found {'net': 1}"),
    (event(items=2.5), "items", "expected a whole number, found 2.5"),
    (event(items=2**63), "items", "expected a whole number, found 9223372036854775808"),
    (event(items=None), "items", "failed not_nullable, found None"),
    (event(is_member=None), "is_member", "failed not_nullable, found None"),
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


def test_unknown_fields_of_a_row_are_one_fault_however_many_they_are() -> None:
    few = event(b=1, a=2)
    many = event(**{f"x{n:05d}": n for n in range(40_000)})
    content = b"".join(json.dumps(row).encode() + b"\n" for row in (few, many, event(**{"y" * 100_000: 1})))

    found = parse_events(content, KIND, "f", DAY).quarantined

    assert [(fault.row, fault.column) for fault in found] == [(1, "a"), (2, "x00000"), (3, "y" * 80)]
    assert found[0].reason == "the field is unknown to the schema: and so are 'b'"
    assert found[1].reason == (
        "the field is unknown to the schema: and so are 'x00001', 'x00002', 'x00003', 'x00004', 'x00005' "
        "and 39,994 more"
    )
    assert sum(len(fault.payload) + len(fault.reason) for fault in found) < 10_000


def test_names_that_a_sender_makes_up_do_not_swell_the_counts() -> None:
    tally, n_rows = Tally(["visits"]), 5_000
    content = b"".join(json.dumps(event(**{f"x{n}": 1})).encode() + b"\n" for n in range(n_rows))
    tally.sorted("visits", "f", DAY, parse_events(content, KIND, "f", DAY))

    shown = tally.violations_by_column()

    assert len(tally.violations) == len(tally.examples) <= 1_001
    assert len(shown) == 21
    assert sum(shown.values()) == sum(tally.violations.values()) == n_rows


def test_a_last_line_that_is_cut_off_is_named_so() -> None:
    parsed = parse(event(), json.dumps(event(event_id="e2")).encode()[:40], end=b"")
    assert parsed.valid["event_id"].tolist() == ["e1"]
    assert "the last line is cut off" in parsed.quarantined[0].reason


def test_a_complete_last_line_needs_no_newline() -> None:
    assert len(parse(event(), event(event_id="e2"), end=b"").valid) == 2


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_gives_no_events_in_the_schemas_types(content: bytes) -> None:
    parsed = parse_events(content, KIND, "f", DAY)
    assert (parsed.n_rows, len(parsed.valid)) == (0, 0)
    assert str(parsed.valid["event_at"].dtype) == "datetime64[us, UTC]"


def test_a_byte_order_mark_is_no_fault() -> None:
    assert len(parse_events(b"\xef\xbb\xbf" + json.dumps(event()).encode(), KIND, "f", DAY).valid) == 1


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08...", b"PAR1...", b"PK\x03\x04...", json.dumps(event()).encode("utf-16")]
)
def test_a_file_that_is_no_text_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(EventFileError, match=r"f is not UTF-8 JSON lines .* deliver it as plain UTF-8 text"):
        parse_events(content, KIND, "f", DAY)


def test_a_failure_that_pandera_cannot_locate_is_found_row_by_row() -> None:
    check = pa.Check(lambda frame: bool((frame["items"] < 10).all()), error="too many items")
    schema = pa.DataFrameSchema(SCHEMA.columns, checks=check)
    content = b"\n".join(json.dumps(event(event_id=f"e{n}", items=n)).encode() for n in (1, 50, 2))
    parsed = parse_events(content, EventKind("visits", "", schema), "f", DAY)
    assert parsed.valid["items"].tolist() == [1, 2]
    assert [(found.row, found.column, found.reason) for found in parsed.quarantined] == [
        (2, None, "failed too many items")
    ]


def test_texts_are_held_against_their_pattern_also_where_they_repeat() -> None:
    code = pa.Column(str, pa.Check.str_matches(r"^[a-z]{2}$"), nullable=True, coerce=True)
    kind = EventKind("visits", "", pa.DataFrameSchema({**SCHEMA.columns, "code": code}))
    rows = [event(event_id=f"e{n}", code=found) for n, found in enumerate(["ab", "ab", "a1", None, "a1", "ab"])]
    (part,) = sort(b"".join(encoded(row) + b"\n" for row in rows), kind=kind)
    assert part.valid["code"].tolist() == ["ab", "ab", None, "ab"]
    reason = "failed str_matches('^[a-z]{2}$'), found 'a1'"
    assert [(found.row, found.column, found.reason) for found in part.quarantined] == [
        (3, "code", reason),
        (5, "code", reason),
    ]


def test_a_rule_across_columns_names_row_and_reason() -> None:
    members_pay = pa.Check(lambda frame: frame["is_member"] | (frame["amount"] > 0), error="guests_pay")
    kind = EventKind("visits", "", pa.DataFrameSchema(SCHEMA.columns, checks=members_pay))
    rows = [event(event_id=f"e{n}", is_member=n != 1, amount=0) for n in range(3)]
    (part,) = sort(b"".join(encoded(row) + b"\n" for row in rows), kind=kind)
    assert part.valid["event_id"].tolist() == ["e0", "e2"]
    assert [(found.row, found.column, found.reason) for found in part.quarantined] == [(2, None, "failed guests_pay")]


def test_what_is_received_after_now_lies_in_the_future() -> None:
    (part,) = sort(encoded(event()), now=datetime(2024, 1, 1, 9, tzinfo=UTC))
    assert [found.column for found in part.quarantined] == ["received_at"]
    assert "received_at lies in the future: 2024-01-01T09:00:01.5" in part.quarantined[0].reason


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
MOMENTS = st.sampled_from(
    [
        "2024-01-01T09:00:00Z",
        "2024-01-01 09:00Z",
        "2024-01-01T10:00:00.123456789+01:00",
        "2024-01-01T09Z",
        "0001-01-01T00:00Z",
    ]
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*sorted(event()), "colour"), JSON),
        **dict.fromkeys(("event_at", "received_at"), MOMENTS),
        "amount": st.floats(0, 1e300) | st.integers(0, 2**70) | st.none(),
        "items": st.integers(-(2**64), 2**64),
    },
)
LINES = st.lists(
    st.binary(max_size=12)
    | st.sampled_from([b"", b"\r", b"{", b"}", b'{"a": [', b"]}", b"null", b"\x00"])
    | CHANGES.map(lambda changes: encoded(event(**changes)))
    | CHANGES.map(
        lambda changes: json.dumps(event(**changes), ensure_ascii=False, indent=None).encode("utf-8", "replace")
    )
    | st.just(encoded(event()) + b"\r")
    | st.sampled_from(sorted(event())).map(lambda name: encoded(without(name))),
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(LINES)
def test_no_row_is_ever_lost(lines: list[bytes]) -> None:
    content = b"\n".join([encoded(event(event_id="first")), *lines])
    parsed = parse_events(content, KIND, "f", DAY)
    assert parsed.n_rows == len(parsed.valid) + parsed.n_quarantined
    assert parsed.n_rows == sum(1 for line in content.split(b"\n") if line.strip())


@settings(deadline=None, max_examples=60)
@given(LINES)
def test_what_is_read_as_a_whole_is_what_is_read_line_by_line(lines: list[bytes]) -> None:
    chunk, form, faults = Chunk(b"".join(line + b"\n" for line in lines), 1), RowForm.of(KIND), Faults()
    as_a_whole = certain_rows(chunk, form)
    line_by_line, n_rows = careful_rows(chunk, form, faults)
    if as_a_whole is not None:
        assert not faults.reasons
        assert n_rows == len(lines)
        pd.testing.assert_frame_equal(as_a_whole, line_by_line, check_index_type=False)


def test_sound_rows_are_read_as_a_whole_also_with_nulls() -> None:
    lines = b"".join(encoded(event(event_id=f"e{n}", amount=None if n % 2 else n)) + b"\r\n" for n in range(4))
    frame = certain_rows(Chunk(lines, 7), RowForm.of(KIND))
    assert frame is not None
    assert frame.index.tolist() == [7, 8, 9, 10]


@settings(deadline=None, max_examples=60)
@given(LINES, st.integers(60, 400))
def test_the_size_of_blocks_changes_nothing(lines: list[bytes], block_bytes: int) -> None:
    content = b"\n".join([encoded(event()), *lines])
    whole = parse_events(content, KIND, "raw/f.jsonl", DAY)
    parts = sort(content, block_bytes)
    assert sum(part.n_rows for part in parts) == whole.n_rows
    together = pd.concat([part.valid for part in parts])
    assert together.index.tolist() == whole.valid.index.tolist()
    assert [found for part in parts for found in part.quarantined] == list(whole.quarantined)


def test_a_line_longer_than_any_block_harms_no_other() -> None:
    content = b"\n".join([encoded(event(event_id="a")), b"x" * 3 * MAX_LINE_BYTES, encoded(event(event_id="b"))])
    parts = sort(content, 1 << 16)
    assert [name for part in parts for name in part.valid["event_id"]] == ["a", "b"]
    (found,) = [found for part in parts for found in part.quarantined]
    assert (found.row, found.payload) == (2, "x" * 4_096)


def peak_bytes(n_blocks: int) -> int:
    """Most memory held at once; what the process made before is no garbage, so that collecting is quick."""
    block = b"".join(encoded(event(event_id=f"e{n}", amount=n - 3)) + b"\n" for n in range(4_000))
    gc.freeze()
    tracemalloc.start()
    try:
        for _ in EventSorter(KIND).sort((bytes(bytearray(block)) for _ in range(n_blocks)), "f", DAY, NOW):
            gc.collect()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def test_memory_does_not_grow_with_the_file() -> None:
    """Thirty times the rows may not take three times the memory; other threads of this process take some of it."""
    peak_bytes(1)
    assert peak_bytes(60) < 3 * peak_bytes(2)


def test_counts_come_with_a_table_of_what_is_wrong() -> None:
    tally = Tally(["visits"])
    rows = (event(), event(amount=-1), event(amount=-2), event(channel="fax|post"))
    tally.sorted("visits", "raw/f.jsonl", DAY, parse(*rows))
    tally.written("visits", "raw/f.jsonl", DAY, 1)
    assert (dict(tally.rows), dict(tally.valid), dict(tally.quarantined)) == (
        {"visits": 4},
        {"visits": 1},
        {"visits": 3},
    )
    assert tally.by_day == {DAY: (1, 3)}
    assert tally.incomplete == []
    header, _, first, second = tally.table().splitlines()
    assert header == "| rows | kind | column | what is wrong | for example |"
    assert first == "| 2 | visits | amount | failed greater_than_or_equal_to(0) | raw/f.jsonl:2 |"
    assert second.startswith("| 1 | visits | channel | failed isin(('mail', 'shop'))")
    assert Tally([]).table() == "Every row was accepted."


def test_a_file_whose_rows_do_not_add_up_is_named() -> None:
    tally = Tally(["visits"])
    tally.sorted("visits", "raw/f.jsonl", DAY, parse(event(), event(event_id="e2")))
    tally.written("visits", "raw/f.jsonl", DAY, 1)
    assert tally.incomplete == ["raw/f.jsonl"]
