"""Rule 6: what is broken rather than shifted, and therefore needs no statistics.

Upstream: measure. Downstream: verdict. A missing column, values of another type, and a column gone null each fail the
verdict on their own; so do levels nobody knew, of a monitored feature: others may well have new ones every month.
"""

from collections.abc import Iterable, Mapping, Sequence

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.measure import Comparison, Sample, new_levels

NAMED_LEVELS = 3


def schema_findings(
    features: Sequence[Feature],
    reference: Sample,
    current: Sample,
    comparisons: Mapping[str, Comparison],
    new_category_share: float,
) -> dict[str, str]:
    """Feature name -> what is broken about it, in words."""
    findings: dict[str, str] = {}
    for feature in features:
        name = feature.name
        comparison = comparisons.get(name)
        if comparison is not None:
            finding = _type_finding(feature, current, comparison, new_category_share)
            if finding:
                findings[name] = f"{name}: {finding}"
        elif current.column(name) is None:
            findings[name] = f"{name}: missing from the window"
        elif reference.column(name) is None:
            findings[name] = f"{name}: missing from the reference; train a model that knows it"
    return findings


def _type_finding(feature: Feature, current: Sample, comparison: Comparison, share: float) -> str | None:
    before, after = comparison.counts.reference.sum(), comparison.counts.current.sum()
    column = current.column(feature.name)
    n_foreign = 0.0 if column is None else float(column.foreign[0])
    if not after + n_foreign:
        return "null in every row of the window, but not in the reference" if before else None
    if n_foreign / (after + n_foreign) > share:
        return f"type changed: {n_foreign / (after + n_foreign):.0%} of the values are no numbers"
    if comparison.is_numeric or not before:
        return None
    new = new_levels(comparison.counts)
    if sum(new.values()) <= share * after:
        return None
    known, named = _known(comparison), [level for level in new if level is not None]
    if changed := _changed_type(known, named):
        return changed
    return _levels_finding(named, sum(new.values()) / after, share) if feature.is_monitored else None


def _known(comparison: Comparison) -> list[str]:
    counts = comparison.counts
    return [level for level, rows in zip(counts.names, counts.reference, strict=True) if rows and level is not None]


def _changed_type(known: Sequence[str], new: Sequence[str]) -> str | None:
    if not known or not new:
        return None
    if _are_numbers(new) and not any(_are_numbers([level]) for level in known):
        return f"type changed from text to number, e.g. {new[0]!r}"
    if _are_numbers(known) and not any(_are_numbers([level]) for level in new):
        return f"type changed from number to text, e.g. {new[0]!r}"
    return None


def _levels_finding(new: Sequence[str], share: float, limit: float) -> str:
    named = ", ".join(repr(level) for level in new[:NAMED_LEVELS])
    return f"{share:.1%} of the values are levels the reference does not know, e.g. {named} (limit {limit:.1%})"


def _are_numbers(levels: Iterable[str]) -> bool:
    try:
        return all(float(level) is not None for level in levels)
    except ValueError:
        return False
