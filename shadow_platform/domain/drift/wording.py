"""What one feature did, in words.

Upstream: measure. Downstream: findings of the rules, headline.
"""

import numpy as np

from shadow_platform.domain.drift.measure import UNNAMED, Comparison, Measure

CLEAR_DESIGN_EFFECT = 1.5
INNER_SHARES = np.arange(1, 10) / 10


def describe_shift(name: str, comparison: Comparison, measured: Measure) -> str:
    """What moved in one feature: numbers a person knows first, the test after."""
    parts = []
    if measured.statistic is not None and measured.p_value is not None:
        label = "KS D" if measured.test == "ks" else "total variation"
        effect = measured.design_effect
        worth = f", rows of a day count as 1/{effect:.0f}" if effect >= CLEAR_DESIGN_EFFECT else ""
        test = f"{label} = {measured.statistic:.3f}, p = {measured.p_value:.1e}{worth}"
        parts.append(f"{_values(comparison, measured)} ({test})")
    if measured.null_rate_p_value is not None and measured.null_rate_change > 0:
        parts.append(f"nulls {measured.null_rate_reference:.1%} -> {measured.null_rate_current:.1%}")
    return f"{name}: " + "; ".join(parts)


def _values(comparison: Comparison, measured: Measure) -> str:
    if comparison.curves is None:
        return f"{measured.statistic:.1%} of the rows changed level"
    before, after = comparison.curves
    median = f"median {before.quantile(0.5):.4g} -> {after.quantile(0.5):.4g}"
    return f"{median}, 90 % below {before.quantile(0.9):.4g} -> {after.quantile(0.9):.4g}"


def movement(name: str, comparison: Comparison, measured: Measure, *, by_nulls: bool) -> str:
    """What one feature did, in a few words."""
    if by_nulls:
        verb = "more" if measured.null_rate_current > measured.null_rate_reference else "fewer"
        return f"{verb} values of {name} are missing"
    if comparison.curves is not None:
        before, after = comparison.curves
        change = sum(after.quantile(share) - before.quantile(share) for share in INNER_SHARES)
        return f"{name} {'rose' if change > 0 else 'fell' if change < 0 else 'moved'}"
    counts = comparison.counts
    if not comparison.is_numeric and not counts.is_empty:
        gain = counts.current / counts.current.sum() - counts.reference / counts.reference.sum()
        place = int(np.argmax(np.abs(gain)))
        level = counts.names[place]
        often = "more" if gain[place] > 0 else "less"
        return f"{name} is {often} often {'a rare level' if level is UNNAMED else level or 'an empty text'}"
    return f"{name} moved"
