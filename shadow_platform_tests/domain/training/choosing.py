"""Frames and families on which hyperparameters are chosen, made always the same.

Belongs here: what tests of fitting, search and early stop share. Does not belong here: assertions.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.adapters.bundle import encode_frame
from shadow_platform.contracts.use_case import DecisionCosts, Feature, ModelSpec, Parameter, TrainingPolicy
from shadow_platform.domain import training
from shadow_platform.use_case_kit.models import gradient_boosting, lightgbm, logistic_regression, random_forest
from shadow_platform_tests.trained import AS_OF, CHANNELS, HORIZON, START

POLICY = TrainingPolicy(
    window=timedelta(days=40), calibration=timedelta(days=5), evaluation=timedelta(days=8), min_rows=500
)
FEATURES = (
    Feature("amount", "Amount, heavy in the tail", unit="EUR"),
    Feature("since", "Moment, beyond what float32 tells apart", unit="s"),
    Feature("rate", "Share", unit="1"),
    Feature("channel", "Channel", kind="categorical"),
)
FAMILIES = (
    ModelSpec("logistic_regression", logistic_regression()),
    ModelSpec("gradient_boosting", gradient_boosting(max_iter=40, min_samples_leaf=40), iterations="max_iter"),
    ModelSpec("random_forest", random_forest(n_estimators=20)),
    ModelSpec("lightgbm", lightgbm(n_estimators=40, min_child_samples=40), iterations="n_estimators"),
)
BOOSTED = tuple(spec for spec in FAMILIES if spec.iterations)


def hard_frame(n: int = 8_000, seed: int = 0, strength: float = 1.0) -> pd.DataFrame:
    """Labelled requests over forty days, one positive of eight, with skewed and huge numbers, levels and nulls.

    Args:
        strength: of the features on the label; 0: none.
    """
    rng = np.random.default_rng(seed)
    requested_at = pd.Series(pd.to_datetime(START) + pd.to_timedelta(np.linspace(0, 40 * 86_400 - 1, n), unit="s"))
    requested_at = requested_at.astype("datetime64[us, UTC]")
    amount, since, rate = rng.lognormal(4, 2.5, n), 1.6e9 + 1e7 * rng.random(n), rng.beta(0.3, 3, n)
    place = rng.integers(0, 3, n)
    logits = strength * (0.5 * (np.log(amount) - 4) - 4 * rate + np.array([-0.5, 0.0, 0.8])[place]) - 2.2
    frame = pd.DataFrame(
        {
            "subject_id": [f"s{i:06d}" for i in range(n)],
            "requested_at": requested_at,
            "amount": np.where(rng.random(n) < 0.03, np.nan, amount),
            "since": since,
            "rate": np.where(rng.random(n) < 0.03, np.nan, rate),
            "channel": pd.Series(np.array(CHANNELS, dtype=object)[place]).mask(rng.random(n) < 0.03, None),
            "label": rng.random(n) < 1 / (1 + np.exp(-logits)),
        }
    )
    frame["known_at"] = frame["requested_at"] + pd.to_timedelta(rng.integers(3_600, 86_400, n), unit="s")
    return frame


def train(
    spec: ModelSpec,
    policy: TrainingPolicy = POLICY,
    frame: pd.DataFrame | None = None,
    features: tuple[Feature, ...] = FEATURES,
    parameters: dict[str, Parameter] | None = None,
    costs: DecisionCosts | None = None,
) -> training.Trained:
    """A family trained on ``hard_frame``."""
    frame = hard_frame() if frame is None else frame
    return training.train(
        frame, features, spec, policy, HORIZON, 0.5, AS_OF, 3, encode_frame, parameters=parameters, costs=costs
    )


def objective(spec: ModelSpec, frame: pd.DataFrame | None = None, **changes: Any) -> training.Objective:
    """What a search of a family on ``hard_frame`` minimizes."""
    frame = hard_frame() if frame is None else frame
    policy = changes.pop("policy", POLICY)
    horizon = changes.pop("horizon", HORIZON)
    return training.Objective(frame, FEATURES, spec, policy, horizon, AS_OF, 3, encode_frame, **changes)
