"""A collector of traces: takes OTLP over HTTP as a real one does, and can be told to refuse or to hang.

Belongs here: decoding what arrives. Does not belong here: what should arrive. Upstream: exporters. Downstream: tests of
tracing, and the benchmark of its cost.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Mode = Literal["take", "refuse", "hang"]


@dataclass(frozen=True)
class Received:
    """One span as it arrived; ids are hexadecimal, ``parent`` is empty for a root."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: Mapping[str, Any]
    started_ns: int
    ended_ns: int
    is_error: bool
    problem: str

    @property
    def context(self) -> tuple[str, str]:
        """What another span links to."""
        return self.trace_id, self.span_id


@dataclass
class Collector:
    """Spans taken so far."""

    url: str = ""
    mode: Mode = "take"
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    n_calls: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[Received]:
        """Spans of a name, in the order of their arrival."""
        return [span for span in self.spans if span.name == name]

    def of_trace(self, trace_id: str) -> list[Received]:
        """Spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, body: bytes) -> None:
        """Decode one request; raises ``DecodeError`` when it is not OTLP."""
        self.bodies.append(body)
        taken: list[Received] = []
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            taken += [_received(service, span) for scope in resource.scope_spans for span in scope.spans]
        self.spans += taken  # all at once: tests look on while requests arrive


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.n_calls += 1
            if collector.mode == "hang":
                collector.over.wait()
                return
            if collector.mode == "refuse" or self.path != "/v1/traces":
                self.send_error(503)
                return
            collector.take(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.over.set()
            server.shutdown()
            thread.join()


def _received(service: str, span: Any) -> Received:
    return Received(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _values(span.attributes),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        span.status.message,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
