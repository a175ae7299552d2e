"""How a challenger is judged, what decisions cost, and what is looked at besides: exploration and fairness.

Upstream: nothing. Downstream: ``contracts.policies``.
"""

import math
from dataclasses import dataclass
from typing import Literal

from shadow_platform.contracts.errors import UseCaseError


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Criteria of promotion; ``None`` leaves a criterion out, and says so in the decision.

    Attributes:
        min_samples: matured, labelled pairs needed before anything is concluded.
        min_label_coverage: share of matured requests whose label must be known; ``None`` where labels are censored.
        method: ``confidence_sequence``, asymptotic; or ``betting``, strict at any number of labels and slower.
        margin: log loss per request by which the challenger must be better.
        harm_margin: log loss per request by which it must be shown to be worse to be rejected.
        alpha: chance to promote an equal or worse challenger over the whole life of a champion, however often one
            looks and however many challengers there are; and the same for its watch.
        cluster: rows whose differences are summed before the confidence sequence, because they are not independent:
            ``"hour"`` or ``"day"`` of the request, a column (``"subject_id"``, a feature) within its day,
            ``"day_and_subject"`` where subjects come back on many days and stay alike, or ``None`` when requests are
            independent. See docs/adr/0005 and docs/adr/0025.
        min_clusters: clusters needed before anything is concluded.
        tuned_at: number of pairs at which the confidence sequence is tightest.
        segments: categorical features no level of which may be harmed.
        max_a_a_difference: largest tolerated difference between the champion's answers and its own in the shadow.
        min_a_a: requests that an A/A run must have compared.

    Raises:
        UseCaseError: a value outside its range, or a cluster that the method cannot have.
    """

    min_samples: int = 200
    min_label_coverage: float | None = 0.95
    min_f1_improvement_pct: float | None = None
    max_brier_degradation: float | None = 0.01
    max_calibration_error: float | None = 0.10
    max_challenger_error_rate: float = 0.01
    max_challenger_p95_ms: float = 200.0
    min_coverage: float = 0.99
    method: Literal["confidence_sequence", "betting"] = "confidence_sequence"
    margin: float = 0.0
    harm_margin: float = 0.0
    alpha: float = 0.05
    cluster: str | None = "day_and_subject"
    min_clusters: int = 7
    tuned_at: int = 2_000
    segments: tuple[str, ...] = ()
    max_segment_log_loss_increase: float = 0.02
    max_a_a_difference: float | None = 1e-5
    min_a_a: int = 200

    def __post_init__(self) -> None:
        self._require_ranges()
        cluster, segments = self.cluster, self.segments
        bets_follow_time = self.method != "betting" or cluster != "day_and_subject"
        _require(
            self,
            ("method", self.method in ("confidence_sequence", "betting"), "'confidence_sequence' or 'betting'"),
            ("cluster", cluster is None or bool(cluster), "'hour', 'day', 'day_and_subject', a column, or None"),
            ("cluster", bets_follow_time, "another cluster with method='betting', which goes on in the order of time"),
            ("segments", not isinstance(segments, str), "a tuple of features, such as ('country',)"),
        )

    def _require_ranges(self) -> None:
        counts = ("min_samples", "min_clusters", "tuned_at", "min_a_a")
        sizes = ("margin", "harm_margin", "max_segment_log_loss_increase")
        known, error, a_a = self.min_label_coverage, self.max_calibration_error, self.max_a_a_difference
        f1, brier = self.min_f1_improvement_pct, self.max_brier_degradation
        _require(
            self,
            *((name, getattr(self, name) >= 1, "at least 1") for name in counts),
            *((name, getattr(self, name) >= 0, "at least 0") for name in sizes),
            ("min_label_coverage", known is None or 0 <= known <= 1, "a share between 0 and 1, or None"),
            ("min_f1_improvement_pct", f1 is None or math.isfinite(f1), "a percentage, or None"),
            ("max_brier_degradation", brier is None or not math.isnan(brier), "a number, or None"),
            ("max_calibration_error", error is None or 0 <= error <= 1, "a share between 0 and 1, or None"),
            ("max_challenger_error_rate", 0 <= self.max_challenger_error_rate <= 1, "a share between 0 and 1"),
            ("min_coverage", 0 <= self.min_coverage <= 1, "a share between 0 and 1"),
            ("max_a_a_difference", a_a is None or a_a >= 0, "at least 0, or None"),
            ("max_challenger_p95_ms", self.max_challenger_p95_ms > 0, "milliseconds above 0"),
            ("alpha", 0 < self.alpha < 1, "a chance above 0 and below 1"),
        )


@dataclass(frozen=True, slots=True)
class DecisionCosts:
    """What a wrong decision costs, both kinds above 0; right ones cost nothing.

    Attributes:
        capacity: positive decisions a day that can be acted on, for the cost on the page of a gate's decision;
            ``None``: unbounded.

    Raises:
        UseCaseError: a cost that is not above 0, or a capacity below 1.

    >>> DecisionCosts(false_positive=5.0, false_negative=45.0, currency="USD").threshold
    0.1
    """

    false_positive: float
    false_negative: float
    currency: str
    capacity: int | None = None

    def __post_init__(self) -> None:
        _require(
            self,
            ("false_positive", self.false_positive > 0, "a cost above 0"),
            ("false_negative", self.false_negative > 0, "a cost above 0"),
            ("capacity", self.capacity is None or self.capacity >= 1, "at least 1, or None"),
        )

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


def _require(policy: object, *rules: tuple[str, bool, str]) -> None:
    for name, holds, expected in rules:
        if not holds:
            raise UseCaseError(
                f"{type(policy).__name__} has {name}={getattr(policy, name)!r}; expected {expected}; correct the "
                "declaration"
            )
