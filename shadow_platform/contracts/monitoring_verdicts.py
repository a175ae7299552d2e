"""What monitoring concludes of a window of requests: drift, and performance on matured labels.

Belongs here: verdicts as they are stored, printed and published as JSON schema (docs/schemas). Does not belong here:
how they come about. Upstream: domain.drift, domain.estimation. Downstream: tables, checks, sensors, ``shadow drift``.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shadow_platform.contracts.policies.monitoring import ReferenceKind
from shadow_platform.contracts.verdicts import Frozen, Outcome

SCORE = "__score__"


class FeatureDrift(Frozen):
    """Drift of one feature, or of the score, in one window against the reference."""

    feature: str = Field(description="feature, or __score__ for the model's probability")
    kind: str = Field(description="numeric or categorical")
    test: str = Field(description="ks or chi_square")
    statistic: float | None = Field(description="KS D, or total variation distance; null when a sample has no value")
    p_value: float | None = Field(description="of the two-sample test, at the effective number of rows")
    is_drifted: bool = Field(description="counts in drift_score: corrected test and effect floor, or broken")
    is_monitored: bool = Field(description="counts in the verdict")
    null_rate_reference: float | None
    null_rate_current: float | None
    null_rate_p_value: float | None = Field(description="null when neither sample has a null")
    design_effect: float = Field(description="variance inflation because rows of one day are alike, at least 1")
    psi: float | None = Field(description="population stability index on reference deciles; reported only")
    kl: float | None = Field(description="Kullback-Leibler divergence, nats; reported only")
    js: float | None = Field(description="Jensen-Shannon divergence, nats; reported only")
    wasserstein_sd: float | None = Field(description="Wasserstein distance in reference standard deviations")
    beyond: tuple[str, ...] = Field((), description="statistics beyond their thresholds, decisive or not")
    score_contribution: float | None = Field(None, description="its part of the shift of the mean score")


class CorrelationBreak(Frozen):
    """A pair of features whose rank correlation changed."""

    first: str
    second: str
    reference: float
    current: float
    p_value: float = Field(description="not corrected for the number of pairs")


class SegmentShift(Frozen):
    """One level of a categorical feature, and its part of the shift of the mean score."""

    feature: str
    level: str = Field(description="level as text; empty for rows without one, '' for an empty text")
    share_reference: float
    share_current: float
    score_reference: float | None = Field(description="mean score; null without such rows")
    score_current: float | None
    contribution: float = Field(description="its part of the shift; over the levels of one feature they sum to it")


class ScoreShift(Frozen):
    """Where a shift of the mean score comes from.

    Attributes:
        by_feature: Shapley values of the window less those of the reference, over one background; their sum is the
            shift up to the error of sampling.
        by_feature_error: standard error of each, because rows and orders of features are sampled.
        leading: features whose part is beyond that error, the largest first.
        moved_in: feature -> level of a segment (``feature=level``) in which most of its own movement lies.
    """

    mean_reference: float
    mean_current: float
    by_feature: dict[str, float]
    by_feature_error: dict[str, float] = Field(default_factory=dict)
    leading: tuple[str, ...] = ()
    segments: tuple[SegmentShift, ...]
    moved_in: dict[str, str] = Field(default_factory=dict)

    @property
    def total(self) -> float:
        """Change of the mean score."""
        return self.mean_current - self.mean_reference


class DriftReference(Frozen):
    """What a window was compared with."""

    kind: ReferenceKind
    fingerprint: str = Field(description="bundle hash or file digest of the frozen reference, which fixes the cells")
    start: datetime | None = Field(None, description="first time of a rolling or seasonal reference")
    end: datetime | None = None


class DriftFinding(Frozen):
    """One reason to fail: the rule that fired and its evidence."""

    rule: str
    feature: str | None = None
    text: str


class DriftVerdict(Frozen):
    """Whether a window differs from the reference, with every rule that fired (docs/methods.md, rules 1 to 7)."""

    schema_version: Literal[2] = 2
    evaluation_id: str = Field(description="fingerprint of inputs and method: the same rows and policy give it again")
    use_case: str
    window_start: datetime
    window_end: datetime = Field(description="exclusive")
    reference: DriftReference
    outcome: Outcome
    drift_score: float | None = Field(description="share of monitored features that drifted; null if insufficient")
    rules_fired: tuple[str, ...]
    headline: str = Field(description="one sentence for whoever is on call")
    explanation: str = Field(description="headline and one line a finding")
    findings: tuple[DriftFinding, ...]
    method: Literal["exact", "profiles"]
    max_error: float = Field(description="largest error of a KS distance, because values were counted in cells")
    n_reference: int
    n_current: int
    features: tuple[FeatureDrift, ...]
    correlations: tuple[CorrelationBreak, ...] = ()
    score_shift: ScoreShift | None = None
    not_tested: tuple[str, ...] = Field((), description="rules that could not be tested, each with the reason")


class PerformanceVerdict(Frozen):
    """Whether a champion answers worse than on the requests it was evaluated on, judged on matured labels alone."""

    evaluation_id: str
    use_case: str
    model_version: str
    window_start: datetime
    window_end: datetime = Field(description="exclusive; cohorts behind it have not matured")
    labels_as_of: datetime
    outcome: Outcome
    log_loss_reference: float | None
    log_loss_current: float | None
    increase: float | None = Field(description="nats a request")
    increase_low: float | None = Field(description="lower end of its one-sided confidence interval, 1 - alpha")
    p_value: float | None = Field(description="one-sided, of no increase, counting days")
    n_reference: int
    n_current: int
    explanation: str
