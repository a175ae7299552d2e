"""Rule 6: what is broken rather than shifted, and therefore needs no statistics.

Upstream: columns. Downstream: verdict. A missing column, values of another type, a column gone null, and levels nobody
knew each fail the verdict on their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.drift.columns import Column, categorical_column, is_number, numeric_column

NAMED_LEVELS = 3


def read_columns(features: Sequence[Feature], reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, Column]:
    """Every feature that both frames have, coded alike in both."""
    columns = {}
    for feature in features:
        if feature.name in reference.columns and feature.name in current.columns:
            build = numeric_column if feature.kind == "numeric" else categorical_column
            columns[feature.name] = build(reference[feature.name], current[feature.name])
    return columns


def schema_findings(
    features: Sequence[Feature],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    columns: Mapping[str, Column],
    new_category_share: float,
) -> dict[str, str]:
    """Feature name -> what is broken about it, in words."""
    findings: dict[str, str] = {}
    for feature in features:
        name = feature.name
        if name not in current.columns:
            findings[name] = f"{name}: missing from the window"
        elif name not in reference.columns:
            findings[name] = f"{name}: missing from the reference; train a model that knows it"
        else:
            finding = _column_finding(feature, reference[name], current[name], columns[name], new_category_share)
            if finding:
                findings[name] = f"{name}: {finding}"
    return findings


def _column_finding(
    feature: Feature, reference: "pd.Series[Any]", current: "pd.Series[Any]", column: Column, share: float
) -> str | None:
    known = int(current.notna().sum())
    if known == 0:
        was_known = bool(reference.notna().any())
        return "null in every row of the window, but not in the reference" if was_known else None
    if feature.kind == "numeric":
        foreign = column.current.n_foreign / known
        if foreign > share:
            example = next(value for value in current.dropna() if not is_number(value))
            return f"type changed: {foreign:.0%} of the values are no numbers, e.g. {example!r}"
        return None
    if column.unseen_share <= share or column.reference.n_valid == 0:
        return None
    families = _family(reference), _family(current)
    if families[0] != families[1]:
        return f"type changed from {families[0]} to {families[1]}, e.g. {column.unseen[0]!r}"
    named = ", ".join(repr(level) for level in column.unseen[:NAMED_LEVELS])
    return (
        f"{column.unseen_share:.1%} of the values are levels the reference does not know, "
        f"e.g. {named} (limit {share:.1%})"
    )


def _family(series: "pd.Series[Any]") -> str:
    values = series.astype(series.cat.categories.dtype) if isinstance(series.dtype, pd.CategoricalDtype) else series
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in {"floating", "integer", "mixed-integer-float", "decimal"}:
        return "number"
    return "text" if kind == "string" else kind
