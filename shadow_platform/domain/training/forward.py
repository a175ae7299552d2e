"""Fit on the past, judge on what came next, inside the fit window: how hyperparameters are compared.

Belongs here: encoded blocks in time order, and the loss of raw scores on them. Does not belong here: which rows
(``windows``), which values to try (``search``, ``early_stop``). Upstream: the fit part of a frame. Downstream: search,
early_stop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from shadow_platform.contracts.bundle import CategoricalInput, NumericInput
from shadow_platform.contracts.use_case import Estimator, Feature, ModelSpec, Parameter
from shadow_platform.domain.training.calibration import PROBABILITY_FLOOR
from shadow_platform.domain.training.hyperparameters import POSITIVE_WEIGHT
from shadow_platform.domain.training.inputs import learn_inputs, level_counts
from shadow_platform.domain.training.metrics import LOG_LOSS_CLIP
from shadow_platform.domain.training.windows import forward_blocks

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Encode = Callable[[Sequence[NumericInput | CategoricalInput], pd.DataFrame], tuple[Matrix, Any]]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows to judge, and the earlier ones to fit on, encoded with what these teach alone."""

    features: Sequence[Feature]
    n_levels: dict[str, int]
    earlier: Matrix
    earlier_labels: Labels
    judged: Matrix
    labels: Labels

    def fit(self, spec: ModelSpec, seed: int, parameters: Mapping[str, Parameter]) -> Estimator:
        """The family, fitted on the earlier rows."""
        model = spec.build(self.features, self.n_levels, seed, **parameters)
        model.fit(self.earlier, self.earlier_labels)
        return model

    def log_loss(self, raw: Floats, parameters: Mapping[str, Parameter]) -> float:
        """Log loss on the judged rows of raw scores, as if positive rows had weighed like negative ones.

        Weighing positive rows by ``w`` adds ``log(w)`` to the log odds that a model learns; it is taken off, or the
        loss would judge the weight instead of the model.
        """
        z = logit(np.clip(raw, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
        p = expit(z - np.log(float(parameters.get(POSITIVE_WEIGHT, 1.0))))
        p = np.clip(p, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
        return float(-np.mean(np.where(self.labels, np.log(p), np.log1p(-p))))


def encoded_blocks(
    frame: pd.DataFrame,
    is_fit: Labels,
    features: Sequence[Feature],
    gap: timedelta,
    shares: Sequence[float],
    encode: Encode,
) -> list[Block]:
    """Blocks of the fit rows, as ``windows.forward_blocks``."""
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)
    blocks = []
    for earlier, judged in forward_blocks(frame, is_fit, gap, shares):
        inputs = learn_inputs(features, frame[earlier])
        matrices = [encode(inputs, frame[rows])[0] for rows in (earlier, judged)]
        blocks.append(Block(features, level_counts(inputs), matrices[0], labels[earlier], matrices[1], labels[judged]))
    return blocks
