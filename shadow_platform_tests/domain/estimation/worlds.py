"""Requests of a simulated world whose days may differ as a whole, and a model that is miscalibrated on them.

Upstream: numpy. Downstream: tests of calibration, intervals and verdicts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from shadow_platform.domain.estimation import Array, Calibrator, fit_calibrator

FIRST = pd.Timestamp("2024-01-01", tz="UTC")


@dataclass(frozen=True, slots=True)
class Sample:
    """Scores, decisions and outcomes, and the number of each row's day."""

    score: Array
    prediction: NDArray[np.bool_]
    label: NDArray[np.bool_]
    days: NDArray[np.int64]

    def calibrator(self, *, by_day: bool = True) -> Calibrator:
        """Calibration on these rows."""
        return fit_calibrator(self.score, self.label, days=self.days if by_day else None)

    def cohort(self, first_day: int = 0) -> pd.DataFrame:
        """The rows as answers of version 1 that matured."""
        return pd.DataFrame(
            {
                "use_case": "tiny",
                "requested_at": FIRST + pd.to_timedelta(self.days + first_day, unit="D"),
                "model_version": "1",
                "probability": self.score,
                "prediction": self.prediction,
                "label": pd.array(self.label, dtype="boolean"),
                "is_hidden": False,
                "label_propensity": 1.0,
            }
        )


def world(
    rng: np.random.Generator, n_days: int, per_day: int, mean: float = -1.0, between: float = 0.0, concept: float = 0.0
) -> Sample:
    """Days of requests; their logits have this mean, outcomes a shock a day and a shift that no score knows.

    Args:
        between: standard deviation of the shock of a whole day, on the logit.
        concept: by what the logit of every outcome moved since the model was fitted.
    """
    days = np.repeat(np.arange(n_days), per_day)
    logit = rng.normal(mean, 1.2, n_days * per_day)
    label = rng.random(len(logit)) < expit(logit + rng.normal(0, between, n_days)[days] + concept)
    score = np.asarray(expit(0.6 * logit - 0.3), dtype=np.float64)
    return Sample(score, score >= 0.5, label, days)
