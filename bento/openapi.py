"""OpenAPI 3.1 of the service, made from the use case, and the page that shows it without internet access.

Upstream: UseCase. Downstream: ``GET /openapi.json``, ``GET /docs``. The document and the validation in
``domain.serving`` read the same declaration; a test holds them against each other.
"""

import html
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bento.http import TITLES
from shadow_platform import __version__
from shadow_platform.contracts.use_case import Feature, UseCase

Schema = dict[str, Any]

PREDICT_PROBLEMS = ("not-json", "body-too-large", "invalid-request", "too-many-requests", "not-ready")
AS_OF_HEADER: Schema = {
    "name": "X-As-Of",
    "in": "header",
    "schema": {"type": "string", "format": "date-time"},
    "description": "Business time of recorded or simulated traffic; refused in production.",
}
KEY_HEADER: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
    "description": "The same key gives the same request_id and one log row.",
}


def openapi_document(use_case: UseCase, max_batch_size: int) -> Schema:
    """The document."""
    request, answer = {"$ref": "#/components/schemas/Request"}, {"$ref": "#/components/schemas/Answer"}
    batch_in: Schema = {"type": "array", "items": request, "minItems": 1, "maxItems": max_batch_size}
    predict = _predict("Answer one request", request, answer)
    return {
        "openapi": "3.1.0",
        "info": {"title": use_case.title, "version": __version__, "description": use_case.description},
        "paths": {
            "/predict": {"post": predict},
            "/predict/single": {"post": {**predict, "operationId": "predict_single"}},
            "/predict/batch": {
                "post": _predict("Answer a list, in its order", batch_in, {"type": "array", "items": answer})
            },
            "/": _get("Name, version, links"),
            "/health": _get("Liveness"),
            "/ready": _get("Readiness: model, log, feature store", problems=("not-ready",)),
            "/metrics": _get("Prometheus text", media="text/plain"),
            "/model": _get("Champion, challengers, canary: what is truly loaded", problems=("not-ready",)),
            "/shadow/logs": _get(
                "Latest shadow records, newest first",
                parameters=[_parameter("limit", "1 to 1000, default 100"), _parameter("since", "RFC 3339")],
                problems=("invalid-request", "not-ready"),
            ),
            "/shadow/comparison": _get(
                "Agreement, differences, flips, latencies, errors and lag per challenger",
                parameters=[_parameter("window", "such as 15m, 24h (default), 7d")],
                problems=("invalid-request", "not-ready"),
            ),
        },
        "components": {
            "schemas": {"Request": request_schema(use_case), "Answer": answer_schema(use_case), "Problem": PROBLEM}
        },
    }


def request_schema(use_case: UseCase) -> Schema:
    """JSON Schema of one request."""
    properties: Schema = {
        use_case.subject: {"type": "string", "minLength": 1, "maxLength": 256, "examples": [use_case.subject_example]}
    }
    for entity in use_case.entities:
        key = {"type": ["string", "null"], "minLength": 1, "maxLength": 256, "description": entity.description}
        properties.setdefault(entity.join_key, {**key, "examples": [entity.example]})
    for feature in use_case.features:
        properties[feature.name] = _feature_schema(feature)
    return {
        "type": "object",
        "properties": properties,
        "required": [use_case.subject],
        "additionalProperties": False,
    }


def answer_schema(use_case: UseCase) -> Schema:
    """JSON Schema of one answer."""
    spec = use_case.answer
    properties: Schema = {
        "request_id": {"type": "string", "format": "uuid"},
        use_case.subject: {"type": "string"},
        spec.probability: {"type": "number", "minimum": 0, "maximum": 1},
        spec.prediction: {"type": "boolean"},
    }
    if spec.risk_category is not None:
        properties[spec.risk_category] = {"enum": ["low", "medium", "high"]}
    properties["model_version"] = {"type": "string"}
    properties["timestamp"] = {"type": "string", "format": "date-time"}
    count = {"type": "integer", "minimum": 0}
    properties["feature_sources"] = {
        "type": "object",
        "properties": dict.fromkeys(("request", "online", "imputed"), count),
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}


def _feature_schema(feature: Feature) -> Schema:
    origin = f"read from {feature.view} when absent" if feature.view else "imputed when absent"
    unit = f" ({feature.unit})" if feature.unit else ""
    schema: Schema = {"description": f"{feature.description}{unit}; {origin}"}
    if feature.kind == "categorical":
        schema |= {"type": ["string", "null"], "minLength": 1, "maxLength": 256}
    else:
        schema["type"] = ["number", "null"]
        schema |= {"minimum": feature.low} if feature.low is not None else {}
        schema |= {"maximum": feature.high} if feature.high is not None else {}
    return schema | ({"examples": [feature.example]} if feature.example is not None else {})


def _predict(summary: str, body: Schema, answer: Schema) -> Schema:
    return {
        "summary": summary,
        "parameters": [AS_OF_HEADER, KEY_HEADER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": _response("Answer", "application/json", answer), **_problems(PREDICT_PROBLEMS)},
    }


def _get(
    summary: str,
    *,
    media: str = "application/json",
    parameters: list[Schema] | None = None,
    problems: tuple[str, ...] = (),
) -> Schema:
    responses = {"200": _response(summary, media, {}), **_problems(problems)}
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _problems(slugs: tuple[str, ...]) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {str(TITLES[s][0]): _response(TITLES[s][1], "application/problem+json", schema) for s in slugs}


def _response(description: str, media: str, schema: Schema) -> Schema:
    return {"description": description, "content": {media: {"schema": schema}}}


def _parameter(name: str, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}


def swagger_folder() -> Path | None:
    """Swagger UI as BentoML ships it; ``None`` when this version does not."""
    spec = find_spec("bentoml")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "_internal" / "server" / "static_content"
    return folder if (folder / "swagger-ui-bundle.js").is_file() else None


def docs_page(title: str, *, has_swagger: bool) -> bytes:
    """HTML of ``/docs``: Swagger UI from this process, or the bare document where there is none."""
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
    if not has_swagger:
        script = "fetch('openapi.json').then(r=>r.json()).then(d=>{t.textContent=JSON.stringify(d,null,2)})"
        return f'{head}</head><body><pre id="t"></pre><script>{script}</script></body></html>'.encode()
    return (
        f'{head}<link rel="stylesheet" href="docs/assets/swagger-ui.css"></head><body><div id="ui"></div>'
        '<script src="docs/assets/swagger-ui-bundle.js"></script>'
        "<script>SwaggerUIBundle({url:'openapi.json',dom_id:'#ui',validatorUrl:null})</script></body></html>"
    ).encode()
