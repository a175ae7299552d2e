"""Fit, calibrate and score one model family on a frame, in time order.

Upstream: frame, windows, inputs. Downstream: judging (metrics), parity, the bundle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.bundle import Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.use_case import Estimator, Feature, ModelSpec, TrainingPolicy
from shadow_platform.domain.training.calibration import calibrate, calibrated
from shadow_platform.domain.training.inputs import Inputs, learn_inputs, level_counts
from shadow_platform.domain.training.metrics import metrics
from shadow_platform.domain.training.windows import FIT, HIDDEN, PARTS, Windows, split, time_blocks, windows

CROSS_FITS = 3

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Encode = Callable[[Sequence[NumericInput | CategoricalInput], pd.DataFrame], tuple[Matrix, Any]]


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model and all that was learned and measured with it.

    Attributes:
        part: ``fit``, ``calibration`` or ``evaluation`` per row of the frame; empty where a gap left the row out.
        scores: calibrated out-of-sample probability per row; NaN where a gap left the row out. Rows of the fit part
            are scored by models fitted on the other time blocks, because in-sample scores are more extreme than any
            score in service, and a reference made of them would drift by itself.
        matrix: encoded evaluation rows; ``labels`` and ``probabilities`` (scikit-learn, calibrated) belong to them.
    """

    estimator: Estimator
    inputs: Inputs
    calibration: Calibration
    windows: Windows
    part: npt.NDArray[np.str_]
    scores: Floats
    matrix: Matrix
    labels: Labels
    probabilities: Floats
    metrics: dict[str, float]

    @property
    def n_fit(self) -> int:
        """Rows of the fit part."""
        return int((self.part == FIT).sum())


def train(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    spec: ModelSpec,
    policy: TrainingPolicy,
    horizon: timedelta,
    threshold: float,
    as_of: datetime,
    seed: int,
    encode: Encode,
) -> Trained:
    """Fit, calibrate and judge one model family on a frame.

    Args:
        frame: rows in time order, as described in the module's charter.
        encode: the platform's one encoding of feature values (``adapters.bundle.encode_frame``).
    """
    parts = windows(policy, horizon, as_of)
    part = split(frame, parts, policy.min_rows)
    is_fit, is_calibration, is_evaluation = (part == name for name in PARTS)
    inputs = learn_inputs(features, frame[is_fit])
    matrix, _ = encode(inputs, frame)
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)

    def fitted(rows: Labels) -> Estimator:
        model = spec.build(features, level_counts(inputs), seed)
        model.fit(matrix[rows], labels[rows])
        return model

    estimator = fitted(is_fit)
    calibration = calibrate(raw_scores(estimator, matrix[is_calibration]), labels[is_calibration])
    scores = np.full(len(frame), np.nan)
    for rows, held_out in time_blocks(is_fit, labels, CROSS_FITS):
        scores[held_out] = calibrated(raw_scores(fitted(rows), matrix[held_out]), calibration)
    unseen = is_calibration | is_evaluation | (part == HIDDEN)
    scores[unseen] = calibrated(raw_scores(estimator, matrix[unseen]), calibration)
    probabilities = scores[is_evaluation]
    return Trained(
        estimator=estimator,
        inputs=inputs,
        calibration=calibration,
        windows=parts,
        part=part,
        scores=scores,
        matrix=matrix[is_evaluation],
        labels=labels[is_evaluation],
        probabilities=probabilities,
        metrics=metrics(labels[is_evaluation], probabilities, threshold),
    )


def raw_scores(estimator: Estimator, matrix: Matrix) -> Floats:
    """Uncalibrated probability of the positive label, shape ``(rows,)``."""
    return np.asarray(estimator.predict_proba(matrix), dtype=np.float64)[:, 1]
