"""The model families that compete: a linear champion and a boosted challenger.

Belongs here: unfitted scikit-learn pipelines over the float32 matrix that training and serving share. Does not belong
here: fitting, calibration, export (the training stage). Upstream: the feature list. Downstream: training.
"""

from collections.abc import Mapping, Sequence

from shadow_platform.contracts.use_case import Estimator, Feature, ModelSpec


def build_logistic_regression(features: Sequence[Feature], n_levels: Mapping[str, int], seed: int) -> Estimator:
    """Scaled numeric columns, one indicator a level, L2 penalty."""
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [place for place, feature in enumerate(features) if feature.kind == "numeric"]
    coded = [place for place, feature in enumerate(features) if feature.kind == "categorical"]
    codes = [np.arange(n_levels[features[place].name] + 1, dtype=np.float32) for place in coded]
    columns = ColumnTransformer(
        [
            ("numeric", StandardScaler(), numeric),
            (
                "codes",
                OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32),
                coded,
            ),
        ]
    )
    regression = LogisticRegression(C=0.002, max_iter=300, random_state=seed)
    pipeline: Estimator = Pipeline([("columns", columns), ("regression", regression)])
    return pipeline


def build_gradient_boosting(_features: Sequence[Feature], _n_levels: Mapping[str, int], seed: int) -> Estimator:
    """Histogram gradient boosting on the raw columns: a scaler before trees moves values across split points."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees: Estimator = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=200,
        max_leaf_nodes=8,
        min_samples_leaf=100,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=seed,
    )
    return trees


MODELS = (
    ModelSpec("logistic_regression", build_logistic_regression, "Linear in scaled features, one indicator a level"),
    ModelSpec("gradient_boosting", build_gradient_boosting, "Boosted trees: thresholds and interactions"),
)
