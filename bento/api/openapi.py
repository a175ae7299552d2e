"""OpenAPI 3.1 document of the service, made from the use case.

Belongs here: operations, their parameters, problems and security. Does not belong here: schemas (``bento.api.schemas``,
``bento.api.report_schemas``), the pages that show it (``bento.api.pages``). Upstream: UseCase. Downstream:
``GET /openapi.json``. Addresses are relative to the document, so that it holds behind any proxy.
"""

from collections.abc import Sequence
from typing import Any

from bento.api.access import PREDICT, SCOPES, SHADOW_READ
from bento.api.report_schemas import (
    deployed_schema,
    health_schema,
    index_schema,
    model_schema,
    monitoring_schema,
    ready_schema,
    shadow_comparison_schema,
    shadow_logs_schema,
    shadow_record_schema,
    worker_schema,
)
from bento.api.schemas import (
    EXAMPLE_ID,
    PROBLEM,
    Schema,
    answer_schema,
    example_answer,
    explanation_schema,
    problem_example,
    request_examples,
    request_schema,
)
from bento.http import TITLES
from bento.query import DEFAULT_WINDOW, WINDOW
from shadow_platform import __version__
from shadow_platform.contracts.use_case import UseCase

ALWAYS = ("invalid-request", "internal-error", "not-ready")
"""Problems of every route: a bad request id, an error of the service itself, a worker that is starting."""
BODY = ("not-json", "nested-too-deep", "body-timeout", "body-too-large", "too-many-requests")
PREDICTING = (*BODY, "log-unavailable")
EXPLAINING = (*BODY, "explanation-unavailable")
GUARDED = ("unauthenticated", "forbidden")

TAGS = {
    "predictions": "Answers of the model in service",
    "shadow": "What challengers would have answered",
    "monitoring": "What requests and answers looked like",
    "operations": "State of the service, for machines and those on call",
    "documents": "This contract",
}


def openapi_document(use_case: UseCase, max_batch_size: int, *, has_access: bool = True) -> Schema:
    """The document; ``has_access`` says whether bearer tokens are in force."""
    paths = {**_answering_paths(use_case, max_batch_size), **_reading_paths(use_case), **_document_paths()}
    responses: Schema = {}
    for path, operations in paths.items():
        for operation in operations.values():
            _complete(operation, use_case, SCOPES.get(path, ()) if has_access else (), responses)
    return {
        "openapi": "3.1.0",
        "info": {"title": use_case.title, "version": __version__, "description": use_case.description},
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(use_case),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": responses,
            "securitySchemes": SECURITY if has_access else {},
        },
    }


def _schemas(use_case: UseCase) -> Schema:
    return {
        "Request": request_schema(use_case),
        "Answer": answer_schema(use_case),
        "Explanation": explanation_schema(use_case),
        "Problem": PROBLEM,
        "Index": index_schema(),
        "Health": health_schema(),
        "Readiness": ready_schema(),
        "DeployedModel": deployed_schema(),
        "WorkerState": worker_schema(),
        "Deployment": model_schema(),
        "ShadowRecord": shadow_record_schema(use_case),
        "ShadowLogs": shadow_logs_schema(),
        "ShadowComparison": shadow_comparison_schema(),
        "MonitoringStats": monitoring_schema(use_case),
    }


def _answering_paths(use_case: UseCase, max_batch_size: int) -> dict[str, Schema]:
    examples, answer = request_examples(use_case), example_answer(use_case)
    single = _body(_ref("schemas", "Request"), examples)
    requests = {"type": "array", "items": _ref("schemas", "Request"), "minItems": 1, "maxItems": max_batch_size}
    batch = _body(requests, {"two": {"summary": "Two requests", "value": [examples["usual"]["value"]] * 2}})
    answers = _json({"type": "array", "items": _ref("schemas", "Answer"), "maxItems": max_batch_size}, [answer] * 2)
    one = _json(_ref("schemas", "Answer"), answer)
    how = "What the request lacks is read from the feature store by its keys; what neither has is imputed."
    headers = [_ref("parameters", "IdempotencyKey"), _ref("parameters", "AsOf")]

    def post(name: str, summary: str, body: Schema, content: Schema, problems: Sequence[str], *query: Schema) -> Schema:
        operation = _operation("predictions", name, summary, content, problems, [*query, *headers])
        return {"post": {**operation, "description": how, "requestBody": body}}

    explain = post(
        "explain",
        "Explain what the champion says of one request",
        single,
        _json(_ref("schemas", "Explanation")),
        EXPLAINING,
        TOP,
    )
    explain["post"]["parameters"].remove(_ref("parameters", "IdempotencyKey"))
    return {
        "/predict": post("predict", "Answer one request", single, one, PREDICTING),
        "/predict/single": post("predictSingle", "Answer one request, as /predict does", single, one, PREDICTING),
        "/predict/batch": post(
            "predictBatch", "Answer a list in its order, or refuse it by index", batch, answers, PREDICTING
        ),
        "/explain": explain,
    }


def _reading_paths(use_case: UseCase) -> dict[str, Schema]:
    def get(tag: str, name: str, summary: str, schema: str, *query: Schema) -> Schema:
        return {"get": _operation(tag, name, summary, _json(_ref("schemas", schema)), (), list(query))}

    metrics = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/": get("operations", "index", "Name, version, links", "Index"),
        "/health": get("operations", "health", "Whether the process lives", "Health"),
        "/ready": get(
            "operations", "ready", "Whether requests can be answered: model, log, feature store", "Readiness"
        ),
        "/metrics": {"get": _operation("operations", "metrics", "Prometheus text, over all workers", metrics, (), [])},
        "/model": get("operations", "model", "Champion, challengers, canary: what is truly loaded", "Deployment"),
        "/shadow/logs": get("shadow", "shadowLogs", "Latest comparisons, newest first", "ShadowLogs", LIMIT, SINCE),
        "/shadow/comparison": get(
            "shadow",
            "shadowComparison",
            "Agreement, differences, flips, latencies, errors and lag of each challenger",
            "ShadowComparison",
            WINDOW_PARAMETER,
        ),
        "/monitoring/stats": get(
            "monitoring",
            "monitoringStats",
            f"Counts, scores, missing features and label maturity of {use_case.name}",
            "MonitoringStats",
            WINDOW_PARAMETER,
        ),
    }


def _document_paths() -> dict[str, Schema]:
    def get(name: str, summary: str, media: str, kind: str) -> Schema:
        return {"get": _operation("documents", name, summary, {media: {"schema": {"type": kind}}}, (), [])}

    return {
        "/openapi.json": get("openapi", "This document", "application/json", "object"),
        "/docs": get("docs", "Page to try the routes on", "text/html", "string"),
        "/redoc": get("redoc", "Page to read the contract on", "text/html", "string"),
    }


def _operation(
    tag: str, name: str, summary: str, content: Schema, problems: Sequence[str], parameters: list[Schema]
) -> Schema:
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "parameters": [*parameters, _ref("parameters", "RequestId")],
        "responses": {"200": {"description": "The answer", "headers": _headers(200), "content": content}},
        "x-problems": [*problems, *ALWAYS],
    }


def _complete(operation: Schema, use_case: UseCase, scopes: Sequence[str], responses: Schema) -> None:
    """Add the problems that can happen, by status, and what a caller must be allowed; shared ones to ``responses``."""
    by_status: dict[int, list[str]] = {}
    for slug in (*operation.pop("x-problems"), *(GUARDED if scopes else ())):
        by_status.setdefault(TITLES[slug][0], []).append(slug)
    for status, slugs in sorted(by_status.items()):
        name = ".".join(slugs)
        responses[name] = responses.get(name) or _problems(status, slugs, use_case)
        operation["responses"][str(status)] = _ref("responses", name)
    operation["security"] = [{"bearer": [scope]} for scope in scopes]


def _problems(status: int, slugs: Sequence[str], use_case: UseCase) -> Schema:
    examples = {slug: {"value": problem_example(slug, use_case)} for slug in slugs}
    content = {"application/problem+json": {"schema": _ref("schemas", "Problem"), "examples": examples}}
    description = "; or: ".join(TITLES[slug][1] for slug in slugs)
    return {"description": description, "headers": _headers(status), "content": content}


def _headers(status: int) -> Schema:
    names = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
    given = ["X-Request-ID", *([names[status]] if status in names else [])]
    return {name: _ref("headers", name) for name in given}


def _body(schema: Schema, examples: Schema) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _json(schema: Schema, example: Any = None) -> Schema:
    return {"application/json": {"schema": schema, **({} if example is None else {"example": example})}}


def _ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}


TOP = _query("top", "Number of contributions listed", {"type": "integer", "minimum": 1, "maximum": 100, "default": 5})
LIMIT = _query("limit", "Number of records", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
SINCE = _query("since", "Only records compared at or after this time", {"type": "string", "format": "date-time"})
WINDOW_PARAMETER = _query(
    "window",
    "Span of time up to now: a number and s, m, h or d, at most 99d",
    {"type": "string", "pattern": f"^({WINDOW})$", "default": DEFAULT_WINDOW, "examples": ["15m", "24h", "7d"]},
)
ASCII = "^[\\u0020-\\u007e]*$"
PARAMETERS = {
    "IdempotencyKey": _header(
        "Idempotency-Key",
        "The same key gives the same answer and one log row; with another request it is refused.",
        {"type": "string", "minLength": 1, "maxLength": 256, "pattern": ASCII},
    ),
    "AsOf": _header(
        "X-As-Of",
        "Business time of recorded or simulated traffic, not in the future; refused in production.",
        {"type": "string", "format": "date-time"},
    ),
    "RequestId": _header(
        "X-Request-ID",
        "Comes back on the answer and stands in the log beside an internal error; without it the service makes one.",
        {"type": "string", "minLength": 1, "maxLength": 128, "pattern": ASCII, "examples": [EXAMPLE_ID]},
    ),
}
HEADERS = {
    "X-Request-ID": {
        "description": "The caller's own, or a new UUIDv7",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "When to try again, seconds",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "Scheme, and what is wrong with the token",
        "required": True,
        "schema": {"type": "string"},
    },
}
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": f"Scope `{PREDICT}`: predict, explain; scope `{SHADOW_READ}`: read shadow and monitoring data.",
    }
}
