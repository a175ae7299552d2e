"""Policies of a use case: named, typed limits with documented defaults, by which the platform decides.

Belongs here: numbers a use case may choose. Does not belong here: how they are applied (domain). Upstream:
``contracts.use_case`` offers them beside everything else a use case declares. Downstream: domain.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shadow_platform.contracts.errors import UseCaseError


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """Time-ordered split that ends at the training's ``as_of``: fit, then calibration, then evaluation.

    Attributes:
        gap: distance between neighbouring parts, at least the label horizon, so that no label leaks forward.
        positive_weight: what a positive row weighs in fitting: ``balanced`` as much in sum as all negative ones,
            ``costs`` its ``DecisionCosts`` over theirs; ``None``: as much as a negative one. Calibration, on rows
            that weigh alike, gives honest probabilities again.
        early_stop_share: last share of the fit rows, in (0, 1), on which the number of iterations is chosen before the
            model is fitted on all of them; a search then leaves that number alone. ``None``: the family's own number.
        n_resamples: draws of days behind every interval of a metric, at least 1.
        confidence: of these intervals, in (0, 1).

    Raises:
        UseCaseError: a value outside its range.
    """

    window: timedelta = timedelta(days=60)
    calibration: timedelta = timedelta(days=7)
    evaluation: timedelta = timedelta(days=7)
    gap: timedelta = timedelta(days=1)
    min_rows: int = 1_000
    seed: int = 0
    positive_weight: Literal["balanced", "costs"] | None = None
    early_stop_share: float | None = None
    n_resamples: int = 200
    confidence: float = 0.95

    def __post_init__(self) -> None:
        share = self.early_stop_share
        for name, holds, expected in (
            ("positive_weight", self.positive_weight in ("balanced", "costs", None), "'balanced', 'costs' or None"),
            ("early_stop_share", share is None or 0 < share < 1, "a share above 0 and below 1, or None"),
            ("n_resamples", self.n_resamples >= 1, "at least 1"),
            ("confidence", 0 < self.confidence < 1, "a probability above 0 and below 1"),
        ):
            if not holds:
                raise UseCaseError(
                    f"TrainingPolicy has {name}={getattr(self, name)!r}; expected {expected}; correct the declaration"
                )


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """What a trained model must reach on its evaluation window to become a version; ``None`` leaves a limit out.

    Attributes:
        min_roc_auc: ROC-AUC that its interval must not lie wholly below.
        min_log_loss_gain: nats a row by which it must beat the constant base rate; its interval must not lie wholly
            below.
        max_calibration_error: expected calibration error that its interval must not lie wholly above.
    """

    min_roc_auc: float | None = 0.55
    min_log_loss_gain: float | None = 0.0
    max_calibration_error: float | None = 0.10


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """Limits of the drift verdict; defaults are those measured in docs/methods.md."""

    window: timedelta = timedelta(days=28)
    min_rows: int = 500
    q: float = 0.01
    ks_floor: float = 0.05
    total_variation_floor: float = 0.03
    null_rate_floor: float = 0.01
    broad_share: float = 0.20
    broad_q: float = 0.05
    broad_floor_factor: float = 0.4
    score_p: float = 0.01
    score_floor: float = 0.03
    correlation_p: float = 0.01
    correlation_floor: float = 0.1
    new_category_share: float = 0.05
    drift_threshold: float = 0.3
    cluster: str | None = "day"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Criteria of promotion; ``None`` leaves a criterion out, and says so in the decision.

    Attributes:
        min_samples: matured, labelled pairs needed before anything is concluded.
        min_label_coverage: share of matured requests whose label must be known; ``None`` where labels are censored.
        margin: log loss per request by which the challenger must be better.
        alpha: chance to promote an equal challenger over the whole life of the comparison, however often one looks.
        cluster: rows whose differences are summed before the confidence sequence, because they are not independent:
            ``"hour"`` or ``"day"`` of the request, a column (``"subject_id"``, a feature) within its day, or ``None``
            when requests are independent. See docs/adr/0005.
        min_clusters: clusters needed before anything is concluded.
        tuned_at: number of pairs at which the confidence sequence is tightest.
        segments: categorical features no level of which may be harmed.
        max_a_a_difference: largest difference between a logged answer and the same champion scoring the logged
            features again.
    """

    min_samples: int = 200
    min_label_coverage: float | None = 0.95
    min_f1_improvement_pct: float | None = None
    max_brier_degradation: float | None = 0.01
    max_calibration_error: float | None = 0.10
    max_challenger_error_rate: float = 0.01
    max_challenger_p95_ms: float = 200.0
    min_coverage: float = 0.99
    margin: float = 0.0
    alpha: float = 0.05
    cluster: str | None = "day"
    min_clusters: int = 7
    tuned_at: int = 2_000
    segments: tuple[str, ...] = ()
    max_segment_log_loss_increase: float = 0.02
    max_a_a_difference: float | None = 1e-5


@dataclass(frozen=True, slots=True)
class RetrainPolicy:
    """When a trigger may start a training."""

    cooldown: timedelta = timedelta(hours=6)
    min_new_labels: int = 500
    max_log_loss_increase: float = 0.03


@dataclass(frozen=True, slots=True)
class DecisionCosts:
    """What a wrong decision costs, both kinds above 0; right ones cost nothing.

    >>> DecisionCosts(false_positive=5.0, false_negative=45.0, currency="USD").threshold
    0.1
    """

    false_positive: float
    false_negative: float
    currency: str

    @property
    def threshold(self) -> float:
        """Probability from which a positive decision is the cheaper one (Elkan 2001, section 2)."""
        return self.false_positive / (self.false_positive + self.false_negative)


@dataclass(frozen=True, slots=True)
class Exploration:
    """Positive decisions that are not carried out, so that their outcome is seen.

    Attributes:
        share: of positive decisions, in (0, 1); which ones follows from the request's id alone.
    """

    share: float


@dataclass(frozen=True, slots=True)
class FairnessAttribute:
    """A grouping over which decisions are compared.

    Attributes:
        feature: categorical feature whose levels are the groups, or numeric one cut at ``edges``.
        edges: ascending; ``(25, 40)`` gives ``<25``, ``25-40`` (25 included) and ``>=40``.
    """

    name: str
    feature: str
    edges: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FairnessPolicy:
    """Which groups are compared, and when a difference is flagged.

    Attributes:
        favourable_prediction: the decision that people wish for.
        min_ratio: a group whose rate of favourable decisions is below this share of the best group's is flagged: the
            four-fifths rule (29 CFR 1607.4 D).
        min_rows: smaller groups are shown without a judgement.
    """

    attributes: tuple[FairnessAttribute, ...]
    favourable_prediction: bool = False
    min_ratio: float = 0.8
    min_rows: int = 100
