"""What a search for hyperparameters minimizes: log loss on later rows of the fit window.

Belongs here: the objective. Does not belong here: which values are tried and when it ends (``adapters.search``).
Upstream: the training frame. Downstream: the search, whose choice is a training's ``parameters``.

Rows of calibration and evaluation are never looked at, so that a searched model is calibrated and judged like any.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import DecisionCosts, Feature, ModelSpec, Parameter, TrainingPolicy
from shadow_platform.domain.training.fitting import raw_scores
from shadow_platform.domain.training.forward import Encode, encoded_blocks
from shadow_platform.domain.training.hyperparameters import hyperparameters
from shadow_platform.domain.training.windows import FIT, split, windows

# Three judgements, the first by a model of half the rows: with less it would prefer simpler models than all rows bear.
SHARES = tuple(np.linspace(0.5, 1.0, 4).tolist())


class Objective:
    """Losses of hyperparameters, block by block in time order; the frame is encoded once."""

    def __init__(
        self,
        frame: pd.DataFrame,
        features: Sequence[Feature],
        spec: ModelSpec,
        policy: TrainingPolicy,
        horizon: timedelta,
        as_of: datetime,
        seed: int,
        encode: Encode,
        costs: DecisionCosts | None = None,
    ) -> None:
        parts = windows(policy, horizon, as_of)
        is_fit = split(frame, parts, policy.min_rows) == FIT
        self._blocks = encoded_blocks(frame, is_fit, features, parts.gap, SHARES, encode)
        self._spec, self._policy, self._costs, self._seed = spec, policy, costs, seed

    def __call__(self, parameters: Mapping[str, Parameter]) -> Iterator[float]:
        """Log loss on each block of the model that was fitted on what came before it; their mean is the objective."""
        for block in self._blocks:
            chosen = hyperparameters(self._spec, self._policy, self._costs, block.earlier_labels, parameters)
            fitted = block.fit(self._spec, self._seed, chosen)
            yield block.log_loss(raw_scores(fitted, block.judged), chosen)
