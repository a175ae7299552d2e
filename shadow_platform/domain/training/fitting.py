"""Fit, calibrate and score one model family on a frame, in time order.

Upstream: frame, windows, inputs. Downstream: judging (metrics), parity, the bundle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.bundle import Calibration
from shadow_platform.contracts.use_case import DecisionCosts, Estimator, Feature, ModelSpec, Parameter, TrainingPolicy
from shadow_platform.domain.training.calibration import calibrate, calibrated
from shadow_platform.domain.training.early_stop import stopped_early
from shadow_platform.domain.training.forward import Encode
from shadow_platform.domain.training.hyperparameters import hyperparameters
from shadow_platform.domain.training.inputs import Inputs, learn_inputs, level_counts
from shadow_platform.domain.training.metrics import metrics
from shadow_platform.domain.training.windows import FIT, PARTS, Windows, split, time_blocks, windows

CROSS_FITS = 3

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Part = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model and all that was learned and measured with it.

    Attributes:
        part: ``fit``, ``calibration`` or ``evaluation`` per row of the frame; empty where a gap left the row out.
        scores: calibrated out-of-sample probability per row; NaN where a gap left the row out. Rows of the fit part
            are scored by models fitted on the other time blocks, because in-sample scores are more extreme than any
            score in service, and a reference made of them would drift by itself.
        parameters: all hyperparameters that are known, chosen ones included; training with them as ``parameters``
            gives the same model, without choosing again.
        matrix: encoded evaluation rows; ``labels`` and ``probabilities`` (scikit-learn, calibrated) belong to them.
    """

    estimator: Estimator
    inputs: Inputs
    calibration: Calibration
    windows: Windows
    part: Part
    scores: Floats
    matrix: Matrix
    labels: Labels
    probabilities: Floats
    metrics: dict[str, float]
    parameters: dict[str, Parameter]

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
    parameters: Mapping[str, Parameter] | None = None,
    costs: DecisionCosts | None = None,
) -> Trained:
    """Fit, calibrate and judge one model family on a frame.

    Args:
        frame: rows in time order, as described in the module's charter.
        encode: the platform's one encoding of feature values (``adapters.bundle.encode_frame``).
        parameters: hyperparameters that win over the family's own and over what the policy chooses.
        costs: of wrong decisions, for a policy that weighs rows by them.
    """
    parts = windows(policy, horizon, as_of)
    part = split(frame, parts, policy.min_rows)
    is_fit, is_calibration, is_evaluation = (part == name for name in PARTS)
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)
    given = parameters or {}
    chosen = hyperparameters(spec, policy, costs, labels[is_fit], given)
    if spec.iterations not in given:
        chosen.update(stopped_early(frame, is_fit, features, spec, policy, parts.gap, seed, encode, chosen))
    inputs = learn_inputs(features, frame[is_fit])
    matrix, _ = encode(inputs, frame)

    def fitted(rows: Labels) -> Estimator:
        model = spec.build(features, level_counts(inputs), seed, **chosen)
        model.fit(matrix[rows], labels[rows])
        return model

    estimator = fitted(is_fit)
    calibration = calibrate(raw_scores(estimator, matrix[is_calibration]), labels[is_calibration])
    scores = calibrated(_out_of_sample(estimator, fitted, matrix, labels, part), calibration)
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
        parameters=chosen,
    )


def _out_of_sample(
    estimator: Estimator, fitted: Callable[[Labels], Estimator], matrix: Matrix, labels: Labels, part: Part
) -> Floats:
    """Raw score of each row by a model that did not learn from it; NaN where a gap left the row out."""
    raw = np.full(len(matrix), np.nan)
    for rows, held_out in time_blocks(part == FIT, labels, CROSS_FITS):
        raw[held_out] = raw_scores(fitted(rows), matrix[held_out])
    unseen = (part != FIT) & (part != "")
    raw[unseen] = raw_scores(estimator, matrix[unseen])
    return raw


def raw_scores(estimator: Estimator, matrix: Matrix) -> Floats:
    """Uncalibrated probability of the positive label, shape ``(rows,)``."""
    return np.asarray(estimator.predict_proba(matrix), dtype=np.float64)[:, 1]
