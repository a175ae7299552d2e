"""Ids by which spans of different processes belong together, and what callers say in ``traceparent``."""

from uuid import uuid4

import pytest
import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from bento.answering.idempotency import request_id_of
from shadow_platform.contracts.tracing import Caller, SpanContext, child_of, context_of, is_sampled, parse_traceparent

MADE_BY = {
    "uuid7": lambda n: str(uuid_utils.uuid7()),
    "keyed": lambda n: request_id_of("churn", f"key-{n}", 0),
    "uuid4": lambda n: str(uuid4()),
}


def test_a_trace_is_named_after_the_request() -> None:
    id_ = str(uuid_utils.uuid7())
    context = context_of(id_)

    assert f"{context.trace_id:032x}" == id_.replace("-", "")
    assert f"{context.span_id:016x}" == id_.replace("-", "")[16:]


@given(st.text())
def test_any_id_names_a_trace_and_always_the_same(id_: str) -> None:
    context = context_of(id_)

    assert context == context_of(id_)
    assert 0 < context.trace_id < 1 << 128
    assert 0 < context.span_id < 1 << 64


@pytest.mark.parametrize("made_by", MADE_BY)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_of_traced_requests_is_the_one_asked_for_even_within_one_millisecond(
    made_by: str, share: float
) -> None:
    n = 20_000
    traced = sum(is_sampled(context_of(MADE_BY[made_by](index)).trace_id, share) for index in range(n))

    spread = (n * share * (1 - share)) ** 0.5
    assert abs(traced - n * share) < 7 * spread


def test_whoever_is_traced_at_a_small_share_is_traced_at_a_larger_one() -> None:
    ids = [context_of(str(uuid_utils.uuid7())).trace_id for _ in range(5_000)]
    few, many = ({id_ for id_ in ids if is_sampled(id_, share)} for share in (0.05, 0.3))

    assert few < many
    assert not any(is_sampled(id_, 0.0) for id_ in ids)
    assert all(is_sampled(id_, 1.0) for id_ in ids)


def test_children_differ_from_their_parent_from_each_other_and_from_those_of_its_neighbours() -> None:
    parents = [SpanContext(5, 1 << 63 | n) for n in range(200)]
    children = [child_of(parent, number) for parent in parents for number in range(1, 8)]

    assert len({*parents, *children}) == len(parents) + len(children)
    assert {child.trace_id for child in children} == {5}


def test_the_span_of_a_caller_is_read_by_the_standard() -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    context = SpanContext(int(trace, 16), int(span, 16))

    assert parse_traceparent(f"00-{trace}-{span}-01".encode()) == Caller(context, True)
    assert parse_traceparent(f"00-{trace}-{span}-00".encode()) == Caller(context, False)
    # A later version may say more behind; what it says in the known places holds.
    assert parse_traceparent(f"cc-{trace}-{span}-03-more".encode()) == Caller(context, True)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
    ],
)
def test_a_malformed_caller_is_nobody(value: bytes) -> None:
    assert parse_traceparent(value) is None


@given(st.binary())
def test_no_header_breaks_anything(value: bytes) -> None:
    parse_traceparent(value)
