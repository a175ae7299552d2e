"""A verdict in words that a person on call understands without knowing the tests.

Belongs here: headline and explanation. Does not belong here: what one feature did (wording). Upstream: findings of the
rules. Downstream: verdict.
"""

from collections.abc import Sequence
from datetime import datetime

from shadow_platform.contracts.monitoring_verdicts import DriftFinding, ScoreShift
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift.rules import Evidence
from shadow_platform.domain.drift.wording import movement

MAX_LINES = 12
RULE_NAMES = {
    "schema": "schema",
    "feature_drift": "feature drift",
    "broad_drift": "broad drift",
    "score_drift": "score drift",
    "correlation_break": "correlation break",
    "drift_score": "drift score",
    "domain_classifier": "domain classifier",
}


def headline_of(
    outcome: Outcome,
    findings: Sequence[DriftFinding],
    evidence: Evidence,
    shift: ScoreShift | None,
) -> str:
    """One sentence for whoever is on call: how much drifted, whether scores moved, and where to look first."""
    if outcome is Outcome.INSUFFICIENT:
        return f"cannot tell: {evidence.doubt}"
    if outcome is Outcome.PASS:
        silent = ", ".join(reason.split(":")[0] for reason in evidence.not_tested)
        tested = "the window does not differ from the reference by more than chance and the policy's floors"
        return f"{tested}; not tested: {silent}" if silent else tested
    texts: dict[str, list[str]] = {}
    for finding in findings:
        texts.setdefault(finding.rule, []).append(finding.text)
    leading = _leading(findings, evidence, shift)
    return "; ".join([*_parts(texts, evidence), *([leading] if leading else [])])


def _parts(texts: dict[str, list[str]], evidence: Evidence) -> list[str]:
    parts = []
    if broken := texts.get("schema"):
        parts.append(broken[0] if len(broken) == 1 else f"{len(broken)} columns are broken, first {broken[0]}")
    if "feature_drift" in texts:
        parts.append(f"{evidence.n_drifted} of {len(evidence.monitored)} features drifted")
    elif broad := texts.get("broad_drift"):
        parts.append(broad[0].split(" (")[0])
    if "score_drift" in texts and evidence.score is not None:
        parts.append(f"scores moved by D = {evidence.score.statistic:.2f}")
    if pairs := texts.get("correlation_break"):
        one = pairs[0].split(" (")[0]
        parts.append(one if len(pairs) == 1 else f"{len(pairs)} rank correlations changed, first the {one}")
    if "domain_classifier" in texts:
        parts.append("a model tells window from reference")
    return parts


def _leading(findings: Sequence[DriftFinding], evidence: Evidence, shift: ScoreShift | None) -> str | None:
    """What the feature did that moved the scores most, or else the one that drifted most, and where."""
    rules = {finding.rule for finding in findings}
    drifted = [finding.feature for finding in findings if finding.rule == "feature_drift" and finding.feature]
    moved = list(shift.leading) if shift is not None and rules & {"score_drift", "feature_drift"} else []
    # A feature that did both says more than one that did either.
    names = [name for name in moved if name in drifted] or drifted or (moved if "score_drift" in rules else [])
    name = next((name for name in names if name in evidence.comparisons), None)
    if name is None:
        return None
    own = {statistic for feature, statistic in evidence.significant if feature == name}
    text = movement(name, evidence.comparisons[name], evidence.measures[name], by_nulls=own == {"null_rate"})
    segment = None if shift is None else shift.moved_in.get(name)
    return text if segment is None else f"{text}, mostly in {segment.replace('=', ' ', 1)}"


def explain(
    outcome: Outcome,
    headline: str,
    findings: Sequence[DriftFinding],
    evidence: Evidence,
    window: tuple[datetime, datetime],
    n_reference: int,
    n_current: int,
) -> str:
    """The verdict in words: headline, what was compared, then one line a finding, and what was not tested."""
    start, end = window
    compared = (
        f"Window {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC ({n_current:,} rows) against the reference "
        f"({n_reference:,} rows)"
    )
    lines = [f"- {RULE_NAMES[finding.rule]}: {finding.text}" for finding in findings]
    silent = [f"- not tested: {reason}" for reason in evidence.not_tested]
    if outcome is Outcome.INSUFFICIENT:
        lines, silent = [f"- noticed: {text}" for text in evidence.broken.values()], []
    rest = [f"- and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    ending = ":" if lines or silent else "."
    return "\n".join([f"{headline}.", f"{compared}{ending}", *lines[:MAX_LINES], *rest, *silent])
