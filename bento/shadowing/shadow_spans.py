"""The spans of a challenger's micro-batches, linked by request id to the requests that were compared.

Belongs here: which spans a micro-batch has. Does not belong here: ids (``contracts.tracing``), sending
(``adapters.tracing``), scoring. Upstream: a lane's shadow records. Downstream: the sink, which a lane never waits for.

The shadow worker reads nothing but the log, which knows no traces: trace and span of a request follow from its id, and
so does whether it is traced. A batch is a trace of its own with a link to each traced request; each of those gets a
span beside its answer, with a link back to the batch.
"""

from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import uuid_utils

from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.contracts.tracing import (
    MAX_LINKS,
    Attribute,
    Span,
    SpanContext,
    SpanSink,
    child_of,
    context_of,
    is_sampled,
)


class ShadowSpans:
    """Spans of one shadow worker.

    Args:
        share: of requests that are traced; the same as the service's.
    """

    def __init__(self, sink: SpanSink, share: float, use_case: str) -> None:
        self._sink = sink
        self._share = share
        self._use_case = use_case

    def report(self, version: str, records: Sequence[ShadowRecord], started_ns: int, ended_ns: int) -> None:
        """Send the spans of one micro-batch, if one of its requests is traced; times since the epoch."""
        places = [(record, context_of(record.request_id)) for record in records]
        traced = [(record, place) for record, place in places if is_sampled(place.trace_id, self._share)]
        if not traced:
            return
        batch = context_of(str(uuid_utils.uuid7()))
        outcomes = Counter(record.outcome for record in records)
        said: dict[str, Attribute] = {"shadow.use_case": self._use_case, "shadow.challenger_version": version}
        counts: dict[str, Attribute] = {f"shadow.{outcome}": n for outcome, n in sorted(outcomes.items())}
        size: dict[str, Attribute] = {"messaging.batch.message_count": len(records)}
        links = tuple(place for _, place in traced)[:MAX_LINKS]
        self._sink.emit(
            Span("score micro-batch", batch, started_ns, ended_ns, None, said | size | counts, links, kind="consumer")
        )
        for record, place in traced:
            self._sink.emit(_compared(record, place, batch, said, (started_ns, ended_ns)))

    def close(self) -> None:
        """Send what is left."""
        self._sink.close()


def _compared(
    record: ShadowRecord,
    request: SpanContext,
    batch: SpanContext,
    said: dict[str, Attribute],
    span_ns: tuple[int, int],
) -> Span:
    error = record.challenger.error
    return Span(
        "compare prediction",
        child_of(request, crc32(f"shadow {record.challenger.model_version}".encode())),
        *span_ns,
        request,
        said | {"shadow.request_id": record.request_id, "shadow.outcome": record.outcome},
        (batch, request),
        problem=error.partition(":")[0] if error else None,
    )
