"""Verdicts: what the platform concludes, on which evidence. Pass, fail or insufficient; never a default number.

Upstream: domain.gates, domain.training (parity). Downstream: tables, checks, sensors, promotion. What monitoring
concludes stands in ``monitoring_verdicts``.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value that is stored as JSON: immutable, unknown fields refused, non-finite numbers kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Outcome(StrEnum):
    """Result of one test."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Decision(StrEnum):
    """What the gate says of a challenger."""

    PROMOTE = "promote"
    WAIT = "wait"
    REJECT = "reject"


class Criterion(Frozen):
    """One test of a gate: ``value`` was held against ``limit`` on ``n`` observations."""

    name: str
    outcome: Outcome
    value: float | None
    limit: float | None
    n: int
    is_hard: bool = False
    reason: str


class GateDecision(Frozen):
    """Why a challenger was promoted, kept waiting or rejected; re-running the inputs reproduces it byte for byte."""

    decision_id: str
    use_case: str
    champion_version: str
    challenger_version: str
    as_of: datetime
    decision: Decision
    criteria: tuple[Criterion, ...]
    reason: str
    fingerprints: dict[str, str]


class ParityReport(Frozen):
    """ONNX against scikit-learn on the evaluation rows."""

    n: int
    max_abs_diff: float
    share_within_1e5: float
    flipped_decisions: int
    outcome: Outcome
