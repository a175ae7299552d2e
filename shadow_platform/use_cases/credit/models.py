"""The model families that compete: a linear champion and a boosted challenger.

Upstream: the model families of ``use_case_kit``. Downstream: training.
"""

from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.use_case_kit.models import gradient_boosting, logistic_regression

MODELS = (
    ModelSpec(
        "logistic_regression", logistic_regression(penalty_c=0.1), "Linear in scaled features, one indicator a level"
    ),
    ModelSpec("gradient_boosting", gradient_boosting(), "Boosted trees: thresholds and interactions"),
)
