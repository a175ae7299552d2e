"""How an answer and its record in the prediction log read.

Upstream: valid requests, served features, probabilities. Downstream: bento, which appends the record and answers from
it, so that nobody is told what is not logged.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shadow_platform.contracts.records import PredictionRecord, Variant
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving.requests import ServedFeatures, ValidRequest


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


def risk_category(probability: float, bands: tuple[float, float]) -> str:
    """``low`` below the first band, ``high`` from the second on.

    >>> [risk_category(p, (0.3, 0.7)) for p in (0.1, 0.3, 0.7)]
    ['low', 'medium', 'high']
    """
    return "low" if probability < bands[0] else "medium" if probability < bands[1] else "high"


def build_answer(use_case: UseCase, record: PredictionRecord) -> dict[str, Any]:
    """Body of the answer that a record keeps, named by the use case's ``AnswerSpec``."""
    spec = use_case.answer
    answer: dict[str, Any] = {spec.request_id: record.request_id}
    if spec.subject:
        answer[use_case.subject] = record.subject_id
    answer[spec.probability] = record.probability
    answer[spec.prediction] = record.prediction
    if spec.risk_category is not None:
        answer[spec.risk_category] = risk_category(record.probability, spec.risk_bands)
    if spec.action is not None:
        is_carried_out = record.prediction and not record.is_explored
        answer[spec.action.name] = spec.action.positive if is_carried_out else spec.action.negative
    answer["model_version"] = record.model_version
    answer["timestamp"] = record.requested_at
    if spec.feature_sources:
        answer["feature_sources"] = record.feature_sources
        answer["feature_age_s"] = record.feature_age_s
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
    is_explored: bool = False,
    label_propensity: float = 1.0,
) -> PredictionRecord:
    """What the prediction log keeps of one answer; times are RFC 3339."""
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
        is_explored=is_explored,
        label_propensity=label_propensity,
        context=request.context,
        feature_times={view: _microseconds(at) for view, at in served.times.items()},
        overridden=served.overridden,
    )


def _microseconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
