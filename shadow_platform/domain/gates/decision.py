"""The decision on one challenger, from every criterion, reproducible byte for byte.

Upstream: gates.quality, gates.operation. Downstream: ``gate_decisions``, domain.promotion.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Outcome
from shadow_platform.domain.gates.criterion import FAIL, INSUFFICIENT
from shadow_platform.domain.gates.operation import judge_a_a, judge_operation, judge_parity
from shadow_platform.domain.gates.quality import judge_quality

NUMBERS = (
    "label",
    "is_prevented",
    "is_hidden",
    "label_propensity",
    "probability",
    "prediction",
    "challenger_probability",
    "challenger_prediction",
    "challenger_latency_ms",
)


@dataclass(frozen=True, slots=True)
class GateInputs:
    """Everything a decision rests on.

    Attributes:
        cohort: champion's matured predictions in prediction order with ``request_id, subject_id, requested_at,
            label`` (nullable), ``is_prevented, is_hidden, label_propensity`` (domain.censoring), ``probability,
            prediction, outcome`` (``compared``, ``failed``, ``dropped`` or ``missing``), ``challenger_probability,
            challenger_prediction, challenger_latency_ms`` and the policy's segment and cluster columns. Rows that a
            model was fitted on must not be in it.
        parity: challenger's ONNX parity, from its bundle.
        a_a_difference: largest difference between logged answers and the champion scoring them again; ``None`` when
            not measured; ``a_a_n`` answers were scored.
        fingerprints: of the inputs that are not in the cohort (bundles, code).
    """

    use_case: str
    champion_version: str
    challenger_version: str
    as_of: datetime
    policy: GatePolicy
    cohort: pd.DataFrame
    parity: Outcome = INSUFFICIENT
    parity_n: int = 0
    a_a_difference: float | None = None
    a_a_n: int = 0
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def decide(inputs: GateInputs) -> GateDecision:
    """The decision on one challenger: ``promote``, ``wait`` or ``reject``, with every criterion behind it.

    Promote when every criterion passes; reject when a hard one fails; else wait. Equal inputs give equal bytes.
    """
    policy, cohort = inputs.policy, inputs.cohort
    criteria = [
        *judge_quality(cohort, policy),
        *judge_operation(cohort, policy),
        judge_parity(inputs.parity, inputs.parity_n),
        *judge_a_a(inputs.a_a_difference, inputs.a_a_n, policy),
    ]
    decision, reason = _conclude(criteria, _left_out(policy))
    fingerprints = {
        **inputs.fingerprints,
        "evidence": fingerprint_of(cohort, policy),
        "policy": _sha256(asdict(policy)),
        "labels_as_of": inputs.as_of.astimezone(UTC).isoformat(),
    }
    identity = {
        "use_case": inputs.use_case,
        "champion_version": inputs.champion_version,
        "challenger_version": inputs.challenger_version,
        "parity": [inputs.parity, inputs.parity_n],
        "a_a": [inputs.a_a_difference, inputs.a_a_n],
        "fingerprints": fingerprints,
    }
    return GateDecision(
        decision_id=_sha256(identity),
        use_case=inputs.use_case,
        champion_version=inputs.champion_version,
        challenger_version=inputs.challenger_version,
        as_of=inputs.as_of.astimezone(UTC),
        decision=decision,
        criteria=tuple(criteria),
        reason=reason,
        fingerprints=dict(sorted(fingerprints.items())),
    )


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


def _left_out(policy: GatePolicy) -> list[str]:
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
    """SHA-256 over every cell of the cohort that a criterion reads, row order included."""
    digest = hashlib.sha256()
    for column in NUMBERS:
        numbers = [math.nan if pd.isna(value) else float(value) for value in cohort[column]]
        digest.update(f"{column}\0".encode() + np.array(numbers, dtype="<f8").tobytes())
    for column in dict.fromkeys(("request_id", "requested_at", "outcome", *policy.segments, policy.cluster or "")):
        if column in cohort.columns:
            cells = [None if pd.isna(value) else str(value) for value in cohort[column]]
            digest.update(f"{column}\0{json.dumps(cells)}".encode())
    return digest.hexdigest()


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
