"""Model families over the float32 matrix that training and serving share: linear, and boosted trees.

Belongs here: unfitted scikit-learn pipelines. Does not belong here: fitting, calibration, export (the training stage),
and which family a use case lets compete. Upstream: the feature list. Downstream: ``ModelSpec`` values.
"""

from collections.abc import Callable, Mapping, Sequence

from shadow_platform.contracts.use_case import Estimator, Feature

Build = Callable[[Sequence[Feature], Mapping[str, int], int], Estimator]


def logistic_regression(penalty_c: float = 0.1) -> Build:
    """Builder of scaled numeric columns, one indicator a level, and an L2 penalty of inverse strength ``penalty_c``."""

    def build(features: Sequence[Feature], n_levels: Mapping[str, int], seed: int) -> Estimator:
        import numpy as np
        from sklearn.compose import ColumnTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numeric = [place for place, feature in enumerate(features) if feature.kind == "numeric"]
        coded = [place for place, feature in enumerate(features) if feature.kind == "categorical"]
        codes = [np.arange(n_levels[features[place].name] + 1, dtype=np.float32) for place in coded]
        indicators = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        parts = [("numeric", StandardScaler(), numeric), ("codes", indicators, coded)]
        columns = ColumnTransformer([part for part in parts if part[2]])
        regression = LogisticRegression(C=penalty_c, max_iter=300, random_state=seed)
        pipeline: Estimator = Pipeline([("columns", columns), ("regression", regression)])
        return pipeline

    return build


def gradient_boosting(
    learning_rate: float = 0.06, max_iter: int = 200, max_leaf_nodes: int = 8, min_samples_leaf: int = 100
) -> Build:
    """Builder of histogram gradient boosting on the raw columns: a scaler before trees moves values across splits."""

    def build(_features: Sequence[Feature], _n_levels: Mapping[str, int], seed: int) -> Estimator:
        from sklearn.ensemble import HistGradientBoostingClassifier

        trees: Estimator = HistGradientBoostingClassifier(
            learning_rate=learning_rate,
            max_iter=max_iter,
            max_leaf_nodes=max_leaf_nodes,
            min_samples_leaf=min_samples_leaf,
            l2_regularization=10.0,
            early_stopping=False,
            random_state=seed,
        )
        return trees

    return build
