"""Routes of the HTTP contract, as one ASGI application that BentoML mounts.

Belongs here: which route does what, and that every refusal is a problem document. Does not belong here: how a request
is answered (``bento.predictor``), what a worker is made of (``bento.worker``).
Upstream: callers. Downstream: ``Worker``, handed over by ``Site.worker`` when the process has opened it.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from bento.http import ProblemError, Reply, header, json_reply, read_body, send_reply
from bento.metrics import exposition
from bento.openapi import docs_page, openapi_document, swagger_folder
from bento.predictor import RequestHeaders
from bento.worker import Worker
from shadow_platform import __version__
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import Settings

LOGGER = logging.getLogger("shadow_platform.app")

EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
RETRY_SOON = [(b"retry-after", b"1")]


class Call(NamedTuple):
    """One request as ASGI gives it."""

    scope: Scope
    receive: Receive


Handler = Callable[[Worker, Call], Awaitable[Reply]]
Answerer = Callable[[bytes, RequestHeaders], Awaitable[bytes]]


class Site:
    """Where the routes find the worker; ``None`` while the process is starting."""

    worker: Worker | None = None


class Endpoint:
    """A route as plain ASGI (half the overhead of a request and a response object), with its refusals."""

    def __init__(self, site: Site, handler: Handler, *methods: str) -> None:
        self._site = site
        self._handler = handler
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with a problem document."""
        worker = self._site.worker
        try:
            reply = await self._reply(worker, scope, receive)
        except ProblemError as problem:
            reply = _refusal(worker, problem)
        except RequestError as error:
            reply = _refusal(worker, ProblemError.of_request(error))
        except Exception as error:
            LOGGER.exception("%s %s", scope["method"], scope["path"])
            reply = _refusal(worker, ProblemError("internal-error", f"{type(error).__name__}; see the service's log"))
        await send_reply(send, reply)

    async def _reply(self, worker: Worker | None, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] not in self._methods:
            allow = ", ".join(self._methods)
            detail = f"{scope['method']} is not among {allow}"
            raise ProblemError("method-not-allowed", detail, headers=[(b"allow", allow.encode())])
        if worker is None:
            raise ProblemError("not-ready", "the worker is starting", headers=RETRY_SOON)
        return await self._handler(worker, Call(scope, receive))


def _refusal(worker: Worker | None, problem: ProblemError) -> Reply:
    if worker is not None:
        worker.metrics.count_error(problem.slug)
    return problem.reply()


class Predict:
    """``POST /predict`` and ``/predict/batch``, with at most ``max_concurrency`` in flight."""

    def __init__(self, max_concurrency: int) -> None:
        self._limit = max_concurrency
        self._in_flight = 0

    async def single(self, worker: Worker, call: Call) -> Reply:
        """One request."""
        return await self._answer(worker.predictor.answer, call)

    async def batch(self, worker: Worker, call: Call) -> Reply:
        """A list of requests."""
        return await self._answer(worker.predictor.answer_batch, call)

    async def _answer(self, answer: Answerer, call: Call) -> Reply:
        if self._in_flight >= self._limit:
            detail = f"{self._limit} requests are in flight in this worker; try again"
            raise ProblemError("too-many-requests", detail, headers=RETRY_SOON)
        self._in_flight += 1
        try:
            body = await read_body(call.scope, call.receive)
            headers = RequestHeaders(header(call.scope, b"x-as-of"), header(call.scope, b"idempotency-key"))
            return Reply(await answer(body, headers))
        finally:
            self._in_flight -= 1


async def _index(worker: Worker, _call: Call) -> Reply:
    paths = ("predict", "predict/batch", "model", "ready", "health", "metrics", "shadow/logs", "shadow/comparison")
    links = {path: f"/{path}" for path in (*paths, "openapi.json", "docs")}
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
    return json_reply(worker.describe_models())


async def _metrics(worker: Worker, _call: Call) -> Reply:
    text = await to_thread.run_sync(exposition, worker.loaded_versions())
    return Reply(text, media=b"text/plain; version=0.0.4; charset=utf-8")


async def _shadow_logs(worker: Worker, call: Call) -> Reply:
    query = _query(call, "limit", "since")
    logs = worker.shadow.logs
    return json_reply(await to_thread.run_sync(logs, _manifest(worker), query.get("limit"), query.get("since")))


async def _shadow_comparison(worker: Worker, call: Call) -> Reply:
    query = _query(call, "window")
    summary = worker.shadow.comparison
    return json_reply(await to_thread.run_sync(summary, _manifest(worker), query.get("window"), datetime.now(UTC)))


async def _unknown(_worker: Worker, call: Call) -> Reply:
    raise ProblemError("not-found", f"{call.scope['path'][:200]} is unknown; see /docs")


def _manifest(worker: Worker) -> DeploymentManifest:
    if worker.models.current is None:
        raise ProblemError("not-ready", worker.models.reason, headers=RETRY_SOON)
    return worker.models.current.manifest


def _query(call: Call, *known: str) -> QueryParams:
    query = QueryParams(call.scope["query_string"])
    unknown = sorted(set(query) - set(known))
    if unknown:
        message = f"unknown parameter; expected {', '.join(known)}"
        raise RequestError([{"field": name[:80], "message": message} for name in unknown])
    return query


def build_endpoints(use_case: UseCase, settings: Settings, site: Site) -> dict[str, Endpoint]:
    """Every route of the contract, by its path; they answer 503 until the site has a worker."""
    predict = Predict(settings.max_concurrency)
    document = json_reply(openapi_document(use_case, settings.max_batch_size))
    title, has_swagger = use_case.title, swagger_folder() is not None
    page = Reply(docs_page(title, has_swagger=has_swagger), media=b"text/html; charset=utf-8")

    async def document_view(_worker: Worker, _call: Call) -> Reply:
        return document

    async def docs_view(_worker: Worker, _call: Call) -> Reply:
        return page

    posts: dict[str, Handler] = {"/predict": predict.single, "/predict/single": predict.single}
    posts["/predict/batch"] = predict.batch
    views: dict[str, Handler] = {
        "/": _index,
        "/health": _health,
        "/ready": _ready,
        "/metrics": _metrics,
        "/model": _model,
        "/shadow/logs": _shadow_logs,
        "/shadow/comparison": _shadow_comparison,
        "/openapi.json": document_view,
        "/docs": docs_view,
    }
    endpoints = {path: Endpoint(site, handler, "POST") for path, handler in posts.items()}
    return endpoints | {path: Endpoint(site, handler, "GET", "HEAD") for path, handler in views.items()}


def build_app(endpoints: dict[str, Endpoint], site: Site) -> Starlette:
    """The application BentoML mounts: the contract's routes, the documents' assets, and a refusal for the rest."""
    routes: list[Route | Mount] = [Route(path, endpoint) for path, endpoint in endpoints.items()]
    folder = swagger_folder()
    if folder is not None:
        routes.append(Mount("/docs/assets", StaticFiles(directory=folder)))
    routes.append(Route("/{path:path}", Endpoint(site, _unknown, *EVERY_METHOD)))
    return Starlette(routes=routes)


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
