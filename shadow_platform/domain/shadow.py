"""What one challenger made of logged predictions: one record each, whatever happened.

Belongs here: comparing a challenger's number with a logged prediction, the rule by which a prediction is dropped, and
the summary of recent records. Does not belong here: tailing, scoring, appending (``bento.shadow``), and the hourly
tables (``domain.comparison``). Pure: takes the time.
Upstream: prediction records and challenger probabilities. Downstream: the shadow log, ``GET /shadow/*``.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from shadow_platform.contracts.records import ModelAnswer, Outcome, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.contracts.use_case import AnswerSpec

DropReason = Literal["lag", "sampling"]
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class ShadowPolicy:
    """Which logged predictions a challenger scores.

    Attributes:
        max_lag_s: a prediction older than this is dropped, so that a slow challenger catches up; ``None``: never.
        sample_rate: share of requests scored; which ones follows from the request's id alone.
    """

    max_lag_s: float | None = None
    sample_rate: float = 1.0

    def drop_reason(self, request_id: str, lag_s: float) -> DropReason | None:
        """Why a prediction is not scored; ``None``: it is."""
        if self.sample_rate < 1.0 and _share(request_id) >= self.sample_rate:
            return "sampling"
        if self.max_lag_s is not None and lag_s > self.max_lag_s:
            return "lag"
        return None


@dataclass(frozen=True, slots=True)
class Score:
    """What the challenger gave for one prediction: a probability, an error, or why it was not asked."""

    probability: float | None = None
    latency_ms: float | None = None
    error: str | None = None
    drop_reason: DropReason | None = None


@dataclass(frozen=True, slots=True)
class Challenger:
    """The model in the shadow."""

    version: str
    threshold: float


def compare(
    prediction: PredictionRecord,
    source: SourceOffset,
    challenger: Challenger,
    score: Score,
    *,
    compared_at: str,
    is_replay: bool = False,
) -> ShadowRecord:
    """The one record of a prediction that was sent to a challenger; a probability outside [0, 1] is a failure."""
    probability, error = score.probability, score.error
    if score.drop_reason is None and error is None and not _is_probability(probability):
        probability, error = None, f"challenger gave {score.probability!r}; expected a probability"
    outcome: Outcome = "dropped" if score.drop_reason else "failed" if error is not None else "compared"
    decision = None if probability is None else probability >= challenger.threshold
    return ShadowRecord(
        request_id=prediction.request_id,
        use_case=prediction.use_case,
        subject_id=prediction.subject_id,
        requested_at=prediction.requested_at,
        compared_at=compared_at,
        outcome=outcome,
        champion=ModelAnswer(
            prediction.probability, prediction.prediction, prediction.latency_ms, prediction.model_version
        ),
        challenger=ModelAnswer(probability, decision, score.latency_ms, challenger.version, error),
        source=source,
        drop_reason=score.drop_reason,
        probability_diff=None if probability is None else probability - prediction.probability,
        prediction_match=None if decision is None else decision == prediction.prediction,
        is_replay=is_replay,
    )


def present(record: ShadowRecord, subject: str, spec: AnswerSpec) -> dict[str, Any]:
    """A record in the words of the HTTP contract."""
    return {
        "request_id": record.request_id,
        "use_case": record.use_case,
        subject: record.subject_id,
        "timestamp": record.requested_at,
        "compared_at": record.compared_at,
        "outcome": record.outcome,
        "drop_reason": record.drop_reason,
        "champion": _present_answer(record.champion, spec),
        "challenger": {**_present_answer(record.challenger, spec), "error": record.challenger.error},
        "comparison": {
            "probability_diff": record.probability_diff,
            "prediction_match": record.prediction_match,
        },
        "is_replay": record.is_replay,
    }


def summarise(records: Sequence[ShadowRecord]) -> dict[str, Any]:
    """Agreement, differences, flips, latencies and errors of one challenger's records; null where none compared."""
    outcomes = Counter(record.outcome for record in records)
    compared = [record for record in records if record.outcome == "compared"]
    flips = [bool(record.challenger.prediction) for record in compared if not record.prediction_match]
    matches = len(compared) - len(flips)
    return {
        "sent": len(records),
        "compared": outcomes["compared"],
        "failed": outcomes["failed"],
        "dropped": outcomes["dropped"],
        "agreement_rate": matches / len(compared) if compared else None,
        "flips_to_positive": sum(flips),
        "flips_to_negative": len(flips) - sum(flips),
        "probability_diff": _quantiles([r.probability_diff for r in compared]),
        "champion_latency_ms": _quantiles([r.champion.latency_ms for r in compared]),
        "challenger_latency_ms": _quantiles([r.challenger.latency_ms for r in compared]),
        "errors": dict(Counter(r.challenger.error for r in records if r.challenger.error).most_common(10)),
    }


def _present_answer(answer: ModelAnswer, spec: AnswerSpec) -> dict[str, Any]:
    return {
        "prediction": {spec.probability: answer.probability, spec.prediction: answer.prediction},
        "latency_ms": answer.latency_ms,
        "model_version": answer.model_version,
    }


def _quantiles(values: Sequence[float | None]) -> Mapping[str, float | None]:
    ordered = sorted(value for value in values if value is not None)
    return {f"p{round(q * 100):02d}": ordered[int(q * (len(ordered) - 1))] if ordered else None for q in QUANTILES}


def _is_probability(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and 0.0 <= value <= 1.0


def _share(request_id: str) -> float:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest()) / 2**64
