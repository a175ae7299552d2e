"""What a valid request of a use case is, and where the value of each feature comes from.

Upstream: request bodies, online rows. Downstream: ``answers``; bento, which looks features up and scores them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.features import FLOAT32_MAX
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.records import FeatureValue
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving.values import (
    FieldError,
    context_errors,
    feature_problem,
    field_error,
    kind_of,
    text_problem,
)

MAX_NAME = 80
"""Longest part of an unknown field's name that is repeated to the caller, characters."""

_NUMBERS = frozenset((int, float))
_NO_VALUES = frozenset((None, math.inf, -math.inf))
"""A store may hold them, or NaN, which equals nothing; models are given none."""


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """A request that meets the contract; a feature the body lacks (or gives as null) is absent.

    Attributes:
        context: which event it is about; empty without an envelope.
    """

    subject_id: str
    entities: dict[str, str]
    features: dict[str, float | int | str]
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServedFeatures:
    """Values as served, before imputation.

    Attributes:
        values: every feature of the use case; ``None`` where it will be imputed.
        sources: number of features from ``request``, ``online``, ``imputed`` and, with derivations, ``derived``.
        age_s: age of the oldest online row used, seconds.
        missing: number of imputed features by view or derivation (``request`` for those only a request brings).
        times: of every view whose row was read, even one without any value, when the row became true.
        overridden: features of views that the request brought itself.
        problems: why a derivation failed, by its name.
    """

    values: dict[str, FeatureValue]
    sources: dict[str, int]
    age_s: float | None
    missing: dict[str, int]
    times: dict[str, datetime] = field(default_factory=dict)
    overridden: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


class _Level:
    """Fields of one object of a request: ``values`` are keys and features, ``known`` is all that may stand there."""

    __slots__ = ("known", "unknown", "values")

    def __init__(self, values: frozenset[str], known: frozenset[str]) -> None:
        self.values = values
        self.known = known
        self.unknown = f"unknown field; expected one of {', '.join(sorted(known))}"


class RequestContract:
    """What requests of one use case must look like, prepared once for the hot path."""

    def __init__(self, use_case: UseCase) -> None:
        self.use_case = use_case
        self._join_keys = tuple(entity.join_key for entity in use_case.entities)
        self._features = {feature.name: feature for feature in use_case.features if feature.derivation is None}
        self._bounds = {
            feature.name: (
                -FLOAT32_MAX if feature.low is None else feature.low,
                FLOAT32_MAX if feature.high is None else feature.high,
            )
            for feature in self._features.values()
            if feature.kind == "numeric" and feature.name not in self._join_keys
        }
        self._keys = frozenset((use_case.subject, *self._join_keys))
        envelope, event = use_case.envelope, frozenset[str]()
        if envelope is not None:
            event = frozenset(f.name for f in use_case.request_features) - self._keys
            self._event = _Level(event, event | {field.name for field in envelope.fields})
        values = (self._keys | self._features.keys()) - event
        self._outer = _Level(values, values | ({envelope.name} if envelope else set()))
        self._names_in = {
            view.name: frozenset(f.name for f in use_case.view_features(view.name)) for view in use_case.views
        }
        self._names_by = {
            entity.join_key: names
            for entity in use_case.entities
            if (
                names := frozenset(
                    f for v in use_case.views if v.entity == entity.join_key for f in self._names_in[v.name]
                )
            )
        }
        self._ttl_s = {view.name: view.ttl.total_seconds() for view in use_case.views}
        self._source_of = {name: feature.view or "request" for name, feature in self._features.items()}
        self._in_views = frozenset(name for name, feature in self._features.items() if feature.view is not None)
        self._derivations = tuple((d, use_case.derived_features(d.name)) for d in use_case.derivations)

    def parse(self, body: object, as_of: datetime) -> ValidRequest:
        """The request asked at ``as_of``; raises ``RequestError`` with every error of every field at once."""
        errors: list[FieldError] = []
        request = self._parse(body, "", as_of, errors)
        if request is None:
            raise RequestError(errors)
        return request

    def parse_batch(self, body: object, max_size: int, as_of: datetime) -> list[ValidRequest]:
        """The requests in order; one bad row refuses all, its fields named ``[index].field``."""
        if not isinstance(body, list):
            raise RequestError([field_error("body", f"is {kind_of(body)}; expected a list of requests")])
        if not 1 <= len(body) <= max_size:
            raise RequestError([field_error("body", f"holds {len(body)} requests; expected 1 to {max_size}")])
        errors: list[FieldError] = []
        requests = [self._parse(row, f"[{index}]", as_of, errors) for index, row in enumerate(body)]
        if errors:
            raise RequestError(errors)
        return [request for request in requests if request is not None]

    def _parse(self, body: object, at: str, as_of: datetime, errors: list[FieldError]) -> ValidRequest | None:
        if not isinstance(body, dict):
            errors.append(field_error(at or "body", f"is {kind_of(body)}; expected an object"))
            return None
        n_before, prefix = len(errors), f"{at}." if at else ""
        keys: dict[str, str] = {}
        context: dict[str, str] = {}
        features: dict[str, float | int | str] = {}
        self._take(self._outer, body, prefix, keys, features, errors)
        subject, envelope = self.use_case.subject, self.use_case.envelope
        if body.get(subject) is None:
            errors.append(field_error(prefix + subject, "required; it names what the prediction is about"))
        if envelope is not None:
            event = body.get(envelope.name)
            if isinstance(event, dict):
                prefix += f"{envelope.name}."
                self._take(self._event, event, prefix, keys, features, errors)
                errors.extend(context_errors(envelope.fields, event, prefix, {subject: body.get(subject)}, as_of))
                context = {known.name: event.get(known.name, "") for known in envelope.fields}
            else:
                errors.append(
                    field_error(prefix + envelope.name, f"is {kind_of(event)}; expected an object with the event")
                )
        if len(errors) > n_before:
            return None
        joins = {key: keys[key] for key in self._join_keys if key in keys}
        return ValidRequest(keys[subject], joins, features, context)

    def _take(
        self,
        level: _Level,
        body: Mapping[str, Any],
        prefix: str,
        keys: dict[str, str],
        features: dict[str, float | int | str],
        errors: list[FieldError],
    ) -> None:
        """Sort the values of one object of the body into keys, features and errors."""
        bounds, values = self._bounds, level.values
        if not body.keys() <= level.known:
            errors.extend(
                field_error(prefix + (name[:MAX_NAME] or '""'), level.unknown)
                for name in sorted(body.keys() - level.known)
            )
        for name, value in body.items():
            if name in bounds and type(value) in _NUMBERS and bounds[name][0] <= value <= bounds[name][1]:
                features[name] = value
                continue
            if value is None or name not in values:
                continue
            feature = self._features.get(name)
            problem = text_problem(value) if feature is None else feature_problem(feature, value)
            if problem:
                errors.append(field_error(prefix + name, problem))
                continue
            if name in self._keys:
                keys[name] = value
            if feature is not None:
                features[name] = value

    def lookup_keys(self, request: ValidRequest) -> dict[str, str]:
        """Join keys worth looking up: those of views with a feature that the request lacks."""
        given, entities = request.features.keys(), request.entities
        return {e: entities[e] for e, names in self._names_by.items() if e in entities and not given >= names}

    def assemble(self, request: ValidRequest, online: Mapping[str, OnlineRow], as_of: datetime) -> ServedFeatures:
        """Values by precedence: request, online row within its view's TTL, else imputed; then what derives from them.

        A row from after ``as_of`` counts as missing, so that replayed traffic sees nothing of its own future.
        """
        ages = {
            view: age
            for view, row in online.items()
            if 0.0 <= (age := (as_of - row.event_at).total_seconds()) <= self._ttl_s[view]
        }
        values: dict[str, FeatureValue] = dict.fromkeys(self._source_of)
        for view in ages:
            values.update(online[view].values)
        values.update(request.features)
        n_request, n_online, age_s = len(request.features), 0, None
        missing: dict[str, int] = {}
        if n_request < len(values):
            for name in [name for name, value in values.items() if value in _NO_VALUES or value != value]:
                values[name], source = None, self._source_of[name]
                missing[source] = missing.get(source, 0) + 1
        times: dict[str, datetime] = {}
        for view, age in ages.items():
            names = self._names_in[view]
            n_read = len(names) - len(names & request.features.keys())
            if n_read:
                times[view] = online[view].event_at
            if n_used := n_read - missing.get(view, 0):
                n_online, age_s = n_online + n_used, max(age, age_s or 0.0)
        sources = {"request": n_request, "online": n_online, "imputed": len(values) - n_request - n_online}
        overridden = [name for name in request.features if name in self._in_views]
        problems = self._derive(values, sources, missing) if self._derivations else {}
        return ServedFeatures(values, sources, age_s, missing, times, overridden, problems)

    def _derive(
        self, values: dict[str, FeatureValue], sources: dict[str, int], missing: dict[str, int]
    ) -> dict[str, str]:
        """Add the derived features to the values and to both counts; why a derivation failed, by its name."""
        problems, n_derived = {}, 0
        for derivation, features in self._derivations:
            derived, problem = derivation.derive(features, values)
            values.update(derived)
            n_missing = sum(value is None for value in derived.values())
            n_derived += len(derived) - n_missing
            if n_missing:
                missing[derivation.name] = n_missing
                sources["imputed"] += n_missing
            if problem is not None:
                problems[derivation.name] = problem
        sources["derived"] = n_derived
        return problems
