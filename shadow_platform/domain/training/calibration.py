"""From a model's raw scores to probabilities that come true as often as they say (Platt scaling).

Upstream: raw scores of the calibration window. Downstream: fitting, the bundle.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit

from shadow_platform.contracts.bundle import Calibration

# Must equal the floor of the served probability: closer to 0 and 1 float32 carries no information.
PROBABILITY_FLOOR = 1e-6

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


def calibrate(raw: Floats, labels: Labels) -> Calibration:
    """Platt scaling of logits, with Platt's smoothed targets (Platt 1999, section 2.2); never reverses the ranking."""
    z = logit(np.clip(raw, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
    n_positive, n_negative = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        linear = parameters[0] * z + parameters[1]
        residual = expit(linear) - targets
        value = np.mean(np.logaddexp(0, linear) - targets * linear)
        return float(value), np.array([np.mean(residual * z), np.mean(residual)])

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
    return Calibration(slope=float(fitted.x[0]), intercept=float(fitted.x[1]))


def calibrated(raw: Floats, calibration: Calibration) -> Floats:
    """``sigmoid(slope * logit(raw) + intercept)``, as the bundle computes it."""
    z = logit(np.clip(raw, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
    result: Floats = expit(calibration.slope * z + calibration.intercept)
    return result
