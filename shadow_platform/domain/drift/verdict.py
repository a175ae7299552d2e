"""The verdict on one window, of rows or of profiles.

Belongs here: gathering the evidence and putting the verdict together. Does not belong here: measuring (measure,
correlation, classifier, schema), the rules (rules), the words (explanation). Upstream: requests as served or their
profiles, the reference. Downstream: drift assets, the command line, benchmarks.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.monitoring_verdicts import (
    SCORE,
    CorrelationBreak,
    DriftFinding,
    DriftReference,
    DriftVerdict,
    FeatureDrift,
    ScoreShift,
)
from shadow_platform.contracts.policies.monitoring import DriftPolicy
from shadow_platform.contracts.use_case import Feature
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift import rules
from shadow_platform.domain.drift.classifier import separation
from shadow_platform.domain.drift.clusters import common_persistence
from shadow_platform.domain.drift.correlation import correlation_changes
from shadow_platform.domain.drift.explanation import explain, headline_of
from shadow_platform.domain.drift.grid import Grid, exact_grid, reference_grid
from shadow_platform.domain.drift.inputs import canonical, fingerprint
from shadow_platform.domain.drift.measure import Comparison, Measure, Sample, compare, measured
from shadow_platform.domain.drift.profiles import Profiles, profiles_of
from shadow_platform.domain.drift.rules import Evidence
from shadow_platform.domain.drift.schema import schema_findings


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, whatever is found."""

    use_case_name: str
    features: Sequence[Feature]
    policy: DriftPolicy
    window: tuple[datetime, datetime]
    origin: DriftReference
    score_shift: ScoreShift | None

    def evaluation_id(self, *digests: str) -> str:
        """Fingerprint of everything the verdict depends on."""
        shift = "" if self.score_shift is None else self.score_shift.model_dump_json()
        window = (moment.isoformat() for moment in self.window)
        parts = self.use_case_name, *window, self.origin.model_dump_json(), shift, *digests
        return fingerprint(self.features, self.policy, *parts)


def evaluate_drift(
    use_case_name: str,
    features: Sequence[Feature],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    policy: DriftPolicy,
    window_start: datetime,
    window_end: datetime,
    origin: DriftReference,
    score_shift: ScoreShift | None = None,
) -> DriftVerdict:
    """Whether the window differs from the reference: fail if any rule fires, insufficient if it cannot be told.

    Value by value where both have at most ``policy.exact_rows`` rows, else by their profiles.

    Args:
        features: what to compare; unmonitored ones are measured and reported, but count only when missing, gone null or
            of another type.
        reference, current: one column a feature (values as known, null where not), optionally ``score`` (probability),
            ``weight``, and ``requested_at`` (UTC), without which rows count as independent.
    """
    about = _Question(use_case_name, features, policy, (window_start, window_end), origin, score_shift)
    before, after = canonical(reference, features), canonical(current, features)
    evaluation_id = about.evaluation_id("rows", before.digest, after.digest)
    frames = before.frame, after.frame
    is_clustered = policy.cluster == "day" and all("requested_at" in frame.columns for frame in frames)
    grid = reference_grid(features, before.frame, policy)
    is_exact = max(len(reference), len(current)) <= policy.exact_rows
    fine = exact_grid(features, *frames, policy) if is_exact else grid
    first, second = (_counted(frame, fine, grid, is_clustered) for frame in frames)
    evidence = _evidence(about, first, second)
    if policy.domain_classifier is not None and evidence.doubt is None:
        chosen = [feature for feature in features if feature.is_monitored and feature.name not in evidence.broken]
        evidence.separation = separation(chosen, *frames, is_clustered=is_clustered)
        if evidence.separation is None:
            reason = "it needs a monitored feature that is in order, and two days in each sample"
            evidence.not_tested.append(f"domain classifier: {reason}")
    return _verdict(about, evaluation_id, first, second, evidence)


def evaluate_profiles(
    use_case_name: str,
    features: Sequence[Feature],
    reference: Profiles,
    current: Profiles,
    policy: DriftPolicy,
    window_start: datetime,
    window_end: datetime,
    origin: DriftReference,
    score_shift: ScoreShift | None = None,
) -> DriftVerdict:
    """Verdict of ``evaluate_drift`` from counts on one grid; rule 7, the domain classifier, needs rows.

    Raises:
        ValueError: the profiles were counted on different grids.
    """
    grids = reference.grid.fingerprint, current.grid.fingerprint
    if grids[0] != grids[1]:
        raise ValueError(f"reference and window were counted on different grids ({', '.join(grids)}); count on one")
    about = _Question(use_case_name, features, policy, (window_start, window_end), origin, score_shift)
    has_times = not any(np.isnat(profiles.starts).all() for profiles in (reference, current) if len(profiles.starts))
    is_clustered = policy.cluster == "day" and has_times
    counted = [profiles.by_day() if is_clustered else profiles.merged() for profiles in (reference, current)]
    first, second = (Sample(own.merged(), own if is_clustered else None, is_exact=False) for own in counted)
    evaluation_id = about.evaluation_id("profiles", *(own.digest for own in counted))
    evidence = _evidence(about, first, second)
    if policy.domain_classifier is not None and evidence.doubt is None:
        evidence.not_tested.append("domain classifier: it needs rows, and these were counted")
    return _verdict(about, evaluation_id, first, second, evidence)


def _counted(frame: pd.DataFrame, fine: Grid, coarse: Grid, is_clustered: bool) -> Sample:
    """A frame on a fine grid as a whole, and by day on a coarse one."""
    timeless = frame.drop(columns="requested_at", errors="ignore")
    daily = None
    if is_clustered:
        days = pd.to_datetime(frame["requested_at"], utc=True).dt.floor("D")
        daily = profiles_of(frame.assign(requested_at=days), coarse)
    whole = daily.merged() if daily is not None and fine is coarse else profiles_of(timeless, fine)
    return Sample(whole, daily, is_exact=fine is not coarse)


def _too_few_rows(reference: Sample, current: Sample, policy: DriftPolicy) -> str | None:
    todo = {
        "window": "wait for more requests or lengthen the policy's window",
        "reference": "train on more requests or lengthen the policy's reference",
    }
    for name, sample in (("window", current), ("reference", reference)):
        rows = sample.rows * sample.worth
        if rows < policy.min_rows:
            return f"the {name} has {rows:,.0f} rows, at least {policy.min_rows:,} are needed; {todo[name]}"
    return None


def _too_few_scores(reference: Sample, current: Sample, score: Comparison | None, policy: DriftPolicy) -> str | None:
    """Why the score cannot be tested; a reference without one asks for no test."""
    if reference.column(SCORE) is None:
        return None
    if score is None:
        return "the window has no scores"
    for name, sample, scored in zip(("reference", "window"), (reference, current), score.valid, strict=True):
        if scored < policy.min_rows:
            rows = sample.rows * sample.worth
            return f"the champion scored {scored:,.0f} of the {name}'s {rows:,.0f} rows, {policy.min_rows:,} are needed"
    return None


def _one_day_each(reference: Sample, current: Sample) -> str | None:
    if reference.daily is None or current.daily is None:
        return None
    if sum(int((own.n > 0).sum()) for own in (reference.daily, current.daily)) > 2:
        return None
    return (
        "reference and window are one day each, so how far days differ by chance is unknown; "
        "compare more days, or set the policy's cluster to None if rows are independent"
    )


def _evidence(about: _Question, reference: Sample, current: Sample) -> Evidence:
    """All measurements; of too few rows only what is broken, of one day each without what they prove."""
    features, policy = about.features, about.policy
    few_rows, one_day = _too_few_rows(reference, current, policy), _one_day_each(reference, current)
    if not reference.rows or not current.rows:
        return Evidence(features, {}, {}, {}, few_rows)
    found = {name: compare(name, reference, current) for name in (*(feature.name for feature in features), SCORE)}
    comparisons = {name: comparison for name, comparison in found.items() if comparison is not None}
    score = comparisons.pop(SCORE, None)
    broken = schema_findings(features, reference, current, comparisons, policy.new_category_share)
    if few_rows is not None:
        return Evidence(features, comparisons, {}, broken, few_rows)
    monitored = {feature.name for feature in features if feature.is_monitored}
    effects = [own.effect for name, own in comparisons.items() if own.effect is not None and name in monitored]
    persistence = common_persistence(effects)
    measures = {name: measured(comparison, persistence) for name, comparison in comparisons.items()}
    evidence = Evidence(features, comparisons, measures, broken, one_day)
    too_few_scores = _too_few_scores(reference, current, score, policy)
    if score is not None and too_few_scores is None:
        evidence.score = measured(score, persistence)
    if one_day is not None:
        evidence.not_tested.append(f"all rules but schema: {one_day}")
        return evidence
    if too_few_scores is not None:
        evidence.not_tested.append(f"score drift: {too_few_scores}")
    rules.find_drifted(evidence, policy)
    before, after = (sample.daily or sample.whole for sample in (reference, current))
    evidence.correlations = correlation_changes(
        before, after, evidence.drifted, is_clustered=reference.daily is not None, persistence=persistence
    )
    return evidence


def _verdict(
    about: _Question, evaluation_id: str, reference: Sample, current: Sample, evidence: Evidence
) -> DriftVerdict:
    findings: list[DriftFinding] = []
    if evidence.doubt is None:
        findings = rules.findings_of(evidence, about.policy)
    elif _too_few_rows(reference, current, about.policy) is None:
        findings = rules.schema_rule(evidence)
    outcome = Outcome.FAIL if findings else Outcome.INSUFFICIENT if evidence.doubt else Outcome.PASS
    headline = headline_of(outcome, findings, evidence, about.score_shift)
    rows = round(reference.rows), round(current.rows)
    errors = [comparison.error for comparison in evidence.comparisons.values()]
    return DriftVerdict(
        evaluation_id=evaluation_id,
        use_case=about.use_case_name,
        window_start=about.window[0],
        window_end=about.window[1],
        reference=about.origin,
        outcome=outcome,
        drift_score=None if outcome is Outcome.INSUFFICIENT else evidence.drift_score,
        rules_fired=tuple(dict.fromkeys(finding.rule for finding in findings)),
        headline=headline,
        explanation=explain(outcome, headline, findings, evidence, about.window, *rows),
        findings=tuple(findings),
        method="exact" if reference.is_exact else "profiles",
        max_error=max(errors, default=0.0),
        n_reference=rows[0],
        n_current=rows[1],
        features=_feature_rows(about, evidence) if evidence.measures or evidence.score else (),
        correlations=tuple(CorrelationBreak(**asdict(change)) for change in rules.broken_pairs(evidence, about.policy)),
        score_shift=about.score_shift,
        not_tested=tuple(evidence.not_tested),
    )


def _feature_rows(about: _Question, evidence: Evidence) -> tuple[FeatureDrift, ...]:
    parts = {} if about.score_shift is None else about.score_shift.by_feature
    drifted, rows = evidence.drifted, []
    for feature in about.features:
        measure = evidence.measures.get(feature.name)
        rows.append(
            FeatureDrift(
                feature=feature.name,
                kind=feature.kind,
                is_drifted=feature.name in drifted,
                is_monitored=feature.is_monitored,
                beyond=rules.beyond(feature.name, evidence, about.policy),
                score_contribution=parts.get(feature.name),
                **_measured(measure, "ks" if feature.kind == "numeric" else "chi_square"),
            )
        )
    if evidence.score is not None:
        beyond = rules.score_beyond(evidence, about.policy)
        row = {"feature": SCORE, "kind": "numeric", "is_drifted": "score" in beyond, "is_monitored": True}
        rows.append(FeatureDrift(**row, beyond=beyond, **_measured(evidence.score, "ks")))
    return tuple(rows)


def _measured(measure: Measure | None, test: str) -> dict[str, Any]:
    if measure is not None:
        return asdict(measure)
    nothing = dict.fromkeys(field.name for field in fields(Measure))
    return {**nothing, "test": test, "design_effect": 1.0}
