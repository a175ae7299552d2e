"""Ray Serve's application for the benchmark's ONNX model; run by the interpreter of Ray's own environment.

Upstream: command line of ``environments`` (model, port). Downstream: Ray Serve's HTTP proxy.
"""

import signal
import sys
from typing import Any

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request


class OnnxModel:
    """One replica with one ONNX session on one thread."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[-1].name

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Probabilities of the rows in the body."""
        matrix = np.array((await request.json())["rows"], dtype=np.float32)
        return {"probabilities": self._session.run([self._output], {self._input: matrix})[0].tolist()}


def main(path: str, port: int) -> None:
    """Serve until a signal comes."""
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port, "access_log": False})
    deployment = serve.deployment(num_replicas=1, max_ongoing_requests=256)
    serve.run(deployment(OnnxModel).bind(path))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
