"""Whether the requests of a day are whole: features missing, foreign, out of range, unknown, stale; requests repeated.

Upstream: ``counts`` of the day and of the champion's reference. Downstream: the asset data_quality.
"""

from collections.abc import Sequence
from datetime import timedelta

from shadow_platform.contracts.policies.monitoring import DataQualityPolicy
from shadow_platform.contracts.use_case import Feature, FeatureView
from shadow_platform.domain.quality.counts import FeatureCounts, RequestCounts
from shadow_platform.domain.quality.findings import Finding, Share, insufficient, judged, judged_rise

NO_REFERENCE = "there is no champion yet, so nothing says what is usual"
NAMED_LEVELS = 3


def judge_features(
    features: Sequence[Feature], counts: RequestCounts, reference: RequestCounts | None, policy: DataQualityPolicy
) -> list[Finding]:
    """One finding a feature and check; without a reference, what needs one is insufficient."""
    findings: list[Finding] = []
    for feature in features:
        found = counts.features[feature.name]
        usual = None if reference is None else reference.features[feature.name]
        findings += _missing(feature, found, usual, policy.max_missing_increase)
        findings += _foreign(feature, found, policy.max_foreign)
        if feature.kind == "categorical":
            findings += _new_category(feature, found, usual, policy.max_new_category_share)
        elif (feature.low, feature.high) != (None, None):
            findings += _out_of_range(feature, found, policy.max_out_of_range)
    return findings


def judge_views(
    views: Sequence[FeatureView], counts: RequestCounts, reference: RequestCounts | None, policy: DataQualityPolicy
) -> list[Finding]:
    """One finding a feature view: for how many requests it had no row within its TTL."""
    limit = policy.max_stale_increase
    if limit is None:
        return []
    findings = []
    for view in (view for view in views if view.name in counts.without_row):
        found = Share(counts.without_row[view.name], counts.n)
        if reference is None:
            findings.append(insufficient("stale", view.name, limit, counts.n, NO_REFERENCE))
            continue
        usual = Share(reference.without_row[view.name], reference.n)
        told = f"requests found no row of {view.name} within {_span(view.ttl)}"
        findings.append(judged_rise("stale", view.name, limit, found, usual, told))
    return findings


def judge_duplicates(n: int, n_distinct: int, policy: DataQualityPolicy) -> list[Finding]:
    """How many of the day's requests repeat the subject, time and features of another."""
    limit = policy.max_duplicate_share
    if limit is None:
        return []
    return [judged("duplicates", "", limit, Share(n - n_distinct, n), "requests repeat another")]


def _missing(feature: Feature, found: FeatureCounts, usual: FeatureCounts | None, limit: float | None) -> list[Finding]:
    if limit is None:
        return []
    if usual is None:
        return [insufficient("missing", feature.name, limit, found.n, NO_REFERENCE)]
    shares = Share(found.n_null, found.n), Share(usual.n_null, usual.n - usual.n_foreign)
    return [judged_rise("missing", feature.name, limit, *shares, f"requests have no {feature.name}")]


def _foreign(feature: Feature, found: FeatureCounts, limit: float | None) -> list[Finding]:
    if limit is None:
        return []
    told = f"values of {feature.name} are no {'number' if feature.kind == 'numeric' else 'text'}"
    if found.example:
        told += f", e.g. {found.example}"
    elif found.n_foreign:
        told = f"requests do not name {feature.name}"
    return [judged("foreign", feature.name, limit, Share(found.n_foreign, found.n - found.n_null), told)]


def _out_of_range(feature: Feature, found: FeatureCounts, limit: float | None) -> list[Finding]:
    if limit is None:
        return []
    low = "-∞" if feature.low is None else f"{feature.low:g}"
    high = "∞" if feature.high is None else f"{feature.high:g}"
    told = f"values of {feature.name} lie outside [{low}, {high}]"
    return [judged("out_of_range", feature.name, limit, Share(found.n_outside, found.n_valid), told)]


def _new_category(
    feature: Feature, found: FeatureCounts, usual: FeatureCounts | None, limit: float | None
) -> list[Finding]:
    if limit is None:
        return []
    if usual is None or not usual.levels:
        reason = NO_REFERENCE if usual is None else "the champion's reference has no value of it"
        return [insufficient("new_category", feature.name, limit, found.n_valid, reason)]
    unseen = [(level, n) for level, n in found.levels.most_common() if level not in usual.levels]
    named = ", ".join(repr(level) for level, _ in unseen[:NAMED_LEVELS])
    told = f"values of {feature.name} are levels the champion does not know" + (f", e.g. {named}" if named else "")
    share = Share(sum(n for _, n in unseen), found.n_valid)
    return [judged("new_category", feature.name, limit, share, told)]


def _span(ttl: timedelta) -> str:
    hours = ttl.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
