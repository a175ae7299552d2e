"""From scikit-learn or LightGBM to ONNX: one float32 matrix in, probabilities of shape ``(rows, 2)`` out.

Belongs here: the conversion (skl2onnx, for LightGBM with onnxmltools). Does not belong here: whether the result answers
alike; that is measured on every model (``domain.training.parity``), because a conversion can succeed and be wrong:
gradient boosting with ``categorical_features`` loses its categorical splits without a word.
Boosted trees split at doubles between two values of the data. The nearest float32 may be the upper one of them, which
then goes down the wrong branch (dates as numbers, identifiers, moments in seconds); the next float32 below splits
float32 values as the double does. skl2onnx knows that of forests only.
Upstream: training. Downstream: the bundle.
"""

import re
from copy import deepcopy
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.errors import BundleError

OPSET = {"": 17, "ai.onnx.ml": 3}

Floats = npt.NDArray[np.float64]


def export_onnx(estimator: Any, n_inputs: int) -> bytes:
    """ONNX model of a fitted classifier; the same estimator gives the same bytes.

    Raises:
        BundleError: a part of the pipeline has no converter.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    try:
        if type(estimator).__module__.startswith("lightgbm."):
            _register_lightgbm()
        exported = _with_float32_nodes(estimator)
        model = convert_sklearn(
            exported,
            name="model",
            initial_types=[("input", FloatTensorType([None, n_inputs]))],
            options={id(exported): {"zipmap": False}},
            target_opset=OPSET,
        )
    except Exception as error:  # skl2onnx raises plain and private exceptions alike
        raise BundleError(
            f"{type(estimator).__name__} cannot be exported to ONNX: {error}; "
            "build the model from scikit-learn parts that skl2onnx supports"
        ) from error
    # skl2onnx keeps them in a set, whose order differs from process to process.
    opsets = sorted(model.opset_import, key=lambda opset: str(opset.domain))
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return bytes(model.SerializeToString())


def _with_float32_nodes(estimator: Any) -> Any:
    """The estimator, or, of histogram gradient boosting, a copy that answers alike on float32 values."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    exported = deepcopy(estimator)
    trees = getattr(exported, "steps", [("", exported)])[-1][1]  # what a pipeline ends with
    if not isinstance(trees, HistGradientBoostingClassifier):
        return estimator
    for iteration in trees._predictors:  # noqa: SLF001 (scikit-learn tells its trees nowhere else; skl2onnx reads them)
        for tree in iteration:
            tree.nodes["num_threshold"] = _floored(tree.nodes["num_threshold"])
    return exported


@cache
def _register_lightgbm() -> None:
    """Make LightGBM known to skl2onnx."""
    from lightgbm import LGBMClassifier
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    update_registered_converter(
        LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_lightgbm,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )


def _convert_lightgbm(scope: Any, operator: Any, container: Any) -> None:
    """Convert as onnxmltools does, from trees whose thresholds ONNX can hold."""
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    fitted = operator.raw_operator
    operator.raw_operator = SimpleNamespace(  # all that the converter reads
        booster_=_with_float32_thresholds(fitted.booster_),
        classes_=fitted.classes_,
        boosting_type=fitted.boosting_type,
    )
    convert_lightgbm(scope, operator, container)


def _with_float32_thresholds(booster: Any) -> Any:
    """A booster that answers alike on float32 values."""
    from lightgbm import Booster

    text = re.sub(r"(?m)^threshold=(.+)$", _floored_line, booster.model_to_string())
    # Lengths of the trees are no longer true; without them LightGBM reads tree after tree.
    return Booster(model_str=re.sub(r"(?m)^tree_sizes=.*\n", "", text))


def _floored_line(thresholds: re.Match[str]) -> str:
    values = _floored(np.array(thresholds[1].split(" "), dtype=np.float64))
    return "threshold=" + " ".join(repr(float(value)) for value in values)


def _floored(thresholds: Floats) -> Floats:
    """The next float32 at or below each threshold."""
    with np.errstate(over="ignore"):  # below infinity lies the largest float32, as it should
        nearest = thresholds.astype(np.float32)
        below = np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return below.astype(np.float64)
