"""Model families over the float32 matrix that training and serving share: linear, boosted trees, forests.

Belongs here: unfitted scikit-learn estimators, their hyperparameters, and what a search may change of them. Does not
belong here: fitting, calibration, export (the training stage), and which family a use case lets compete. Upstream: the
feature list. Downstream: ``ModelSpec`` values.

A family is called with the hyperparameters that differ from its own and gives the builder of a ``ModelSpec``::

    ModelSpec("trees", gradient_boosting(max_iter=120), search=GRADIENT_BOOSTING_SEARCH, iterations="max_iter")

Trees take the raw columns: a scaler before them moves values across splits. Their codes of levels are numbers to them:
a conversion to ONNX loses scikit-learn's ``categorical_features`` without a word.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Choice, Estimator, Feature, Parameter, Range

Search = Mapping[str, Range | Choice]

LOGISTIC_REGRESSION_SEARCH: Search = {"penalty_c": Range(1e-4, 10.0, is_log=True)}
GRADIENT_BOOSTING_SEARCH: Search = {
    "learning_rate": Range(0.02, 0.2, is_log=True),
    "max_iter": Range(50, 400, is_log=True, is_integer=True),
    "max_leaf_nodes": Range(4, 32, is_log=True, is_integer=True),
    "min_samples_leaf": Range(20, 500, is_log=True, is_integer=True),
    "l2_regularization": Range(0.1, 100.0, is_log=True),
}
RANDOM_FOREST_SEARCH: Search = {
    "max_leaf_nodes": Range(16, 256, is_log=True, is_integer=True),
    "min_samples_leaf": Range(5, 200, is_log=True, is_integer=True),
    "max_features": Range(0.1, 1.0),
}
LIGHTGBM_SEARCH: Search = {
    "learning_rate": Range(0.02, 0.2, is_log=True),
    "n_estimators": Range(50, 400, is_log=True, is_integer=True),
    "num_leaves": Range(4, 32, is_log=True, is_integer=True),
    "min_child_samples": Range(20, 500, is_log=True, is_integer=True),
    "reg_lambda": Range(0.1, 100.0, is_log=True),
}


# Makes an unfitted estimator of features, levels by categorical, and settings: every hyperparameter of the family, with
# ``random_state`` and ``class_weight``, which all of scikit-learn's classifiers take, in place of ``positive_weight``.
Make = Callable[[Sequence[Feature], Mapping[str, int], dict[str, Any]], Estimator]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models, or, called with hyperparameters, the family with these as its own.

    Attributes:
        parameters: every hyperparameter it has, with its default.
    """

    name: str
    make: Make
    parameters: Mapping[str, Parameter]

    def __call__(self, **parameters: Parameter) -> "Builder":
        """Builder whose hyperparameters are the family's, overridden; raises ``UseCaseError`` for an unknown one."""
        return Builder(self, self.overridden(self.parameters, parameters))

    def overridden(self, parameters: Mapping[str, Parameter], changes: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """Hyperparameters with some of them changed."""
        for name, value in changes.items():
            if name not in self.parameters:
                raise UseCaseError(
                    f"{self.name} has no hyperparameter {name!r} (given: {value!r}); it has: "
                    f"{', '.join(sorted(self.parameters))}; correct the name"
                )
        return {**parameters, **changes}


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes unfitted estimators of one family (``contracts.models.Build``).

    Attributes:
        parameters: hyperparameters of what it makes, unless a call says otherwise.
    """

    family: Family
    parameters: Mapping[str, Parameter]

    def __call__(
        self, features: Sequence[Feature], n_levels: Mapping[str, int], seed: int, /, **parameters: Parameter
    ) -> Estimator:
        """Unfitted estimator; raises ``UseCaseError`` for a hyperparameter that the family does not have."""
        settings: dict[str, Any] = self.family.overridden(self.parameters, parameters)
        weight = settings.pop("positive_weight")
        settings.update(random_state=seed, class_weight=None if weight == 1 else {False: 1.0, True: weight})
        return self.family.make(features, n_levels, settings)


def _directions(features: Sequence[Feature]) -> list[int] | None:
    """For each column 1 if the probability may only rise with it, -1 only fall, else 0; ``None`` if all are free."""
    signs = {"increasing": 1, "decreasing": -1, None: 0}
    directions = [signs[feature.monotone] for feature in features]
    return directions if any(directions) else None


def _logistic_regression(
    features: Sequence[Feature], n_levels: Mapping[str, int], settings: dict[str, Any]
) -> Estimator:
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [place for place, feature in enumerate(features) if feature.kind == "numeric"]
    coded = [place for place, feature in enumerate(features) if feature.kind == "categorical"]
    codes = [np.arange(n_levels[features[place].name] + 1, dtype=np.float32) for place in coded]
    # Sparse: a thousand levels, as dense columns of a million rows, fill 4 GB.
    indicators = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=True, dtype=np.float32)
    parts = [("numeric", StandardScaler(), numeric), ("codes", indicators, coded)]
    columns = ColumnTransformer([part for part in parts if part[2]])
    regression = LogisticRegression(C=settings.pop("penalty_c"), max_iter=300, **settings)
    pipeline: Estimator = Pipeline([("columns", columns), ("regression", regression)])
    return pipeline


def _gradient_boosting(
    features: Sequence[Feature], _n_levels: Mapping[str, int], settings: dict[str, Any]
) -> Estimator:
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees: Estimator = HistGradientBoostingClassifier(
        early_stopping=False, monotonic_cst=_directions(features), **settings
    )
    return trees


def _random_forest(features: Sequence[Feature], _n_levels: Mapping[str, int], settings: dict[str, Any]) -> Estimator:
    from sklearn.ensemble import RandomForestClassifier

    # On one thread: several add the trees up in any order, so that two answers differ in the last digit.
    forest: Estimator = RandomForestClassifier(n_jobs=1, monotonic_cst=_directions(features), **settings)
    return forest


def _lightgbm(features: Sequence[Feature], _n_levels: Mapping[str, int], settings: dict[str, Any]) -> Estimator:
    try:
        from lightgbm import LGBMClassifier
    except ImportError as error:
        raise UseCaseError(
            f"lightgbm() needs a package that is not installed ({error}); expected the extra of that name; "
            "run: pip install 'shadow-platform[lightgbm]'"
        ) from error
    if directions := _directions(features):
        settings["monotone_constraints"] = directions
    # Equal sums in every run, whatever the number of threads.
    trees: Estimator = LGBMClassifier(deterministic=True, force_row_wise=True, verbose=-1, **settings)
    return trees


logistic_regression = Family("logistic_regression", _logistic_regression, {"penalty_c": 0.1, "positive_weight": 1.0})
"""Scaled numeric columns, one indicator a level, an L2 penalty of inverse strength ``penalty_c``.

It cannot be held to the direction of a monotone feature; training measures whether it keeps to it.
"""

gradient_boosting = Family(
    "gradient_boosting",
    _gradient_boosting,
    {
        "learning_rate": 0.06,
        "max_iter": 200,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 100,
        "l2_regularization": 10.0,
        "positive_weight": 1.0,
    },
)
"""Histogram gradient boosting of scikit-learn."""

random_forest = Family(
    "random_forest",
    _random_forest,
    {
        "n_estimators": 100,
        "max_leaf_nodes": 64,
        "min_samples_leaf": 20,
        "max_features": 0.3,
        "max_samples": 0.3,
        "positive_weight": 1.0,
    },
)
"""Forest of trees whose leaves are few, so that the exported model stays below a megabyte."""

lightgbm = Family(
    "lightgbm",
    _lightgbm,
    {
        "learning_rate": 0.06,
        "n_estimators": 200,
        "num_leaves": 8,
        "min_child_samples": 100,
        "reg_lambda": 10.0,
        "positive_weight": 1.0,
    },
)
"""LightGBM; needs the extra ``lightgbm``."""
