"""The model families that compete: a linear champion, a boosted challenger, and a forest for who asks for it.

Upstream: the model families of ``use_case_kit``. Downstream: training.
"""

from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.use_case_kit.models import (
    GRADIENT_BOOSTING_SEARCH,
    LOGISTIC_REGRESSION_SEARCH,
    RANDOM_FOREST_SEARCH,
    gradient_boosting,
    logistic_regression,
    random_forest,
)

MODELS = (
    ModelSpec(
        "logistic_regression",
        logistic_regression(penalty_c=0.002),
        "Linear in scaled features, one indicator a level",
        search=LOGISTIC_REGRESSION_SEARCH,
    ),
    ModelSpec(
        "gradient_boosting",
        gradient_boosting(),
        "Boosted trees: thresholds and interactions",
        search=GRADIENT_BOOSTING_SEARCH,
        iterations="max_iter",
    ),
    ModelSpec(
        "random_forest",
        random_forest(),
        "Many deep trees on parts of the rows, averaged",
        search=RANDOM_FOREST_SEARCH,
    ),
)
