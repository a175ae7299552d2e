"""From a request's body to features, and from a probability to an answer and its log record.

Belongs here: what a valid request of a use case is, where each feature's value comes from, how an answer reads. Does
not belong here: HTTP, lookups, scoring, appending. Pure: takes the time and the request's id.
Upstream: bento (request bodies, online rows, probabilities). Downstream: bento, which answers and appends.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.records import FeatureValue, PredictionRecord, Variant
from shadow_platform.contracts.use_case import AnswerSpec, Feature, UseCase

MAX_TEXT = 256
"""Longest key or category accepted, characters."""
MAX_NAME = 80
"""Longest part of an unknown field's name that is repeated to the caller, characters."""
FLOAT32_MAX = 3.4028234663852886e38
"""Models compute in float32; a larger number would become infinite."""

_NUMBERS = frozenset((int, float))

FieldError = dict[str, str]


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """A request that meets the contract; a feature the body lacks (or gives as null) is absent."""

    subject_id: str
    entities: dict[str, str]
    features: dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class ServedFeatures:
    """Values as served, before imputation.

    Attributes:
        values: every feature of the use case; ``None`` where it will be imputed.
        sources: number of features from ``request``, ``online`` and ``imputed``.
        age_s: age of the oldest online row used, seconds.
        missing: number of imputed features by view (``request`` for those only a request brings).
    """

    values: dict[str, FeatureValue]
    sources: dict[str, int]
    age_s: float | None
    missing: dict[str, int]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a model said, and which model it was.

    Attributes:
        propensity: probability with which this variant was chosen for the request.
        is_fallback: the canary was chosen and failed.
        threshold: probability from which on the prediction is positive.
    """

    probability: float
    threshold: float
    model_version: str
    bundle_hash: str
    variant: Variant = "champion"
    propensity: float = 1.0
    is_fallback: bool = False

    @property
    def prediction(self) -> bool:
        """The decision."""
        return self.probability >= self.threshold


class RequestContract:
    """What requests of one use case must look like, prepared once for the hot path."""

    def __init__(self, use_case: UseCase) -> None:
        self.use_case = use_case
        self._join_keys = tuple(entity.join_key for entity in use_case.entities)
        self._features = {feature.name: feature for feature in use_case.features}
        self._bounds = {
            feature.name: (
                -FLOAT32_MAX if feature.low is None else feature.low,
                FLOAT32_MAX if feature.high is None else feature.high,
            )
            for feature in use_case.features
            if feature.kind == "numeric" and feature.name not in self._join_keys
        }
        self._keys = frozenset((use_case.subject, *self._join_keys))
        self._known = self._keys | self._features.keys()
        self._unknown = f"unknown field; expected one of {', '.join(sorted(self._known))}"
        entity_of = {view.name: view.entity for view in use_case.views}
        self._viewed = tuple((f.name, entity_of[f.view]) for f in use_case.features if f.view is not None)
        self._ttl_s = {view.name: view.ttl.total_seconds() for view in use_case.views}
        self._order = tuple((feature.name, feature.view) for feature in use_case.features)

    def parse(self, body: object) -> ValidRequest:
        """The request; raises ``RequestError`` with every error of every field at once."""
        errors: list[FieldError] = []
        request = self._parse(body, "", errors)
        if request is None:
            raise RequestError(errors)
        return request

    def parse_batch(self, body: object, max_size: int) -> list[ValidRequest]:
        """The requests in order; one bad row refuses all, its fields named ``[index].field``."""
        if not isinstance(body, list):
            raise RequestError([_error("body", f"is {_kind(body)}; expected a list of requests")])
        if not 1 <= len(body) <= max_size:
            raise RequestError([_error("body", f"holds {len(body)} requests; expected 1 to {max_size}")])
        errors: list[FieldError] = []
        requests = [self._parse(row, f"[{index}]", errors) for index, row in enumerate(body)]
        if errors:
            raise RequestError(errors)
        return [request for request in requests if request is not None]

    def _parse(self, body: object, at: str, errors: list[FieldError]) -> ValidRequest | None:
        if not isinstance(body, dict):
            errors.append(_error(at or "body", f"is {_kind(body)}; expected an object"))
            return None
        n_before, prefix = len(errors), f"{at}." if at else ""
        entities: dict[str, str] = {}
        features: dict[str, float | int | str] = {}
        unknown = sorted(body.keys() - self._known)
        errors.extend(_error(prefix + (name[:MAX_NAME] or '""'), self._unknown) for name in unknown)
        bounds = self._bounds
        for name, value in body.items():
            if name in bounds and type(value) in _NUMBERS and bounds[name][0] <= value <= bounds[name][1]:
                features[name] = value
                continue
            if value is None or name not in self._known:
                continue
            feature = self._features.get(name)
            problem = _text_problem(value) if feature is None else _feature_problem(feature, value)
            if problem:
                errors.append(_error(prefix + name, problem))
                continue
            if name in self._keys:
                entities[name] = value
            if feature is not None:
                features[name] = value
        subject = self.use_case.subject
        if body.get(subject) is None:
            errors.append(_error(prefix + subject, "required; it names what the prediction is about"))
        if len(errors) > n_before:
            return None
        joins = {key: entities[key] for key in self._join_keys if key in entities}
        return ValidRequest(entities[subject], joins, features)

    def lookup_keys(self, request: ValidRequest) -> dict[str, str]:
        """Join keys worth looking up: those of views with a feature that the request lacks."""
        if not self._viewed:
            return {}
        return {
            entity: request.entities[entity]
            for name, entity in self._viewed
            if name not in request.features and entity in request.entities
        }

    def assemble(self, request: ValidRequest, online: Mapping[str, OnlineRow], as_of: datetime) -> ServedFeatures:
        """Values by precedence: request, online row within its view's TTL, else imputed.

        A row from after ``as_of`` counts as missing, so that replayed traffic sees nothing of its own future.
        """
        ages = {
            view: age
            for view, row in online.items()
            if 0.0 <= (age := (as_of - row.event_at).total_seconds()) <= self._ttl_s[view]
        }
        values: dict[str, FeatureValue] = {}
        missing: dict[str, int] = {}
        used: set[str] = set()
        given, n_request, n_online = request.features, 0, 0
        for name, view in self._order:
            value: FeatureValue = given.get(name)
            if value is not None:
                n_request += 1
            elif view in ages and (value := _finite(online[view].values.get(name))) is not None:
                n_online += 1
                used.add(view)
            else:
                source = view or "request"
                missing[source] = missing.get(source, 0) + 1
            values[name] = value
        sources = {"request": n_request, "online": n_online, "imputed": len(values) - n_request - n_online}
        return ServedFeatures(values, sources, max((ages[view] for view in used), default=None), missing)


def risk_category(probability: float, bands: tuple[float, float]) -> str:
    """``low`` below the first band, ``high`` from the second on.

    >>> [risk_category(p, (0.3, 0.7)) for p in (0.1, 0.3, 0.7)]
    ['low', 'medium', 'high']
    """
    return "low" if probability < bands[0] else "medium" if probability < bands[1] else "high"


def build_answer(
    use_case: UseCase, request_id: str, subject_id: str, output: ModelOutput, sources: Mapping[str, int], at: str
) -> dict[str, Any]:
    """Body of the answer, named by the use case's ``AnswerSpec``; ``at`` is RFC 3339."""
    spec: AnswerSpec = use_case.answer
    answer: dict[str, Any] = {
        "request_id": request_id,
        use_case.subject: subject_id,
        spec.probability: output.probability,
        spec.prediction: output.prediction,
    }
    if spec.risk_category is not None:
        answer[spec.risk_category] = risk_category(output.probability, spec.risk_bands)
    answer["model_version"] = output.model_version
    answer["timestamp"] = at
    answer["feature_sources"] = sources
    return answer


def build_record(
    use_case: str,
    request_id: str,
    request: ValidRequest,
    served: ServedFeatures,
    output: ModelOutput,
    *,
    requested_at: str,
    logged_at: str,
    latency_ms: float,
) -> PredictionRecord:
    """What the prediction log keeps of one answer."""
    return PredictionRecord(
        request_id=request_id,
        use_case=use_case,
        subject_id=request.subject_id,
        entities=request.entities,
        requested_at=requested_at,
        logged_at=logged_at,
        features=served.values,
        feature_sources=served.sources,
        feature_age_s=served.age_s,
        model_version=output.model_version,
        bundle_hash=output.bundle_hash,
        variant=output.variant,
        propensity=output.propensity,
        probability=output.probability,
        prediction=output.prediction,
        threshold=output.threshold,
        latency_ms=latency_ms,
        is_fallback=output.is_fallback,
    )


def parse_as_of(text: str, now: datetime, *, is_allowed: bool) -> datetime:
    """Business time from ``X-As-Of``; raises ``RequestError`` when refused, malformed or in the future."""
    if not is_allowed:
        raise RequestError([_error("X-As-Of", "is refused in production; leave the header out")])
    try:
        as_of = datetime.fromisoformat(text)
    except ValueError:
        as_of = None
    if as_of is None or as_of.tzinfo is None:
        raise RequestError([_error("X-As-Of", f"is {text[:40]!r}; expected RFC 3339, such as 2024-01-15T10:30:00Z")])
    if as_of > now:
        raise RequestError([_error("X-As-Of", f"is {text[:40]!r}, in the future; expected at most {rfc3339(now)}")])
    return as_of.astimezone(UTC)


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds.

    >>> rfc3339(datetime(2024, 1, 15, 10, 30, tzinfo=UTC))
    '2024-01-15T10:30:00.000Z'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _finite(value: FeatureValue) -> FeatureValue:
    """A NaN from the store is a missing value."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _feature_problem(feature: Feature, value: object) -> str | None:
    if feature.kind == "categorical":
        return _text_problem(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"is {_kind(value)}; expected a number"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}; expected a finite number"
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return f"is beyond float32; expected at most {FLOAT32_MAX:.3g} in size"
    if (feature.low is not None and value < feature.low) or (feature.high is not None and value > feature.high):
        return f"is {value}; expected {_range(feature)}"
    return None


def _text_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"is {_kind(value)}; expected a string"
    if not 1 <= len(value) <= MAX_TEXT:
        return f"has {len(value)} characters; expected 1 to {MAX_TEXT}"
    if not value.isprintable():
        return "holds control characters; expected printable text"
    return None


def _range(feature: Feature) -> str:
    low = "" if feature.low is None else f"at least {feature.low:g}"
    high = "" if feature.high is None else f"at most {feature.high:g}"
    unit = f" {feature.unit}" if feature.unit else ""
    return " and ".join(part for part in (low, high) if part) + unit


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: Sequence[tuple[type, str]] = (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def _error(field: str, message: str) -> FieldError:
    return {"field": field, "message": message}
