"""A bundle's model in memory: one ONNX session and the calibration behind it.

Belongs here: scoring a matrix. Does not belong here: where model and matrix come from. Upstream: ``encoding``,
``graph``. Downstream: ``Bundle.predict``, the parity of a training.
"""

import math
from typing import Any

import numpy as np

from shadow_platform.adapters.bundle.encoding import Floats, Matrix
from shadow_platform.adapters.bundle.graph import require_plain_graph
from shadow_platform.contracts.bundle import Calibration
from shadow_platform.contracts.errors import BundleError

# Float32 probabilities carry no information closer to 0 and 1 than this, so logits stop here.
PROBABILITY_FLOOR = 1e-6
PROBABILITY_TYPES = frozenset({"tensor(float)", "tensor(double)"})


class OnnxModel:
    """An ONNX session on one thread, followed by Platt calibration."""

    def __init__(self, onnx_bytes: bytes, calibration: Calibration) -> None:
        import onnxruntime as ort

        require_plain_graph(onnx_bytes)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # What fails is raised; its own lines on stderr are neither of our form nor vetted for values.
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Its own format would be recognized by a few bytes, and is none that was looked through above.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            session = ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no public base class for its errors
            raise BundleError(f"model.onnx cannot be loaded: {error}; train the model again") from error
        _require_matrix_to_probabilities(session)
        self._run = session.run
        self._input: str = session.get_inputs()[0].name
        self._outputs: list[str] = [session.get_outputs()[-1].name]
        self._slope = calibration.slope
        self._intercept = calibration.intercept

    def predict(self, matrix: Matrix, run_options: Any = None) -> Floats:
        """Calibrated probabilities, shape ``(rows,)``; one row takes a path without numpy's overhead."""
        raw = self._run(self._outputs, {self._input: matrix}, run_options)[0]
        if len(matrix) == 1:
            p = min(max(float(raw[0, 1]), PROBABILITY_FLOOR), 1 - PROBABILITY_FLOOR)
            z = self._slope * math.log(p / (1 - p)) + self._intercept
            return np.array((0.5 * (1 + math.tanh(0.5 * z)),))
        p_all = np.clip(raw[:, 1].astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
        z_all = self._slope * np.log(p_all / (1 - p_all)) + self._intercept
        result: Floats = 0.5 * (1 + np.tanh(0.5 * z_all))
        return result


def _require_matrix_to_probabilities(session: Any) -> None:
    """Raise ``BundleError`` unless the model declares what ``predict`` gives it, and takes from it."""
    inputs, output = session.get_inputs(), session.get_outputs()[-1]
    if [(given.type, len(given.shape)) for given in inputs] != [("tensor(float)", 2)]:
        declared = ", ".join(f"{given.name} {given.type} {given.shape}" for given in inputs) or "none"
        raise BundleError(
            f"model.onnx declares as inputs {declared}, expected one float32 matrix; export the model with one input"
        )
    # A number of columns that is no number is known only when the model runs.
    is_matrix = len(output.shape) == 2 and (output.shape[1] == 2 or not isinstance(output.shape[1], int))
    if output.type not in PROBABILITY_TYPES or not is_matrix:
        raise BundleError(
            f"model.onnx declares as last output {output.name} {output.type} {output.shape}, expected probabilities of "
            "shape (rows, 2); export a classifier of two classes, without zipmap"
        )


def stoppable() -> Any:
    """Options of one call of ``Bundle.predict``: when their ``terminate`` is set to true, the call raises soon."""
    import onnxruntime as ort

    return ort.RunOptions()
