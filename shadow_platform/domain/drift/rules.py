"""Rules 1 to 7 over the evidence on every column.

Belongs here: which tests are significant together, and which rules fire. Does not belong here: measuring (measure,
correlation, classifier, schema), the words (explanation). Upstream: evidence. Downstream: verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from shadow_platform.contracts.monitoring_verdicts import SCORE, DriftFinding
from shadow_platform.contracts.policies.monitoring import DriftPolicy, Threshold
from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift import statistics
from shadow_platform.domain.drift.classifier import Separation
from shadow_platform.domain.drift.correlation import CorrelationChange
from shadow_platform.domain.drift.measure import Comparison, Measure
from shadow_platform.domain.drift.wording import describe_shift

BROAD_MIN_TESTS = 3
DECISIVE = ("ks", "total_variation", "null_rate")


@dataclass(slots=True)
class Evidence:
    """All that was measured in one evaluation.

    Attributes:
        broken: feature -> what is broken about it.
        doubt: why statistics cannot tell; ``None`` when they can.
        score: of the model's scores; ``None`` when a sample has too few.
        correlations: of pairs whose members did not drift.
        separation: of the domain classifier, where the policy asks for one.
        significant: (feature or score, statistic) whose corrected tests and floors were passed.
        not_tested: rules that could not be tested, and why.
    """

    features: Sequence[Feature]
    comparisons: Mapping[str, Comparison]
    measures: Mapping[str, Measure]
    broken: Mapping[str, str]
    doubt: str | None = None
    score: Measure | None = None
    correlations: Sequence[CorrelationChange] = ()
    separation: Separation | None = None
    significant: set[tuple[str, str]] = field(default_factory=set)
    not_tested: list[str] = field(default_factory=list)

    @property
    def drifted(self) -> set[str]:
        """Features that drifted or are broken, and the score if it drifted."""
        return {name for name, _ in self.significant} | set(self.broken)

    @property
    def monitored(self) -> list[str]:
        """Features that count in the verdict, in declared order."""
        return [feature.name for feature in self.features if feature.is_monitored]

    @property
    def drift_score(self) -> float | None:
        """Share of the monitored features that drifted."""
        n_monitored = len(self.monitored)
        return self.n_drifted / n_monitored if n_monitored else None

    @property
    def n_drifted(self) -> int:
        """Number of monitored features that drifted."""
        return len(self.drifted.intersection(self.monitored))


@dataclass(frozen=True, slots=True)
class _Test:
    """One hypothesis: a feature's distribution, or its null rate."""

    feature: str
    statistic: str
    p_value: float
    effect: float
    threshold: Threshold

    @property
    def multiple(self) -> float:
        """Effect as a multiple of its floor."""
        return self.effect / self.threshold.floor if self.threshold.floor else float("inf")


def find_drifted(evidence: Evidence, policy: DriftPolicy) -> None:
    """Note which tests are significant: over monitored and over unmonitored features apart, and of the score."""
    for is_monitored in (True, False):
        tests = _tests(evidence, policy, is_monitored)
        evidence.significant |= {
            (test.feature, test.statistic)
            for test in _rejected(tests, policy.q)
            if test.threshold.is_beyond(test.effect, test.p_value)
        }
    score = evidence.score
    if score is not None and policy.score.is_beyond(score.statistic, score.p_value):
        evidence.significant.add((SCORE, "score"))


def findings_of(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    """Every rule that fires, strongest evidence first within a rule."""
    return [
        *schema_rule(evidence),
        *_feature_rule(evidence, policy),
        *_broad_rule(evidence, policy),
        *_score_rule(evidence, policy),
        *_correlation_rule(evidence, policy),
        *_share_rule(evidence, policy),
        *_classifier_rule(evidence, policy),
    ]


def schema_rule(evidence: Evidence) -> list[DriftFinding]:
    """Rule 6, the only one that needs no statistics."""
    return [DriftFinding(rule="schema", feature=name, text=text) for name, text in evidence.broken.items()]


def beyond(name: str, evidence: Evidence, policy: DriftPolicy) -> tuple[str, ...]:
    """Statistics of one feature that are beyond their thresholds, decisive or not."""
    measure = evidence.measures.get(name)
    decisive = [statistic for statistic in DECISIVE if (name, statistic) in evidence.significant]
    return () if measure is None else (*decisive, *_reported(measure, policy))


def score_beyond(evidence: Evidence, policy: DriftPolicy) -> tuple[str, ...]:
    """Statistics of the score that are beyond their thresholds."""
    own = ("score",) if SCORE in evidence.drifted else ()
    return () if evidence.score is None else (*own, *_reported(evidence.score, policy))


def _reported(measure: Measure, policy: DriftPolicy) -> list[str]:
    held = {
        "psi": (measure.psi, policy.psi),
        "kl": (measure.kl, policy.kl),
        "js": (measure.js, policy.js),
        "wasserstein_sd": (measure.wasserstein_sd, policy.wasserstein_sd),
    }
    return [name for name, (value, threshold) in held.items() if threshold and threshold.is_beyond(value)]


def _tests(evidence: Evidence, policy: DriftPolicy, is_monitored: bool) -> list[_Test]:
    tests = []
    for feature in evidence.features:
        name, measured = feature.name, evidence.measures.get(feature.name)
        if feature.is_monitored is not is_monitored or measured is None:
            continue
        if measured.p_value is not None and measured.statistic is not None:
            statistic = "ks" if measured.test == "ks" else "total_variation"
            threshold = policy.ks if measured.test == "ks" else policy.total_variation
            tests.append(_Test(name, statistic, measured.p_value, measured.statistic, threshold))
        if measured.null_rate_p_value is not None:
            change = measured.null_rate_change
            tests.append(_Test(name, "null_rate", measured.null_rate_p_value, change, policy.null_rate))
    return tests


def _rejected(tests: Sequence[_Test], q: float) -> list[_Test]:
    rejected = statistics.benjamini_hochberg(np.array([test.p_value for test in tests]), q)
    return [test for test, is_rejected in zip(tests, rejected, strict=True) if is_rejected]


def _feature_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    tests = [t for t in _tests(evidence, policy, True) if (t.feature, t.statistic) in evidence.significant]
    names = dict.fromkeys(test.feature for test in sorted(tests, key=lambda test: -test.multiple))
    return [
        DriftFinding(
            rule="feature_drift",
            feature=name,
            text=describe_shift(name, evidence.comparisons[name], evidence.measures[name]),
        )
        for name in names
        if name not in evidence.broken
    ]


def _broad_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    tests = _tests(evidence, policy, is_monitored=True)
    moved = [test for test in _rejected(tests, policy.broad_q) if test.multiple >= policy.broad_floor_factor]
    if len(moved) < max(BROAD_MIN_TESTS, policy.broad_share * len(tests)):
        return []
    text = (
        f"{len(moved)} of {len(tests)} tests moved a little together "
        f"(limit {policy.broad_share:.0%} of them, each beyond {policy.broad_floor_factor:g} of its floor)"
    )
    return [DriftFinding(rule="broad_drift", text=text)]


def _score_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    score = evidence.score
    if score is None or SCORE not in evidence.drifted:
        return []
    measured = f"KS D = {score.statistic:.3f} (floor {policy.score.floor:g}), p = {score.p_value:.1e}"
    return [DriftFinding(rule="score_drift", text=f"the model's scores moved: {measured}")]


def broken_pairs(evidence: Evidence, policy: DriftPolicy) -> list[CorrelationChange]:
    """Pairs whose correlation changed by more than the floor, and more than chance (Bonferroni, over all pairs)."""
    n_pairs = len(evidence.correlations)
    return [
        change
        for change in evidence.correlations
        if policy.correlation.is_beyond(abs(change.current - change.reference), change.p_value * n_pairs)
    ]


def _correlation_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    return [
        DriftFinding(
            rule="correlation_break",
            text=f"rank correlation of {change.first} and {change.second} went from {change.reference:+.2f} to "
            f"{change.current:+.2f} (p = {change.p_value:.1e})",
        )
        for change in broken_pairs(evidence, policy)
    ]


def _share_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    share = evidence.drift_score
    if share is None or share <= policy.drift_threshold:
        return []
    text = f"{share:.0%} of the monitored features drifted (limit {policy.drift_threshold:.0%})"
    return [DriftFinding(rule="drift_score", text=text)]


def _classifier_rule(evidence: Evidence, policy: DriftPolicy) -> list[DriftFinding]:
    separation, threshold = evidence.separation, policy.domain_classifier
    if separation is None or threshold is None:
        return []
    if not threshold.is_beyond(separation.auc - 0.5, separation.p_value):
        return []
    measured = f"ROC-AUC {separation.auc:.3f} on unseen rows (p = {separation.p_value:.1e})"
    text = f"a model tells window from reference: {measured}"
    return [DriftFinding(rule="domain_classifier", text=text)]
