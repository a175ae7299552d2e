"""A verdict in words that a person on call understands without knowing the tests.

Upstream: findings of the rules. Downstream: drift_verdicts.explanation, asset metadata, the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.drift.columns import Column
from shadow_platform.domain.drift.profiles import Profile

MAX_LINES = 12
RULE_NAMES = {
    "schema": "schema",
    "feature_drift": "feature drift",
    "broad_drift": "broad drift",
    "score_drift": "score drift",
    "correlation_break": "correlation break",
    "drift_score": "drift score",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to fail: the rule that fired and its evidence."""

    rule: str
    text: str


def describe_shift(name: str, column: Column, measured: Profile) -> str:
    """What moved in one feature: numbers a person knows first, the test after."""
    parts = []
    if measured.statistic is not None and measured.p_value is not None:
        label = "KS D" if measured.test == "ks" else "total variation"
        worth = f", rows of a day count as 1/{measured.design_effect:.0f}" if measured.design_effect >= 1.5 else ""
        parts.append(f"{_values(column)} ({label} = {measured.statistic:.3f}, p = {measured.p_value:.1e}{worth})")
    if measured.null_rate_p_value is not None and measured.null_rate_change > 0:
        parts.append(f"nulls {measured.null_rate_reference:.1%} -> {measured.null_rate_current:.1%}")
    return f"{name}: " + "; ".join(parts)


def _values(column: Column) -> str:
    before, after = column.reference.ordered, column.current.ordered
    if before is not None and after is not None:
        median = f"median {_quantile(before, 0.5)} -> {_quantile(after, 0.5)}"
        return f"{median}, 90 % below {_quantile(before, 0.9)} -> {_quantile(after, 0.9)}"
    reference, current = column.counts()
    change = current / current.sum() - reference / reference.sum()
    return f"{np.abs(change).sum() / 2:.1%} of the rows changed level"


def _quantile(ordered: npt.NDArray[np.float64], q: float) -> str:
    return f"{ordered[int(q * (len(ordered) - 1))]:.4g}"


def explain(
    outcome: Outcome,
    findings: Sequence[Finding],
    doubt: str | None,
    broken: Sequence[str],
    window_start: datetime,
    window_end: datetime,
    n_reference: int,
    n_current: int,
) -> str:
    """The verdict in words: one sentence, then one line a finding."""
    window = f"The window {window_start:%Y-%m-%d %H:%M} to {window_end:%Y-%m-%d %H:%M} UTC ({n_current:,} rows)"
    against = f"the reference ({n_reference:,} rows)"
    if outcome is Outcome.PASS:
        return f"{window} does not differ from {against} by more than chance and the floors of the policy."
    if outcome is Outcome.INSUFFICIENT:
        also = "".join(f"\n- noticed: {text}" for text in broken[:MAX_LINES])
        return f"{window} cannot be judged against {against}: {doubt}.{also}"
    lines = [f"- {RULE_NAMES[finding.rule]}: {finding.text}" for finding in findings]
    rest = [f"- and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return "\n".join([f"{window} differs from {against}:", *lines[:MAX_LINES], *rest])
