"""Spans, where they belong in a trace, and the ids by which processes find each other's spans without a message.

Belongs here: what a finished span is, ids derived from the ids that the platform has anyway, the header
``traceparent``. Does not belong here: exporting (``adapters.tracing``), which span is made when. Upstream: request and
run ids. Downstream: service, shadow worker, Dagster's runs, the exporter.

A trace of a request has the request's id as its trace id, a trace of a run the run's (ADR 0029). So the shadow worker,
which reads nothing but the log, knows trace and span of every request, and decides by the id alone whether it is
traced.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

HEX_DIGITS = 32
MASK_64 = (1 << 64) - 1
GOLDEN_64 = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: an odd factor that spreads neighbouring numbers over the whole range."""
MAX_LINKS = 128
"""OpenTelemetry's own limit of links of a span."""

Kind = Literal["server", "consumer", "internal"]
Attribute = str | int | float | bool
TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class SpanContext(NamedTuple):
    """A span's place: trace id (128 bits) and span id (64 bits), neither ever 0."""

    trace_id: int
    span_id: int


class Caller(NamedTuple):
    """What a caller's ``traceparent`` says: its span, and whether it is traced."""

    context: SpanContext
    is_sampled: bool


class Span(NamedTuple):
    """A finished span.

    Attributes:
        started_ns: nanoseconds since the epoch, as ``ended_ns``.
        attributes: no feature value, entity key or other personal data, ever.
        links: spans of other traces, or of this one, that it has to do with.
        problem: why it failed, in a word; ``None`` when it did not.
    """

    name: str
    context: SpanContext
    started_ns: int
    ended_ns: int
    parent: SpanContext | None = None
    attributes: Mapping[str, Attribute] = {}
    links: Sequence[SpanContext] = ()
    kind: Kind = "internal"
    problem: str | None = None


class SpanSink(Protocol):
    """Takes finished spans. Neither method waits for anybody or raises."""

    def emit(self, span: Span) -> None:
        """Take one span, or drop it."""

    def close(self) -> None:
        """Send what there is, within a short time."""


def context_of(id_: str) -> SpanContext:
    """Trace and root span of a request or run: the 128 bits of its UUID, and their lower half; of other ids a hash.

    >>> [hex(part) for part in context_of("018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11")]
    ['0x18d0c1f6b5e7c3a9f600d4f3c7b2a11', '0x9f600d4f3c7b2a11']
    """
    digits = id_.replace("-", "")
    try:
        # As uuid.UUID reads it, in a fifth of the time.
        bits = int(digits, 16) if len(digits) == HEX_DIGITS and digits.isalnum() else -1
    except ValueError:
        bits = -1
    if bits < 0:
        bits = int.from_bytes(blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return SpanContext(bits or 1, bits & MASK_64 or 1)


def child_of(context: SpanContext, number: int) -> SpanContext:
    """Place of a span's n-th child, from 1: the same in every process, and different for every n.

    >>> child_of(SpanContext(7, 9), 1) == child_of(SpanContext(7, 9), 2)
    False
    """
    return SpanContext(context.trace_id, (context.span_id ^ (number * GOLDEN_64 & MASK_64)) or 1)


def is_sampled(trace_id: int, share: float) -> bool:
    """Whether a trace is among the share that is traced; every process says the same of the same trace.

    The lower half of the id is mixed first: UUIDs of one millisecond differ in few of its bits.

    >>> is_sampled(1, 0.0), is_sampled(1, 1.0)
    (False, True)
    """
    return (trace_id * GOLDEN_64 & MASK_64) < share * (MASK_64 + 1)


def parse_traceparent(value: bytes | None) -> Caller | None:
    """The caller's span by W3C Trace Context; ``None`` without one, or when it is malformed, which callers may be.

    >>> parse_traceparent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_sampled
    True
    >>> parse_traceparent(b"00-00000000000000000000000000000000-b7ad6b7169203331-01") is None
    True
    """
    found = TRACEPARENT.fullmatch(value) if value else None
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    context = SpanContext(int(found[2], 16), int(found[3], 16))
    return Caller(context, bool(int(found[4], 16) & 1)) if all(context) else None
