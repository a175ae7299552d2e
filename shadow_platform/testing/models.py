"""Rules of the model families: what training, export and serving do with each of them works.

Belongs here: rules of unfitted pipelines. Does not belong here: how good they are. Upstream: ModelSpec values, the
export. Downstream: the contract.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from shadow_platform.contracts.use_case import Feature
from shadow_platform.testing.rules import Rules

N_ROWS, N_OTHER_ROWS, N_LEVELS = 600, 200, 3
ONNX_TOLERANCE = 1e-5


class ModelRules(Rules):
    """Every family can be trained again and served without scikit-learn."""

    @pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning")
    def test_every_model_is_reproducible_and_converts_to_onnx_with_one_float32_input(self) -> None:
        import onnxruntime

        from shadow_platform.adapters.onnx_export import export_onnx

        features = self.use_case.features
        n_levels = {feature.name: N_LEVELS for feature in features if feature.kind == "categorical"}
        matrix, other = random_matrix(features, N_ROWS, seed=0), random_matrix(features, N_OTHER_ROWS, seed=1)
        target = matrix.sum(axis=1) > np.median(matrix.sum(axis=1))
        for spec in self.use_case.models:
            fitted = spec.build(features, n_levels, 5, **spec.parameters).fit(matrix, target)
            again = spec.build(features, n_levels, 5, **spec.parameters).fit(matrix, target)
            expected = fitted.predict_proba(other)
            np.testing.assert_array_equal(expected, again.predict_proba(other))
            session = onnxruntime.InferenceSession(
                export_onnx(fitted, matrix.shape[1]), providers=["CPUExecutionProvider"]
            )
            given = session.run(None, {session.get_inputs()[0].name: other})[1]
            np.testing.assert_allclose(given, expected, atol=ONNX_TOLERANCE)


def random_matrix(features: Sequence[Feature], n_rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Rows as training encodes them: codes up to ``N_LEVELS``, other numbers around 10."""
    chance = np.random.default_rng(seed)
    columns = [
        chance.integers(0, N_LEVELS + 1, n_rows) if feature.kind == "categorical" else chance.normal(10, 4, n_rows)
        for feature in features
    ]
    return np.column_stack(columns).astype(np.float32)
