"""OpenTelemetry: finished spans, sent to a collector by OTLP over HTTP in the background.

Belongs here: the OpenTelemetry packages, queue and thread included. Does not belong here: which span is made when, and
its ids (``contracts.tracing``). Upstream: spans of service, shadow worker and runs. Downstream: the collector, which
may be away, hang or be full: then spans are dropped, and nobody waits.

Spans come with their ids and times, so they are made as what the SDK's processor takes, past its tracer. Further
variables of OpenTelemetry (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_BSP_*``, ``OTEL_RESOURCE_ATTRIBUTES``) hold as well.
"""

import logging
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from multiprocessing.util import Finalize
from typing import Any

from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.tracing import Span, SpanContext

EXPORTER = "opentelemetry.exporter.otlp.proto.http"
EXPORTER_LOGGER = "opentelemetry.exporter"
TRACES_PATH = "/v1/traces"
SCOPE = "shadow_platform"
EXPORT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
"""A process that ends waits no longer for its last spans to be taken."""


def require_exporter() -> None:
    """Raise ``SettingsError`` in one line when the exporter is not installed."""
    try:
        found = find_spec(EXPORTER)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set and opentelemetry-exporter-otlp-proto-http is not installed; "
            "install it: pip install 'shadow-platform[otel]', or unset the variable"
        )


def traces_url(endpoint: str) -> str:
    """Where a collector takes spans, from its base URL or from that place itself."""
    return endpoint.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH


def ask_collector(endpoint: str, timeout_s: float) -> int | str:
    """Send no spans, as ``OtlpSpans`` sends some: what the collector answers, or why it does not.

    Raises:
        SettingsError: the exporter is not installed.
    """
    require_exporter()
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    class Listening(requests.Session):
        told: int | str = "no answer"

        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            try:
                response = super().send(*args, **kwargs)
            except requests.RequestException as error:
                self.told = type(error).__name__
                raise
            self.told = response.status_code
            return response

    logger, session = logging.getLogger(EXPORTER_LOGGER), Listening()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        exporter = OTLPSpanExporter(endpoint=traces_url(endpoint), timeout=timeout_s, session=session)
        exporter.export([])
        exporter.shutdown()  # type: ignore[no-untyped-call]
    finally:
        logger.setLevel(level)
    return session.told


class OtlpSpans:
    """Sends spans to one collector.

    Args:
        endpoint: base URL of the collector.
        about: what every span of this process says of it (``service.name`` and the like).
    """

    def __init__(self, endpoint: str, about: Mapping[str, str]) -> None:
        require_exporter()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        # It says at WARNING whenever it tries again, and at ERROR when it gives a batch up: once is enough.
        logging.getLogger(EXPORTER_LOGGER).setLevel(logging.ERROR)
        exporter = OTLPSpanExporter(endpoint=traces_url(endpoint), timeout=EXPORT_TIMEOUT_S)
        self._processor = BatchSpanProcessor(exporter)
        self._resource = Resource.create(dict(about))
        self._scope = InstrumentationScope(SCOPE)
        self._prepare()
        # Unlike atexit, this also runs when a child of multiprocessing ends.
        self._at_exit = Finalize(self, _close, args=(self._processor,), exitpriority=10)

    def emit(self, span: Span) -> None:
        """Queue one span; when the queue is full, the oldest is dropped."""
        context = self._context(span.context)
        self._processor.on_end(
            self._span(
                span.name,
                context,
                self._context(span.parent) if span.parent else None,
                self._resource,
                span.attributes,
                links=[self._link(self._context(link)) for link in span.links],
                kind=self._kinds[span.kind],
                status=self._failed(span.problem) if span.problem else self._unset,
                start_time=span.started_ns,
                end_time=span.ended_ns,
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what is queued, within ``CLOSE_TIMEOUT_S``."""
        self._at_exit()

    def _prepare(self) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace.status import Status, StatusCode

        sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)

        def context_of(place: SpanContext) -> trace.SpanContext:
            return trace.SpanContext(place.trace_id, place.span_id, False, sampled)

        def failed(problem: str) -> Status:
            return Status(StatusCode.ERROR, problem)

        kinds = trace.SpanKind
        self._span, self._link, self._context, self._failed = ReadableSpan, trace.Link, context_of, failed
        self._unset = Status(StatusCode.UNSET)
        self._kinds = {"server": kinds.SERVER, "consumer": kinds.CONSUMER, "internal": kinds.INTERNAL}


def _close(processor: "object") -> None:
    """End the processor in a thread that nobody waits for longer than ``CLOSE_TIMEOUT_S``."""
    ending = threading.Thread(target=processor.shutdown, name="last spans", daemon=True)  # type: ignore[attr-defined]
    ending.start()
    ending.join(CLOSE_TIMEOUT_S)
