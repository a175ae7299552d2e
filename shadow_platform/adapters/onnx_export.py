"""From scikit-learn to ONNX (skl2onnx): one float32 matrix in, probabilities of shape ``(rows, 2)`` out.

Belongs here: the conversion. Does not belong here: whether the result answers alike; that is measured on every model
(``domain.training.parity``), because a conversion can succeed and be wrong: gradient boosting with
``categorical_features`` loses its categorical splits without a word.
Upstream: training. Downstream: the bundle.
"""

from typing import Any

from shadow_platform.contracts.errors import BundleError

OPSET = 17


def export_onnx(estimator: Any, n_inputs: int) -> bytes:
    """ONNX model of a fitted classifier; the same estimator gives the same bytes.

    Raises:
        BundleError: a part of the pipeline has no converter.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    try:
        model = convert_sklearn(
            estimator,
            name="model",
            initial_types=[("input", FloatTensorType([None, n_inputs]))],
            options={id(estimator): {"zipmap": False}},
            target_opset=OPSET,
        )
    except Exception as error:  # skl2onnx raises plain and private exceptions alike
        raise BundleError(
            f"{type(estimator).__name__} cannot be exported to ONNX: {error}; "
            "build the model from scikit-learn parts that skl2onnx supports"
        ) from error
    return bytes(model.SerializeToString())
