"""Routes of the HTTP contract, as one ASGI application that BentoML mounts.

Belongs here: which route does what, and that every refusal is a problem document. Does not belong here: how a request
is answered (``bento.answering.predictor``), who may ask (``bento.api.access``), what a worker is made of
(``bento.worker``). Upstream: callers. Downstream: ``Worker``, handed over by ``Site.worker`` when the process has
opened it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bento.answering.predictor import RequestHeaders
from bento.api.access import Access, Guard
from bento.api.access_log import AccessLog
from bento.api.openapi import openapi_document
from bento.api.pages import ASSETS, asset_reply, redoc_page, swagger_page
from bento.http import (
    ProblemError,
    Reply,
    headers_of,
    json_reply,
    new_request_id,
    read_body,
    request_id_of,
    send_reply,
    text_of,
)
from bento.query import known_only, parse_count, parse_window
from bento.worker import Worker
from shadow_platform import __version__
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import Settings
from shadow_platform.telemetry.context import REQUEST, RequestContext

LOGGER = logging.getLogger("shadow_platform.app")

DEFAULT_TOP = 5
MAX_TOP = 100
UNKNOWN = "(unknown)"
"""Stands for every path that is no route: what callers put into paths is not for logs."""
RETRY_SOON = [(b"retry-after", b"1")]


class Call(NamedTuple):
    """One request as ASGI gives it, its headers by name."""

    scope: Scope
    receive: Receive
    headers: Mapping[bytes, bytes]

    @property
    def query(self) -> QueryParams:
        """Query parameters."""
        return QueryParams(self.scope["query_string"])


Handler = Callable[[Worker, Call], Awaitable[Reply]]
Answerer = Callable[[bytes, RequestHeaders], Awaitable[bytes]]


class Site:
    """Where the routes find the worker; ``None`` while the process is starting."""

    worker: Worker | None = None


class Endpoint:
    """A route as plain ASGI (half the overhead of a request and a response object), with its refusals.

    Args:
        route: its path, for log lines and spans.
        guard: lets a caller in, or raises; ``None``: everyone may call.
        methods: those that the handler answers; without any, it answers all.
    """

    def __init__(self, site: Site, route: str, handler: Handler, guard: Guard | None, *methods: str) -> None:
        self._site = site
        self._route = route
        self._log = AccessLog()
        self._is_posted = "POST" in methods
        self._handler = handler
        self._guard = guard
        self._methods = methods
        self._allow = ", ".join((*methods, "OPTIONS"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with a problem document; then say what is to be said of it."""
        worker, headers = self._site.worker, headers_of(scope)
        spans = worker.spans if worker is not None and self._is_posted else None
        request = RequestContext("", headers.get(b"traceparent"), is_traced=spans is not None)
        REQUEST.set(request)
        reply, problem = await self._reply(worker, request, Call(scope, receive, headers))
        await send_reply(send, reply, request.request_id.encode())
        self._log.note(request, scope["method"], self._route, reply.status, problem)
        if spans is not None:
            spans.report(request, f"{scope['method']} {self._route}", reply.status, problem)

    async def _reply(self, worker: Worker | None, request: RequestContext, call: Call) -> tuple[Reply, str | None]:
        """The answer, and the kind of its problem if it is one."""
        try:
            request.request_id = request_id_of(call.headers).decode()
            request.is_own_id = b"x-request-id" not in call.headers
            method = call.scope["method"]
            if self._methods and method not in self._methods:
                return self._other_method(method), None
            if self._guard is not None:
                self._guard(call.headers)
            if worker is None:
                raise ProblemError("not-ready", "the worker is starting", headers=RETRY_SOON)
            return await self._handler(worker, call), None
        except Exception as error:  # noqa: BLE001 - a caller is told of every error by a problem document
            request.request_id = request.request_id or new_request_id().decode()
            problem = _problem_of(error, f"{call.scope['method']} {self._route}", request)
            # Views are asked by probes and people: a pod that is not ready yet fails nobody who wants an answer.
            if worker is not None and self._is_posted:
                worker.metrics.count_error(problem.slug)
            return problem.reply(request.request_id.encode()), problem.slug

    def _other_method(self, method: str) -> Reply:
        allow = [(b"allow", self._allow.encode())]
        if method == "OPTIONS":
            return Reply(b"", media=b"text/plain", headers=allow)
        raise ProblemError("method-not-allowed", f"{method} is not among {self._allow}", headers=allow)


def _problem_of(error: Exception, name: str, request: RequestContext) -> ProblemError:
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestError):
        return ProblemError.of_request(error)
    LOGGER.error("%s, request %s", name, request.request_id, exc_info=error)
    return ProblemError("internal-error", f"{type(error).__name__}; see the service's log")


class Posts:
    """``POST /predict``, ``/predict/batch`` and ``/explain``, with at most ``max_concurrency`` in flight."""

    def __init__(self, max_concurrency: int) -> None:
        self._limit = max_concurrency
        self._in_flight = 0

    async def single(self, worker: Worker, call: Call) -> Reply:
        """One request."""
        return await self._answer(worker.predictor.answer, call)

    async def batch(self, worker: Worker, call: Call) -> Reply:
        """A list of requests."""
        return await self._answer(worker.predictor.answer_batch, call)

    async def explain(self, worker: Worker, call: Call) -> Reply:
        """Contributions to the champion's probability of one request."""
        top = parse_count("top", known_only(call.query, "top").get("top"), DEFAULT_TOP, MAX_TOP)
        return await self._answer(partial(worker.explainer.explain, top=top), call)

    async def _answer(self, answer: Answerer, call: Call) -> Reply:
        if self._in_flight >= self._limit:
            detail = f"{self._limit} requests are in flight in this worker; try again"
            raise ProblemError("too-many-requests", detail, headers=RETRY_SOON)
        self._in_flight += 1
        try:
            body = await read_body(call.headers, call.receive)
            return Reply(await answer(body, _request_headers(call)))
        finally:
            self._in_flight -= 1


def _request_headers(call: Call) -> RequestHeaders:
    return RequestHeaders(text_of(call.headers, b"x-as-of"), text_of(call.headers, b"idempotency-key"))


async def _index(worker: Worker, _call: Call) -> Reply:
    links = {path.lstrip("/"): path for path in LINKS}
    use_case = worker.use_case
    return json_reply({"name": use_case.name, "title": use_case.title, "version": __version__, "links": links})


async def _health(worker: Worker, _call: Call) -> Reply:
    return json_reply({"status": "alive", "uptime_s": round(worker.uptime_s, 3)})


async def _ready(worker: Worker, _call: Call) -> Reply:
    is_ready, state = worker.readiness()
    if not is_ready:
        reasons = [f"{name}: {check['reason']}" for name, check in state["checks"].items() if not check["ok"]]
        raise ProblemError("not-ready", "; ".join(reasons), headers=RETRY_SOON)
    return json_reply(state)


async def _model(worker: Worker, _call: Call) -> Reply:
    _manifest(worker)
    return json_reply(await to_thread.run_sync(worker.report.describe))


async def _metrics(worker: Worker, _call: Call) -> Reply:
    text = await to_thread.run_sync(worker.exposition)
    return Reply(text, media=b"text/plain; version=0.0.4; charset=utf-8")


async def _shadow_logs(worker: Worker, call: Call) -> Reply:
    query = known_only(call.query, "limit", "since")
    logs = worker.shadow.logs
    return json_reply(await to_thread.run_sync(logs, _manifest(worker), query.get("limit"), query.get("since")))


async def _shadow_comparison(worker: Worker, call: Call) -> Reply:
    window = known_only(call.query, "window").get("window")
    comparison = worker.shadow.comparison
    return json_reply(await to_thread.run_sync(comparison, _manifest(worker), window, datetime.now(UTC)))


async def _monitoring_stats(worker: Worker, call: Call) -> Reply:
    window = parse_window(known_only(call.query, "window").get("window"))
    return json_reply(await to_thread.run_sync(worker.monitoring.stats, window, datetime.now(UTC)))


async def _unknown(_worker: Worker, call: Call) -> Reply:
    raise ProblemError("not-found", f"{call.scope['path'][:200]} is unknown; see /docs")


def _manifest(worker: Worker) -> DeploymentManifest:
    if worker.models.current is None:
        raise ProblemError("not-ready", worker.models.reason, headers=RETRY_SOON)
    return worker.models.current.manifest


VIEWS: dict[str, Handler] = {
    "/": _index,
    "/health": _health,
    "/ready": _ready,
    "/metrics": _metrics,
    "/model": _model,
    "/shadow/logs": _shadow_logs,
    "/shadow/comparison": _shadow_comparison,
    "/monitoring/stats": _monitoring_stats,
}
DOCUMENTS = ("/openapi.json", "/docs", "/redoc")
POSTS = ("/predict", "/predict/single", "/predict/batch", "/explain")
LINKS = (*POSTS, *(path for path in VIEWS if path != "/"), *DOCUMENTS)


def build_endpoints(use_case: UseCase, settings: Settings, site: Site) -> dict[str, Endpoint]:
    """Every route of the contract, by its path; they answer 503 until the site has a worker."""
    posted, access = Posts(settings.max_concurrency), Access(settings)
    posts = dict(zip(POSTS, (posted.single, posted.single, posted.batch, posted.explain), strict=True))
    document = openapi_document(use_case, settings.max_batch_size, has_access=not access.is_off)
    replies = (json_reply(document), swagger_page(use_case.title), redoc_page(use_case.title))
    views = VIEWS | {path: _always(reply) for path, reply in zip(DOCUMENTS, replies, strict=True)}
    views |= {path: _asset(path) for path in ASSETS}
    endpoints = {path: Endpoint(site, path, handler, access.guard(path), "POST") for path, handler in posts.items()}
    return endpoints | {
        path: Endpoint(site, path, handler, access.guard(path), "GET", "HEAD") for path, handler in views.items()
    }


def _always(reply: Reply) -> Handler:
    async def answer(_worker: Worker, _call: Call) -> Reply:
        return reply

    return answer


def _asset(path: str) -> Handler:
    async def answer(_worker: Worker, _call: Call) -> Reply:
        return await to_thread.run_sync(asset_reply, path)

    return answer


def build_app(endpoints: dict[str, Endpoint], site: Site) -> Starlette:
    """The application BentoML mounts: the contract's routes, and a refusal for the rest."""
    routes = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    return Starlette(routes=[*routes, Route("/{path:path}", Endpoint(site, UNKNOWN, _unknown, None))])


class Shortcut:
    """Gives requests of the contract's routes to their endpoint at once, everything else to BentoML's application.

    The way through BentoML's middlewares and three routers took 130 us of a request's 190 (the answer itself 56);
    none of them does anything for these routes: limits, refusals and metrics are the endpoints' own.
    """

    def __init__(self, endpoints: dict[str, Endpoint], otherwise: ASGIApp) -> None:
        self._endpoints = endpoints
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch by the exact path."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        await (endpoint or self._otherwise)(scope, receive, send)
