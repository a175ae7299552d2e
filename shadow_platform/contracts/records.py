"""What is written to the append-only logs: one frozen record a line.

Upstream: serving writes predictions and failures, the shadow worker writes comparisons, promotion writes transitions.
Downstream: assets turn closed logs into tables. A field is never renamed or given a new meaning; a new meaning is a
new field and a higher ``schema_version``.
"""

from dataclasses import dataclass, field
from typing import Literal

SCHEMA_VERSION = 5

FeatureValue = float | int | str | bool | None
Variant = Literal["champion", "canary"]
Outcome = Literal["compared", "failed", "dropped"]


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One answer, as given. Grain: one line a request.

    Attributes:
        request_id: UUIDv7; a UUIDv8 derived from the ``Idempotency-Key`` when the client sent one.
        subject_id: key of what the prediction is about (customer, parcel, applicant).
        entities: feature-store join keys and their values.
        requested_at: business time of the request, RFC 3339 UTC (wall clock, or ``X-As-Of`` in a replay).
        logged_at: wall-clock time of the append, RFC 3339 UTC.
        features: value of every model feature as served, before imputation; ``None`` where it was imputed.
        feature_sources: number of features from ``request``, ``online``, ``imputed`` and, where the use case has
            derivations, ``derived``.
        feature_age_s: age of the oldest online feature view used, seconds; ``None`` if none was used.
        propensity: probability with which this variant was chosen for this request.
        is_fallback: the canary was chosen and failed, so the champion answered; such a row is no random choice.
        latency_ms: time from parsed request to the append, milliseconds.
        is_explored: the prediction is positive and was not carried out, so that its outcome is seen.
        label_propensity: probability, given features and decision, that the outcome of this request can be seen.
        context: fields of the envelope that say which event the request is about, as sent; empty without an envelope,
            and in records older than version 4.
        feature_times: of every view whose row was read, when the row became true, RFC 3339 UTC with microseconds. A
            row without any value counts; a view is absent where no row was within its time to live, or the request
            brought all of its features. Empty in records older than version 5.
        overridden: features of views that the request brought itself; empty in records older than version 5.
    """

    request_id: str
    use_case: str
    subject_id: str
    entities: dict[str, str]
    requested_at: str
    logged_at: str
    features: dict[str, FeatureValue]
    feature_sources: dict[str, int]
    feature_age_s: float | None
    model_version: str
    bundle_hash: str
    variant: Variant
    propensity: float
    probability: float
    prediction: bool
    threshold: float
    latency_ms: float
    is_fallback: bool = False
    is_explored: bool = False
    label_propensity: float = 1.0
    context: dict[str, str] = field(default_factory=dict)
    feature_times: dict[str, str] = field(default_factory=dict)
    overridden: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """A request that a model could not answer, or an answer that took the place of another. Grain: one line a failure.

    Appended as far as the device allows: a failure that cannot be written is counted in the metrics alone.

    Attributes:
        failed_at: wall clock, RFC 3339 UTC.
        reason: slug of the problem the caller was told, ``canary-failed`` when the champion answered instead.
    """

    request_id: str
    use_case: str
    subject_id: str
    failed_at: str
    variant: Variant
    model_version: str
    reason: str
    detail: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What one model said of one request."""

    probability: float | None
    prediction: bool | None
    latency_ms: float | None
    model_version: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SourceOffset:
    """Place of a prediction in its log: ``segment`` is the file relative to the log root, ``end`` the byte after it."""

    segment: str
    end: int


@dataclass(frozen=True, slots=True)
class ShadowRecord:
    """What one challenger made of one logged prediction. Grain: one line a request and challenger.

    Exactly one record exists for every prediction the challenger was sent, whatever happened to it, so that
    ``sent = compared + failed + dropped``.

    Attributes:
        outcome: ``compared`` (both answered), ``failed`` (the challenger raised or gave no number) or ``dropped``.
        drop_reason: ``lag``, ``sampling`` or ``circuit_open`` when dropped.
        probability_diff: challenger minus champion probability.
        source: offset that makes a restart exact.
    """

    request_id: str
    use_case: str
    subject_id: str
    requested_at: str
    compared_at: str
    outcome: Outcome
    champion: ModelAnswer
    challenger: ModelAnswer
    source: SourceOffset
    drop_reason: str | None = None
    probability_diff: float | None = None
    prediction_match: bool | None = None
    is_replay: bool = False
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """One change of a registry alias: who, when, from what, to what, why, on which evidence."""

    transition_id: str
    use_case: str
    alias: str
    from_version: str | None
    to_version: str | None
    actor: str
    reason: str
    evidence_id: str | None
    generation: int
    transitioned_at: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """A raw event that failed validation, kept whole with the reason."""

    kind: str
    file: str
    row: int
    column: str | None
    reason: str
    payload: str = field(default="")


@dataclass(frozen=True, slots=True)
class QuarantinedLabel:
    """A row of an imported label file that was refused; ``row`` counts from 1, without a header."""

    row: int
    column: str | None
    reason: str
    payload: str
