"""The verdict on one window: rules 1 to 6 over the evidence of every feature.

Belongs here: deciding. Does not belong here: measuring (profiles, correlation, schema) or wording (explanation).
Upstream: feature frames as served, the frozen reference. Downstream: drift assets, the command line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import DriftPolicy, Feature
from shadow_platform.contracts.verdicts import DriftVerdict, FeatureDrift, Outcome
from shadow_platform.domain.drift import statistics
from shadow_platform.domain.drift.clusters import day_codes
from shadow_platform.domain.drift.columns import Column, numeric_column
from shadow_platform.domain.drift.correlation import CorrelationChange, correlation_changes
from shadow_platform.domain.drift.explanation import Finding, describe_shift, explain
from shadow_platform.domain.drift.inputs import canonical, fingerprint
from shadow_platform.domain.drift.profiles import Days, Profile, profile
from shadow_platform.domain.drift.schema import read_columns, schema_findings

SCORE = "__score__"
BROAD_MIN_TESTS = 3


@dataclass(frozen=True, slots=True)
class _Test:
    """One hypothesis: a feature's distribution, or its null rate."""

    feature: str
    p_value: float
    effect: float
    floor: float


@dataclass(slots=True)
class _Evidence:
    """All that was measured in one evaluation."""

    features: Sequence[Feature]
    columns: Mapping[str, Column]
    profiles: Mapping[str, Profile]
    broken: Mapping[str, str]
    score: Profile | None
    correlations: Sequence[CorrelationChange]
    drifted: set[str] = field(default_factory=set)


def evaluate_drift(
    use_case_name: str,
    features: Sequence[Feature],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    policy: DriftPolicy,
    window_start: datetime,
    window_end: datetime,
    reference_fingerprint: str,
) -> DriftVerdict:
    """Whether the window differs from the reference: fail if any rule fires, insufficient if it cannot be told.

    Args:
        features: what to compare; unmonitored ones are measured and reported, but count in the schema rule only.
        reference, current: one column a feature (values as known, null where not), optionally ``score`` (probability)
            and ``requested_at`` (UTC), without which rows count as independent.
    """
    before, after = canonical(reference, features), canonical(current, features)
    window = window_start.isoformat(), window_end.isoformat()
    parts = use_case_name, *window, reference_fingerprint, before.digest, after.digest
    evidence, findings, doubt = _examine(features, before.frame, after.frame, policy)
    outcome = Outcome.FAIL if findings else Outcome.INSUFFICIENT if doubt else Outcome.PASS
    n_rows = len(reference), len(current)
    return DriftVerdict(
        evaluation_id=fingerprint(features, policy, *parts),
        use_case=use_case_name,
        window_start=window_start,
        window_end=window_end,
        reference_fingerprint=reference_fingerprint,
        outcome=outcome,
        drift_score=None if outcome is Outcome.INSUFFICIENT else _drift_score(evidence),
        rules_fired=tuple(dict.fromkeys(finding.rule for finding in findings)),
        explanation=explain(
            outcome, findings, doubt, tuple(evidence.broken.values()), window_start, window_end, *n_rows
        ),
        n_reference=n_rows[0],
        n_current=n_rows[1],
        features=_feature_rows(evidence, policy) if evidence.profiles else (),
    )


def _examine(
    features: Sequence[Feature], reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy
) -> tuple[_Evidence, list[Finding], str | None]:
    """Evidence, every rule that fired on it, and what keeps the window from being judged."""
    columns = read_columns(features, reference, current)
    broken = schema_findings(features, reference, current, columns, policy.new_category_share)
    evidence = _Evidence(features, columns, {}, broken, None, ())
    doubt = _too_few_rows(reference, current, policy)
    if doubt is not None:
        return evidence, [], doubt
    days = _days(reference, current, policy)
    doubt = _too_few_days(days)
    _measure(evidence, reference, current, days, policy)
    return evidence, _schema_rule(evidence) if doubt else _rules(evidence, policy), doubt


def _too_few_rows(reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy) -> str | None:
    for name, frame in (("window", current), ("reference", reference)):
        if len(frame) < policy.min_rows:
            return f"the {name} has {len(frame):,} rows, at least {policy.min_rows:,} are needed"
    return None


def _too_few_days(days: Days) -> str | None:
    if days is None or sum(len(np.unique(codes)) for codes in days) > 2:
        return None
    return (
        "reference and window are one day each, so how far days differ by chance is unknown; "
        "compare more days, or set the policy's cluster to None if rows are independent"
    )


def _days(reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy) -> Days:
    if policy.cluster is None or any("requested_at" not in frame.columns for frame in (reference, current)):
        return None
    return day_codes(reference["requested_at"]), day_codes(current["requested_at"])


def _measure(
    evidence: _Evidence, reference: pd.DataFrame, current: pd.DataFrame, days: Days, policy: DriftPolicy
) -> None:
    evidence.profiles = {name: profile(column, days) for name, column in evidence.columns.items()}
    monitored = {
        feature.name: evidence.columns[feature.name]
        for feature in evidence.features
        if feature.is_monitored and feature.name in evidence.columns and feature.name not in evidence.broken
    }
    evidence.correlations = correlation_changes(monitored, *(days or (None, None)))
    if "score" in reference.columns and "score" in current.columns:
        column = numeric_column(reference["score"], current["score"])
        if min(column.reference.n_valid, column.current.n_valid) >= policy.min_rows:
            evidence.score = profile(column, days)
    for is_monitored in (True, False):
        tests = _tests(evidence, policy, is_monitored)
        evidence.drifted |= {test.feature for test in _significant(tests, policy.q, 1.0)}
    evidence.drifted |= set(evidence.broken)


def _tests(evidence: _Evidence, policy: DriftPolicy, is_monitored: bool) -> list[_Test]:
    tests = []
    for feature in evidence.features:
        measured = evidence.profiles.get(feature.name)
        if feature.is_monitored is not is_monitored or measured is None:
            continue
        if measured.p_value is not None and measured.statistic is not None:
            floor = policy.ks_floor if measured.test == "ks" else policy.total_variation_floor
            tests.append(_Test(feature.name, measured.p_value, measured.statistic, floor))
        if measured.null_rate_p_value is not None:
            change = measured.null_rate_change
            tests.append(_Test(feature.name, measured.null_rate_p_value, change, policy.null_rate_floor))
    return tests


def _significant(tests: Sequence[_Test], q: float, floor_factor: float) -> list[_Test]:
    rejected = statistics.benjamini_hochberg(np.array([test.p_value for test in tests]), q)
    return [
        test
        for test, is_rejected in zip(tests, rejected, strict=True)
        if is_rejected and test.effect >= floor_factor * test.floor
    ]


def _rules(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    return [
        *_schema_rule(evidence),
        *_feature_rule(evidence, policy),
        *_broad_rule(evidence, policy),
        *_score_rule(evidence, policy),
        *_correlation_rule(evidence, policy),
        *_share_rule(evidence, policy),
    ]


def _schema_rule(evidence: _Evidence) -> list[Finding]:
    return [Finding("schema", text) for text in evidence.broken.values()]


def _feature_rule(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    tests = _significant(_tests(evidence, policy, is_monitored=True), policy.q, 1.0)
    names = dict.fromkeys(test.feature for test in sorted(tests, key=lambda t: -t.effect / t.floor))
    return [
        Finding("feature_drift", describe_shift(name, evidence.columns[name], evidence.profiles[name]))
        for name in names
        if name not in evidence.broken
    ]


def _broad_rule(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    tests = _tests(evidence, policy, is_monitored=True)
    moved = _significant(tests, policy.broad_q, policy.broad_floor_factor)
    if len(moved) < max(BROAD_MIN_TESTS, policy.broad_share * len(tests)):
        return []
    text = (
        f"{len(moved)} of {len(tests)} tests moved a little together "
        f"(limit {policy.broad_share:.0%} of them, each beyond {policy.broad_floor_factor:g} of its floor)"
    )
    return [Finding("broad_drift", text)]


def _score_rule(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    score = evidence.score
    if score is None or score.p_value is None or score.statistic is None:
        return []
    if score.p_value >= policy.score_p or score.statistic < policy.score_floor:
        return []
    measured = f"KS D = {score.statistic:.3f} (floor {policy.score_floor:g}), p = {score.p_value:.1e}"
    return [Finding("score_drift", f"the model's scores moved: {measured}")]


def _correlation_rule(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    limit = policy.correlation_p / max(len(evidence.correlations), 1)
    return [
        Finding(
            "correlation_break",
            f"rank correlation of {change.first} and {change.second} went from {change.reference:+.2f} to "
            f"{change.current:+.2f} (p = {change.p_value:.1e})",
        )
        for change in evidence.correlations
        if change.p_value < limit and abs(change.current - change.reference) >= policy.correlation_floor
    ]


def _share_rule(evidence: _Evidence, policy: DriftPolicy) -> list[Finding]:
    share = _drift_score(evidence)
    if share is None or share <= policy.drift_threshold:
        return []
    return [
        Finding("drift_score", f"{share:.0%} of the monitored features drifted (limit {policy.drift_threshold:.0%})")
    ]


def _drift_score(evidence: _Evidence) -> float | None:
    monitored = [feature.name for feature in evidence.features if feature.is_monitored]
    if not monitored:
        return None
    return sum(name in evidence.drifted for name in monitored) / len(monitored)


def _feature_rows(evidence: _Evidence, policy: DriftPolicy) -> tuple[FeatureDrift, ...]:
    rows = [
        _row(f.name, f.kind, evidence.profiles.get(f.name), f.name in evidence.drifted, f.is_monitored)
        for f in evidence.features
    ]
    if evidence.score is not None:
        rows.append(_row(SCORE, "numeric", evidence.score, bool(_score_rule(evidence, policy)), True))
    return tuple(rows)


def _row(name: str, kind: str, measured: Profile | None, is_drifted: bool, is_monitored: bool) -> FeatureDrift:
    test = "ks" if kind == "numeric" else "chi_square"
    return FeatureDrift(
        feature=name,
        kind=kind,
        test=test,
        is_drifted=is_drifted,
        is_monitored=is_monitored,
        statistic=measured.statistic if measured else None,
        p_value=measured.p_value if measured else None,
        null_rate_reference=measured.null_rate_reference if measured else None,
        null_rate_current=measured.null_rate_current if measured else None,
        null_rate_p_value=measured.null_rate_p_value if measured else None,
        design_effect=measured.design_effect if measured else 1.0,
        psi=measured.psi if measured else None,
        kl=measured.kl if measured else None,
        js=measured.js if measured else None,
        wasserstein_sd=measured.wasserstein_sd if measured else None,
    )
