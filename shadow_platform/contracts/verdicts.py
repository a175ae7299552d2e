"""Verdicts: what the platform concludes, on which evidence. Pass, fail or insufficient; never a default number.

Upstream: domain.drift, domain.gates, domain.training (parity). Downstream: tables, checks, sensors, promotion.
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


class FeatureDrift(Frozen):
    """Drift of one feature (or of the score, ``feature="__score__"``) in one window against the reference.

    Attributes:
        statistic: KS D (numeric) or total variation distance (categorical).
        p_value: of the two-sample test with the rows' effective number (see ``design_effect``).
        design_effect: variance inflation by rows of one cluster (day) being alike, >= 1.
        psi, kl, js, wasserstein_sd: reported, never decisive.
    """

    feature: str
    kind: str
    test: str
    statistic: float | None
    p_value: float | None
    is_drifted: bool
    is_monitored: bool
    null_rate_reference: float | None
    null_rate_current: float | None
    null_rate_p_value: float | None
    design_effect: float
    psi: float | None
    kl: float | None
    js: float | None
    wasserstein_sd: float | None


class DriftVerdict(Frozen):
    """Whether a window differs from the reference, with every rule that fired (methods: drift verdict, rules 1-6)."""

    evaluation_id: str
    use_case: str
    window_start: datetime
    window_end: datetime
    reference_fingerprint: str
    outcome: Outcome
    drift_score: float | None
    rules_fired: tuple[str, ...]
    explanation: str
    n_reference: int
    n_current: int
    features: tuple[FeatureDrift, ...]


class ParityReport(Frozen):
    """ONNX against scikit-learn on the evaluation rows."""

    n: int
    max_abs_diff: float
    share_within_1e5: float
    flipped_decisions: int
    outcome: Outcome
