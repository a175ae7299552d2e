"""The spans of one answered request, made when it was answered: what came before it, its steps, its predictions.

Belongs here: which spans a request has, and whether it is traced. Does not belong here: ids (``contracts.tracing``),
sending (``adapters.tracing``). Upstream: the request's context. Downstream: the sink. Nobody waits for either.

A request belongs to the trace of its caller, if there is one, else to the one named after its prediction. Wherever it
is, a traced prediction has a span in the trace named after it, so that whoever knows its id alone can link to it.
"""

from collections.abc import Iterator
from time import perf_counter_ns, time_ns

import uuid_utils

from shadow_platform.contracts.tracing import (
    MAX_LINKS,
    Attribute,
    Span,
    SpanContext,
    SpanSink,
    child_of,
    context_of,
    is_sampled,
    parse_traceparent,
)
from shadow_platform.telemetry.context import RequestContext


class RequestSpans:
    """Spans of one worker's requests.

    Args:
        share: of requests that are traced; a caller that says so in ``traceparent`` decides itself.
    """

    def __init__(self, sink: SpanSink, share: float, use_case: str) -> None:
        self._sink = sink
        self._share = share
        self._use_case = use_case

    def report(self, request: RequestContext, name: str, status: int, problem: str | None) -> None:
        """Send the spans of a request that ends now, if it is traced.

        Args:
            name: method and route, such as ``POST /predict``.
            problem: kind of the problem document it was answered with.
        """
        ended = perf_counter_ns()
        caller = parse_traceparent(request.traceparent)
        places = [context_of(id_) for id_ in request.ids]
        seed = places[0] if places else context_of(request.seed or str(uuid_utils.uuid7()))
        traced = [is_sampled(place.trace_id, self._share) for place in places or (seed,)]
        if not (caller.is_sampled if caller else any(traced)):
            return
        place = SpanContext(caller.context.trace_id, seed.span_id) if caller else seed
        offset = time_ns() - ended
        found = zip(request.ids, places, traced, strict=False)
        anchors = {id_: own for id_, own, is_traced in found if is_traced and own != place}
        attributes = self._attributes(request, name, status)
        self._sink.emit(
            Span(
                name,
                place,
                request.started + offset,
                ended + offset,
                caller.context if caller else None,
                attributes | ({"error.type": problem} if problem else {}),
                tuple(anchors.values())[:MAX_LINKS],
                "server",
                problem if status >= 500 else None,
            )
        )
        for step in _steps(request, place, offset):
            self._sink.emit(step)
        for id_, context in anchors.items():
            said = {"shadow.request_id": id_, "shadow.use_case": self._use_case}
            self._sink.emit(Span("prediction", context, request.started + offset, ended + offset, None, said, (place,)))

    def close(self) -> None:
        """Send what is left."""
        self._sink.close()

    def _attributes(self, request: RequestContext, name: str, status: int) -> dict[str, Attribute]:
        method, _, route = name.partition(" ")
        attributes: dict[str, Attribute] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "shadow.use_case": self._use_case,
            "shadow.predictions": len(request.ids),
        }
        if request.model_version is not None:
            attributes["shadow.model_version"] = request.model_version
        if len(request.ids) == 1:
            attributes["shadow.request_id"] = request.ids[0]
        return attributes


def _steps(request: RequestContext, place: SpanContext, offset: int) -> Iterator[Span]:
    began = request.started
    for number, (name, ended) in enumerate(request.steps or (), start=1):
        yield Span(name, child_of(place, number), began + offset, ended + offset, place)
        began = ended
