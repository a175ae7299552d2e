"""JSON Schemas and examples of requests, answers, explanations and problems, made from the use case.

Belongs here: what goes in and out of the routes that answer. Does not belong here: the reading routes
(``bento.api.report_schemas``), operations (``bento.api.openapi``). Upstream: UseCase. Downstream:
``bento.api.openapi``. The schema of a request and its validation in ``domain.serving`` read the same declaration; a
test holds them against each other.
"""

from typing import Any

from bento.http import TITLES
from shadow_platform.contracts.errors import NoChampion
from shadow_platform.contracts.features import FLOAT32_MAX
from shadow_platform.contracts.use_case import ActionSpec, ContextField, Entity, Exploration, Feature, UseCase
from shadow_platform.domain.serving import (
    CONTROL,
    MAX_TEXT,
    ModelOutput,
    ServedFeatures,
    ValidRequest,
    build_answer,
    build_record,
)

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": f"^[^{CONTROL}]*$"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
EXAMPLE_ID = "018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11"
EXAMPLE_AT = "2024-01-15T10:30:00.000Z"


def described(schema: Schema, description: str, **more: object) -> Schema:
    """The schema with a description and further keywords."""
    return {**schema, "description": description, **more}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def closed(properties: Schema, required: list[str]) -> Schema:
    """Schema of an object without any other field."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def record(properties: Schema, *optional: str) -> Schema:
    """Schema of an object that may get further fields in later versions."""
    return {"type": "object", "properties": properties, "required": [n for n in properties if n not in optional]}


def request_schema(use_case: UseCase) -> Schema:
    """JSON Schema of one request."""
    keys = {use_case.subject, *(entity.join_key for entity in use_case.entities)}
    inside = {f.name for f in use_case.request_features} - keys if use_case.envelope else set()
    features = {f.name: _feature_schema(f) for f in use_case.features if f.name not in keys and f.derivation is None}
    properties = {
        use_case.subject: described(TEXT, "What the prediction is about", examples=[use_case.subject_example])
    }
    for entity in use_case.entities:
        properties.setdefault(entity.join_key, _key_schema(entity))
    properties |= {name: schema for name, schema in features.items() if name not in inside}
    required, envelope = [use_case.subject], use_case.envelope
    if envelope is not None:
        context = {field.name: _context_schema(field, use_case.subject) for field in envelope.fields}
        event = context | {name: schema for name, schema in features.items() if name in inside}
        properties[envelope.name] = described(closed(event, list(context)), envelope.description)
        required.append(envelope.name)
    return closed(properties, required)


def _key_schema(entity: Entity) -> Schema:
    return described(
        nullable(TEXT), f"{entity.description}; its features are looked up by it", examples=[entity.example]
    )


def _context_schema(field: ContextField, subject: str) -> Schema:
    schema = MOMENT if field.kind == "timestamp" else TEXT
    rule = (
        "; not in the future" if field.kind == "timestamp" else "; as in the request" if field.name == subject else ""
    )
    return described(schema, field.description + rule, examples=[field.example])


def _feature_schema(feature: Feature) -> Schema:
    origin = f"read from {feature.view} when absent or null" if feature.view else "imputed when absent or null"
    unit = f" ({feature.unit})" if feature.unit else ""
    low = -FLOAT32_MAX if feature.low is None else feature.low
    high = FLOAT32_MAX if feature.high is None else feature.high
    number = {"type": ["number", "null"], "minimum": low, "maximum": high}
    schema = nullable(TEXT) if feature.kind == "categorical" else number
    schema = described(schema, f"{feature.description}{unit}; {origin}")
    schema |= {"x-unit": feature.unit} if feature.unit else {}
    return schema | ({"examples": [feature.example]} if feature.example is not None else {})


def request_examples(use_case: UseCase) -> dict[str, Any]:
    """Bodies by name: what a caller usually sends, and one with every feature, which the store is not asked for."""
    usual = example_request(use_case, with_views=False)
    if not use_case.views:
        return {"usual": {"summary": "One request", "value": usual}}
    full = example_request(use_case, with_views=True)
    return {
        "usual": {"summary": "Keys and request features; the rest is looked up", "value": usual},
        "complete": {"summary": "Every feature in the request; nothing is looked up", "value": full},
    }


def example_request(use_case: UseCase, *, with_views: bool) -> dict[str, Any]:
    """A valid request made of the declared examples."""
    schema = request_schema(use_case)
    left_out = set() if with_views else {f.name for f in use_case.features if f.view is not None}
    return _example_of(schema, left_out)


def _example_of(schema: Schema, left_out: set[str]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, part in schema["properties"].items():
        if "properties" in part:
            value[name] = _example_of(part, left_out)
        elif name not in left_out and "examples" in part:
            value[name] = part["examples"][0]
    return value


def answer_schema(use_case: UseCase) -> Schema:
    """JSON Schema of one answer."""
    spec = use_case.answer
    subject = {use_case.subject: described({"type": "string"}, "What the prediction is about")}
    properties: Schema = {
        spec.request_id: described(UUID, "Id of this answer in the prediction log"),
        **(subject if spec.subject else {}),
        spec.probability: described(SHARE, use_case.label.description),
        spec.prediction: described({"type": "boolean"}, "The decision: probability at or above the model's threshold"),
    }
    if spec.risk_category is not None:
        low, high = spec.risk_bands
        bands = f"low below {low}, high from {high} on"
        properties[spec.risk_category] = {"enum": ["low", "medium", "high"], "description": bands}
    if spec.action is not None:
        properties[spec.action.name] = _action_schema(spec.action, spec.prediction, use_case.exploration)
    properties["model_version"] = described({"type": "string"}, "Registry version of the model that answered")
    properties["timestamp"] = described(MOMENT, "Business time of the request, UTC")
    if spec.feature_sources:
        sources = closed(dict.fromkeys(_sources(use_case), COUNT), _sources(use_case))
        properties["feature_sources"] = described(sources, "Number of features from each source")
        properties["feature_age_s"] = described(
            {"type": ["number", "null"], "minimum": 0},
            "Age of the oldest online features used, seconds; null: none were",
        )
    return record(properties)


def _sources(use_case: UseCase) -> list[str]:
    return ["request", "online", "imputed", *(["derived"] if use_case.derivations else [])]


def _action_schema(action: ActionSpec, prediction: str, exploration: Exploration | None) -> Schema:
    text = f"What to do: {action.positive} where {prediction} is true, else {action.negative}"
    if exploration is not None:
        text += (
            f". A random {100 * exploration.share:g} % of the predictions that are true get {action.negative} all the "
            "same, so that their outcome is seen: follow this field, not the prediction"
        )
    return {"enum": [action.negative, action.positive], "description": text}


def example_answer(use_case: UseCase) -> dict[str, Any]:
    """An answer as the code builds it."""
    n_online = sum(feature.view is not None for feature in use_case.features)
    n_derived = sum(feature.derivation is not None for feature in use_case.features)
    sources = {"request": len(use_case.features) - n_online - n_derived, "online": n_online, "imputed": 0}
    sources |= {"derived": n_derived} if use_case.derivations else {}
    served = ServedFeatures({}, sources, 1800.0 if n_online else None, {})
    output = ModelOutput(0.23, use_case.answer.threshold, "2", "")
    request = ValidRequest(use_case.subject_example, {}, {})
    times: dict[str, Any] = {"requested_at": EXAMPLE_AT, "logged_at": EXAMPLE_AT, "latency_ms": 1.0}
    return build_answer(use_case, build_record(use_case.name, EXAMPLE_ID, request, served, output, **times))


def explanation_schema(use_case: UseCase) -> Schema:
    """JSON Schema of an explanation."""
    contribution = record(
        {
            "feature": {"enum": list(use_case.feature_names)},
            "value": described({"type": ["number", "string", "boolean", "null"]}, "As the model saw it"),
            "source": {"enum": _sources(use_case)},
            "contribution": described({"type": "number"}, "What the value adds to the probability"),
        }
    )
    return record(
        {
            use_case.subject: {"type": "string"},
            use_case.answer.probability: SHARE,
            "base_value": described(SHARE, "Mean probability of the model's reference requests"),
            "model_version": {"type": "string"},
            "method": described({"type": "string"}, "How contributions were computed", examples=["shap-permutation"]),
            "contributions": {"type": "array", "items": contribution, "description": "Largest first"},
            "others": described({"type": "number"}, "Sum of the contributions not listed"),
            "n_evaluations": described(COUNT, "Number of times the model was asked"),
            "is_truncated": described({"type": "boolean"}, "Whether time ran out before the estimate had settled"),
            "timestamp": described(MOMENT, "Business time of the request, UTC"),
        }
    )


PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"enum": [f"urn:shadow-platform:problem:{slug}" for slug in TITLES]},
        "title": {"type": "string"},
        "status": {"enum": sorted({status for status, _ in TITLES.values()})},
        "detail": described({"type": "string"}, "What was wrong and what to do"),
        "request_id": described({"type": "string"}, "Equals the header X-Request-ID"),
        "errors": {
            "type": "array",
            "description": "Every field error at once",
            "items": record({"field": {"type": "string"}, "message": {"type": "string"}}),
        },
        "errors_left_out": described(COUNT, "Number of further field errors"),
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}


def problem_example(slug: str, use_case: UseCase) -> dict[str, Any]:
    """A problem document of a kind."""
    status, title = TITLES[slug]
    document: dict[str, Any] = {
        "type": f"urn:shadow-platform:problem:{slug}",
        "title": title,
        "status": status,
        "detail": str(NoChampion(use_case.name)) if slug == "not-ready" else PROBLEM_DETAILS[slug],
        "request_id": EXAMPLE_ID,
    }
    if slug == "invalid-request":
        message = "required; it names what the prediction is about"
        document["errors"] = [{"field": use_case.subject, "message": message}]
    return document


PROBLEM_DETAILS = {
    "not-json": "unexpected character: line 1 column 1 (char 0); send a JSON document in UTF-8",
    "nested-too-deep": "the body is nested deeper than 32 levels; send flat objects",
    "unauthenticated": "the route needs a bearer token; send the header Authorization: Bearer <token>",
    "forbidden": "the token has scope predict; the route needs shadow:read",
    "body-timeout": "no complete body within 10 s; send it at once",
    "body-too-large": "the body has 1048577 bytes; at most 1048576 are read, send smaller batches",
    "invalid-request": "1 field error",
    "too-many-requests": "256 requests are in flight in this worker; try again",
    "internal-error": "RuntimeError; see the service's log",
    "log-unavailable": "cannot append (No space left on device); free space on the device",
    "explanation-unavailable": "the model is too slow to be explained in time; try again",
}
