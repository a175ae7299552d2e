"""A model that never answers: an ONNX graph that counts for ever.

Belongs here: the graph. It answers at once when the first feature is 0 in every row, as in the rows without features of
a self-test and a warm-up, so that it is deployed like any other. Upstream: onnx. Downstream: ``models``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

FOR_EVER = 10**12
"""Rounds of the loop; a million take about a second."""


def hanging_onnx(n_inputs: int) -> bytes:
    """The model, of one float32 input of shape ``(rows, n_inputs)``."""
    nodes = [
        helper.make_node("Gather", ["x", "first"], ["amount"], axis=1),
        helper.make_node("Abs", ["amount"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "nothing"], ["is_real"]),
        helper.make_node("Cast", ["is_real"], ["as_number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["as_number", "for_ever"], ["rounds"]),
        helper.make_node("Loop", ["rounds", "true", "start"], ["counted"], body=_count()),
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Add", ["product", "counted"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    constants: dict[str, npt.NDArray[Any]] = {
        "first": np.array(0, dtype=np.int64),
        "nothing": np.array(0.0, dtype=np.float32),
        "for_ever": np.array(FOR_EVER, dtype=np.int64),
        "true": np.array(True),
        "start": np.zeros((1, 1), dtype=np.float32),
        "weights": np.full((n_inputs, 1), 0.01, dtype=np.float32),
        "one": np.array([1.0], dtype=np.float32),
    }
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", n_inputs])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "hanging", inputs, outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _count() -> onnx.GraphProto:
    """One round of the loop."""

    def sum_named(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1])

    def go_named(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.BOOL, [])

    return helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["sum", "tiny"], ["sum_out"])],
        "count",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), go_named("go"), sum_named("sum")],
        [go_named("go_on"), sum_named("sum_out")],
        [numpy_helper.from_array(np.full((1, 1), 1e-12, dtype=np.float32), "tiny")],
    )
