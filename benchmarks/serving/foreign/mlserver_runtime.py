"""MLServer's runtime for the benchmark's ONNX model; loaded by MLServer, in its own environment.

Upstream: ``model-settings.json`` written by ``environments``. Downstream: MLServer's V2 endpoint.
"""

import onnxruntime
from mlserver import MLModel  # type: ignore[import-not-found]  # installed in the peer's environment alone
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]


class OnnxRuntime(MLModel):  # type: ignore[misc]
    """One ONNX session on one thread."""

    async def load(self) -> bool:
        """Open the model that the settings name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[-1].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Probabilities of the rows in the first input."""
        matrix = NumpyCodec.decode_input(payload.inputs[0])
        probabilities = self._session.run([self._output], {self._input: matrix})[0]
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])
