"""The model families that compete: a linear champion and a boosted challenger.

Upstream: the model families of ``use_case_kit``. Downstream: training.
"""

from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.use_case_kit.models import gradient_boosting, logistic_regression

MODELS = (
    ModelSpec(
        "logistic_regression", logistic_regression(penalty_c=0.02), "Linear in scaled features, one indicator a level"
    ),
    ModelSpec(
        "gradient_boosting",
        gradient_boosting(learning_rate=0.05, max_iter=120, max_leaf_nodes=8, min_samples_leaf=60),
        "Boosted trees: thresholds and interactions, such as what falling logins mean on which plan",
    ),
)
