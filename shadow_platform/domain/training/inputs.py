"""What is learned of the features before a model is fitted: imputation values and tables of levels.

Upstream: the fit part of a frame. Downstream: fitting, the bundle's encoding.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Feature

# Categorical levels beyond this many, rarest first, share code 0.
MAX_LEVELS = 1_000

Inputs = tuple[NumericInput | CategoricalInput, ...]


def learn_inputs(features: Sequence[Feature], frame: pd.DataFrame) -> Inputs:
    """Imputation medians and level tables of the given rows; give the fit part only."""
    return tuple(
        _numeric_input(feature, frame) if feature.kind == "numeric" else _categorical_input(feature, frame)
        for feature in features
    )


def _numeric_input(feature: Feature, frame: pd.DataFrame) -> NumericInput:
    values = pd.to_numeric(frame[feature.name]).to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[np.isfinite(values)]
    return NumericInput(name=feature.name, imputed=float(np.float32(np.median(known))) if len(known) else 0.0)


def _categorical_input(feature: Feature, frame: pd.DataFrame) -> CategoricalInput:
    counts = frame[feature.name].dropna().astype(object).value_counts()
    wrong = next((level for level in counts.index if not isinstance(level, str)), None)
    if wrong is not None:
        raise UseCaseError(
            f"categorical feature {feature.name!r} holds {wrong!r} ({type(wrong).__name__}); expected strings; "
            "cast it to VARCHAR in the feature SQL"
        )
    ranked = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
    return CategoricalInput(name=feature.name, levels=tuple(sorted(ranked[:MAX_LEVELS])))


def level_counts(inputs: Inputs) -> dict[str, int]:
    """Levels of each categorical column, code 0 not counted."""
    return {column.name: len(column.levels) for column in inputs if isinstance(column, CategoricalInput)}
