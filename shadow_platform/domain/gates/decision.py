"""The decision on one challenger, from every criterion, reproducible byte for byte.

Upstream: the criteria of gates.quality and gates.operation. Downstream: ``gate_decisions``, domain.promotion.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import (
    AAFacts,
    Criterion,
    Decision,
    GateDecision,
    GateSequence,
    Maturity,
    Outcome,
    Purpose,
    TrainingKnowledge,
)
from shadow_platform.domain.gates.coverage import judge_coverage
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT
from shadow_platform.domain.gates.operation import judge_a_a, judge_knowledge, judge_operation, judge_parity
from shadow_platform.domain.gates.quality import judge_gain, judge_quality

NUMBERS = (
    "label",
    "is_prevented",
    "is_hidden",
    "label_propensity",
    "probability",
    "prediction",
    "challenger_probability",
    "challenger_prediction",
)
OPERATION_NUMBERS = ("probability", "challenger_latency_ms")


@dataclass(frozen=True, slots=True)
class GateInputs:
    """Everything a decision rests on.

    Attributes:
        sequence: comparison that this is a look at.
        as_of: labels known later were not used.
        policy: the sequence's.
        answered: champion's predictions, matured or not, that the challenger's shadow has settled, in prediction order
            with ``request_id, probability, outcome`` (``compared``, ``failed``, ``dropped`` or ``missing``),
            ``challenger_latency_ms`` and the policy's segment columns: what operation and coverage are judged on.
        cohort: the matured ones, what quality is judged on, with also ``subject_id, requested_at, label`` (nullable),
            ``is_prevented, is_hidden, label_propensity`` (domain.censoring), ``prediction, challenger_probability,
            challenger_prediction`` and the policy's cluster column. Rows that a model was fitted on must not be in it.
        maturity: how many answers the cohort is drawn from.
        parity: challenger's ONNX parity, from its bundle.
        a_a: latest A/A run of the champion's bundle; ``None``: there is none.
        knowledge: what the challenger was trained on; ``None``: not looked up.
        fingerprints: of the inputs that are not in the cohort (bundles, code).
    """

    sequence: GateSequence
    as_of: datetime
    policy: GatePolicy
    answered: pd.DataFrame
    cohort: pd.DataFrame
    maturity: Maturity
    parity: Outcome = INSUFFICIENT
    parity_n: int = 0
    a_a: AAFacts | None = None
    knowledge: TrainingKnowledge | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def decide(inputs: GateInputs) -> GateDecision:
    """The decision on one challenger: ``promote``, ``wait`` or ``reject``, with every criterion behind it.

    Promote when every criterion passes; reject when a hard one fails; else wait. Equal inputs give equal bytes.
    """
    sequence, criteria = inputs.sequence, judge(inputs)
    decision, reason = _conclude(criteria, _left_out(inputs))
    fingerprints = {
        **inputs.fingerprints,
        "evidence": fingerprint_of(inputs.cohort, inputs.policy),
        "operation": operation_fingerprint_of(inputs.answered, inputs.policy),
        "policy": _sha256(sequence.policy),
        "labels_as_of": inputs.as_of.astimezone(UTC).isoformat(),
    }
    return GateDecision(
        decision_id=_sha256(_identity(inputs) | {"fingerprints": fingerprints}),
        sequence_id=sequence.sequence_id,
        use_case=sequence.use_case,
        purpose=sequence.purpose,
        champion_version=sequence.champion_version,
        challenger_version=sequence.challenger_version,
        as_of=inputs.as_of.astimezone(UTC),
        decision=decision,
        criteria=tuple(criteria),
        maturity=inputs.maturity,
        reason=reason,
        fingerprints=dict(sorted(fingerprints.items())),
    )


def judge(inputs: GateInputs) -> list[Criterion]:
    """Every criterion of the policy; of a watch, only what tells whether the champion before was better.

    How fast the champion before was in the shadow does not matter for the way back: it has served already. What it
    left out does: on the rest alone it may look better than it is.
    """
    policy, cohort, alpha = inputs.policy, inputs.cohort, inputs.sequence.alpha
    if inputs.sequence.purpose is Purpose.WATCH:
        return [*judge_gain(cohort, policy, alpha), *judge_coverage(inputs.answered, policy)]
    return [
        *judge_quality(cohort, policy, alpha),
        *judge_operation(inputs.answered, policy),
        judge_parity(inputs.parity, inputs.parity_n),
        *judge_a_a(inputs.a_a, policy),
        judge_knowledge(inputs.knowledge),
    ]


def _identity(inputs: GateInputs) -> dict[str, object]:
    """What the decision rests on besides fingerprints, as JSON values."""
    sequence, a_a, knowledge = inputs.sequence, inputs.a_a, inputs.knowledge
    return {
        "sequence": sequence.model_dump_json(exclude={"opened_at"}),
        "maturity": inputs.maturity.model_dump_json(),
        "parity": [inputs.parity, inputs.parity_n],
        "a_a": a_a.model_dump_json() if a_a else None,
        "knowledge": knowledge.model_dump_json() if knowledge else None,
    }


def _conclude(criteria: list[Criterion], left_out: list[str]) -> tuple[Decision, str]:
    hard = [c for c in criteria if c.outcome is FAIL and c.is_hard]
    failed = [c for c in criteria if c.outcome is FAIL]
    unknown = [c for c in criteria if c.outcome is INSUFFICIENT]
    if hard:
        decision, why = Decision.REJECT, hard
    elif failed or unknown:
        decision, why = Decision.WAIT, failed + unknown
    else:
        decision, why = Decision.PROMOTE, [c for c in criteria if c.name == "log_loss_gain"]
    reason = "; ".join(f"{c.name} {c.outcome}: {c.reason}" for c in why)
    return decision, reason + (f"; left out by policy: {', '.join(left_out)}" if left_out else "")


def _left_out(inputs: GateInputs) -> list[str]:
    policy = inputs.policy
    if inputs.sequence.purpose is Purpose.WATCH:
        return [] if policy.min_label_coverage is not None else ["label_coverage"]
    optional = {
        "label_coverage": policy.min_label_coverage,
        "f1_improvement_pct": policy.min_f1_improvement_pct,
        "brier_change": policy.max_brier_degradation,
        "calibration_error": policy.max_calibration_error,
        "a_a_difference": policy.max_a_a_difference,
        "segments": policy.segments or None,
    }
    return [name for name, limit in optional.items() if limit is None]


def fingerprint_of(cohort: pd.DataFrame, policy: GatePolicy) -> str:
    """SHA-256 over every cell of the cohort that a criterion on quality reads, row order included."""
    texts = ("request_id", "subject_id", "requested_at", "outcome", *policy.segments, policy.cluster or "")
    return _digest(cohort, NUMBERS, texts)


def operation_fingerprint_of(answered: pd.DataFrame, policy: GatePolicy) -> str:
    """SHA-256 over every cell that a criterion on operation or coverage reads, row order included."""
    return _digest(answered, OPERATION_NUMBERS, ("request_id", "outcome", *policy.segments))


def _digest(rows: pd.DataFrame, numeric: tuple[str, ...], texts: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for column in numeric:
        numbers = [math.nan if pd.isna(value) else float(value) for value in rows[column]]
        digest.update(f"{column}\0".encode() + np.array(numbers, dtype="<f8").tobytes())
    for column in dict.fromkeys(texts):
        if column in rows.columns:
            cells = [None if pd.isna(value) else str(value) for value in rows[column]]
            digest.update(f"{column}\0{json.dumps(cells)}".encode())
    return digest.hexdigest()


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
