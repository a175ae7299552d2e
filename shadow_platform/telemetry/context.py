"""The request that is being answered, as log lines and spans speak of it.

Belongs here: what belongs to one request and to nobody else's code. Does not belong here: the request's content, ever.
Upstream: ``bento.api.app`` begins it, the predictor adds to it. Downstream: the formatter of log lines, request spans.
"""

from contextvars import ContextVar
from time import perf_counter_ns

from shadow_platform.contracts.tracing import context_of, parse_traceparent


class RequestContext:
    """One HTTP request under way.

    Attributes:
        request_id: its ``X-Request-ID``.
        is_own_id: whether this service made that id, so that nobody else has it.
        traceparent: the caller's header as it came.
        model_version: of the model that answers.
        ids: ids of the predictions in the answer.
        steps: name of each finished step, and when it ended (``perf_counter_ns``); ``None``: nothing is traced.
    """

    __slots__ = ("ids", "is_own_id", "model_version", "request_id", "started", "steps", "traceparent")

    def __init__(self, request_id: str = "", traceparent: bytes | None = None, *, is_traced: bool = False) -> None:
        self.request_id = request_id
        self.is_own_id = False
        self.traceparent = traceparent
        self.model_version: str | None = None
        self.ids: list[str] = []
        self.started = perf_counter_ns()
        self.steps: list[tuple[str, int]] | None = [] if is_traced else None

    def mark(self, step: str) -> None:
        """Note that a step ended."""
        if self.steps is not None:
            self.steps.append((step, perf_counter_ns()))

    @property
    def seed(self) -> str | None:
        """Id that the trace is named after: the first prediction's, or the request's own; ``None``: there is none."""
        return self.ids[0] if self.ids else self.request_id if self.is_own_id else None

    @property
    def trace_id(self) -> str | None:
        """Trace in which the request is found, 32 hexadecimal digits; ``None`` when it is not known."""
        caller = parse_traceparent(self.traceparent)
        if caller is not None:
            return f"{caller.context.trace_id:032x}"
        return f"{context_of(self.seed).trace_id:032x}" if self.steps is not None and self.seed else None


NO_REQUEST = RequestContext()
REQUEST: ContextVar[RequestContext] = ContextVar("request", default=NO_REQUEST)
"""The request of the task that runs."""
