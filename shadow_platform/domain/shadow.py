"""What one challenger made of logged predictions: one record each, whatever happened.

Belongs here: comparing a challenger's number with a logged prediction, the rules by which a prediction is dropped (lag,
sampling, an open circuit), and the summary of recent records. Does not belong here: tailing, scoring, appending
(``bento.shadowing.lane``), and the hourly tables (``domain.comparison``). Pure: takes the time.
Upstream: prediction records and challenger probabilities. Downstream: the shadow log, ``GET /shadow/*``.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

from shadow_platform.contracts.records import ModelAnswer, Outcome, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.contracts.use_case import AnswerSpec

DropReason = Literal["lag", "sampling", "circuit_open"]
Result = Literal["answered", "failed", "lost"]
CircuitState = Literal["closed", "half_open", "open"]
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
class IsolationPolicy:
    """What a challenger's process may take before it is ended.

    Attributes:
        max_batch_s: a micro-batch without an answer after this hangs: the process is killed.
        max_start_s: the same for loading the model and its self-test.
        max_memory_mib: data a process may allocate, so that a leak ends it and nothing else.
        tries: a prediction that ends the process so often when it is scored alone is to blame, and fails.
    """

    max_batch_s: float = 10.0
    max_start_s: float = 60.0
    max_memory_mib: int = 2048
    tries: int = 2


@dataclass(frozen=True, slots=True)
class Score:
    """What the challenger gave for one prediction: a probability, an error, or why it was not asked.

    Attributes:
        is_lost: its process died or had to be killed over this prediction.
    """

    probability: float | None = None
    latency_ms: float | None = None
    error: str | None = None
    drop_reason: DropReason | None = None
    is_lost: bool = False

    @property
    def result(self) -> Result:
        """What it means for the circuit of a challenger that was asked."""
        if self.is_lost:
            return "lost"
        return "answered" if self.error is None and _is_probability(self.probability) else "failed"


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a challenger that keeps failing is left alone for a while.

    Attributes:
        max_in_a_row: the circuit opens at so many failures in a row.
        max_share: it opens when more of the last ``window`` predictions failed.
        max_lost: it opens when so many of the last ``window`` cost the challenger its process, seconds each.
        pause_s: an open circuit is probed after this.
        probes: so many answers in a row close it again.
    """

    max_in_a_row: int = 25
    max_share: float = 0.5
    max_lost: int = 3
    window: int = 200
    pause_s: float = 30.0
    probes: int = 5


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit breaker as a value: closed (all are scored), open (none), half-open (some, as a probe).

    Attributes:
        recent: latest results since it closed, or since the probing began; at most ``policy.window``.
        opened_at_s: when it opened, on the clock that the caller passes in.
    """

    policy: CircuitPolicy = CircuitPolicy()
    state: CircuitState = "closed"
    recent: tuple[Result, ...] = ()
    opened_at_s: float = 0.0

    def at(self, now_s: float) -> "Circuit":
        """The circuit at this time: an open one is probed once the pause is over."""
        if self.state == "open" and now_s - self.opened_at_s >= self.policy.pause_s:
            return replace(self, state="half_open", recent=())
        return self

    def admitted(self, n: int) -> int:
        """How many of ``n`` predictions may be scored now."""
        if self.state == "half_open":
            return min(n, self.policy.probes - len(self.recent))
        return n if self.state == "closed" else 0

    def after(self, results: Sequence[Result], now_s: float) -> "Circuit":
        """The circuit after these results."""
        if self.state == "open" or not results:
            return self
        recent = (*self.recent, *results)[-self.policy.window :]
        if self._is_tripped(recent):
            return replace(self, state="open", recent=(), opened_at_s=now_s)
        if self.state == "half_open" and len(recent) >= self.policy.probes:
            return replace(self, state="closed", recent=())
        return replace(self, recent=recent)

    def _is_tripped(self, recent: Sequence[Result]) -> bool:
        policy, n_failed = self.policy, sum(result != "answered" for result in recent)
        if self.state == "half_open":
            return n_failed > 0
        last = recent[-policy.max_in_a_row :]
        return (
            (len(last) == policy.max_in_a_row and "answered" not in last)
            or recent.count("lost") >= policy.max_lost
            or (len(recent) == policy.window and n_failed > policy.max_share * policy.window)
        )


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
        probability, error = None, f"NoProbability: challenger gave {score.probability!r}; expected a probability"
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


def is_a_a(record: ShadowRecord) -> bool:
    """Whether the challenger was compared with its own answer, given as canary: evidence on nothing but itself."""
    return record.champion.model_version == record.challenger.model_version


def error_kind(error: str) -> str:
    """What went wrong, without the particulars.

    >>> error_kind("process died: SIGSEGV"), error_kind("killed after 10 s"), error_kind("ValueError: no 7")
    ('process died', 'killed', 'ValueError')
    """
    return error.partition(":")[0].partition(" after ")[0]


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
    """Agreement, differences, flips, latencies and errors of one challenger's records; null where none compared.

    Where the challenger answered itself, as canary, both answers must be equal: such records are counted in
    ``outcomes`` and shown under ``a_a``, and left out of everything that compares two models.
    """
    outcomes = Counter(record.outcome for record in records)
    answered = [record for record in records if record.outcome == "compared"]
    compared = [record for record in answered if not is_a_a(record)]
    own = [abs(record.probability_diff or 0.0) for record in answered if is_a_a(record)]
    flips = [bool(record.challenger.prediction) for record in compared if not record.prediction_match]
    matches = len(compared) - len(flips)
    return {
        "sent": len(records),
        "compared": outcomes["compared"],
        "failed": outcomes["failed"],
        "dropped": outcomes["dropped"],
        "drop_reasons": dict(Counter(r.drop_reason for r in records if r.drop_reason)),
        "agreement_rate": matches / len(compared) if compared else None,
        "flips_to_positive": sum(flips),
        "flips_to_negative": len(flips) - sum(flips),
        "probability_diff": _quantiles([r.probability_diff for r in compared]),
        "champion_latency_ms": _quantiles([r.champion.latency_ms for r in compared]),
        "challenger_latency_ms": _quantiles([r.challenger.latency_ms for r in answered]),
        "errors": dict(Counter(r.challenger.error for r in records if r.challenger.error).most_common(10)),
        "a_a": {"n": len(own), "max_abs_diff": max(own, default=None)},
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
