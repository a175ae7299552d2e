"""After how many additive steps a model stops getting better on rows that came later.

Never on a random part of the rows, as the libraries' own early stopping does: rows of one day are alike, so that a
model which learned a day by heart would look good on the rest of it.
Belongs here: the number of steps. Does not belong here: the final fit with that number (``fitting``). Upstream: a block
of the fit window. Downstream: fitting.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Feature, ModelSpec, Parameter, TrainingPolicy
from shadow_platform.domain.training.forward import Block, Encode, encoded_blocks

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def stopped_early(
    frame: pd.DataFrame,
    is_fit: Labels,
    features: Sequence[Feature],
    spec: ModelSpec,
    policy: TrainingPolicy,
    gap: timedelta,
    seed: int,
    encode: Encode,
    parameters: Mapping[str, Parameter],
) -> dict[str, Parameter]:
    """The number of steps under its name, chosen on the last share of the fit rows; nothing where none is asked for."""
    if policy.early_stop_share is None or spec.iterations is None:
        return {}
    shares = (1 - policy.early_stop_share, 1.0)
    (block,) = encoded_blocks(frame, is_fit, features, gap, shares, encode)
    return {spec.iterations: best_iterations(block, spec, seed, parameters)}


def best_iterations(block: Block, spec: ModelSpec, seed: int, parameters: Mapping[str, Parameter]) -> int:
    """Number of steps, at most the family's own, with the least log loss on the judged rows; of equals the fewest.

    Raises:
        UseCaseError: a model of this family does not tell what it answers after each step, or answers no number.
    """
    fitted = block.fit(spec, seed, parameters)
    staged = staged_scores(fitted, block.judged)
    if staged is None:
        raise UseCaseError(
            f"model {spec.name!r} declares iterations={spec.iterations!r}, but {type(fitted).__name__} has no "
            "staged_predict_proba; expected a model whose steps can be looked at; declare iterations=None"
        )
    losses = np.array([block.log_loss(raw, parameters) for raw in staged])
    if not np.isfinite(losses).all():
        step = int(np.argmin(np.isfinite(losses)))
        raise UseCaseError(
            f"log loss of model {spec.name!r} is {losses[step]} after step {step + 1}; expected a finite number at "
            "every step; correct its parameters or the features"
        )
    return int(np.argmin(losses)) + 1


def staged_scores(estimator: Any, matrix: Matrix) -> Iterator[Floats] | None:
    """Raw probability of the positive label after each step; ``None`` if the estimator does not tell."""
    if hasattr(estimator, "staged_predict_proba"):
        return (np.asarray(both, dtype=np.float64)[:, 1] for both in estimator.staged_predict_proba(matrix))
    if "start_iteration" in inspect.signature(estimator.predict_proba).parameters:
        return _summed(estimator, matrix)
    return None


def _summed(estimator: Any, matrix: Matrix) -> Iterator[Floats]:
    """LightGBM adds log odds tree by tree."""
    log_odds = np.zeros(len(matrix))
    for step in range(estimator.n_estimators_):
        log_odds += estimator.predict_proba(matrix, raw_score=True, start_iteration=step, num_iteration=1)
        yield expit(log_odds)
