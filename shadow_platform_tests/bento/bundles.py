"""Small real bundles for use case ``shop``: a logistic regression, and challengers that misbehave on purpose.

Each is a handwritten ONNX graph of one float32 input of shape ``(rows, 2)``: cart value and channel code. Upstream:
onnx, adapters.bundle. Downstream: serving tests and the serving benchmark.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from shadow_platform.adapters.bundle import write_bundle
from shadow_platform.contracts.bundle import BundleManifest, Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.verdicts import Outcome, ParityReport

AT = datetime(2024, 1, 31, tzinfo=UTC)
INPUTS = (
    NumericInput(name="cart_value", imputed=50.0),
    CategoricalInput(name="channel", levels=("mail", "search", "shop")),
)
FAILS_ABOVE = 100.0
"""The raising model gives no answer for carts above this value."""


def line_bundle(parent: Path, slope: float = 0.02, intercept: float = -1.0, **declared: Any) -> str:
    """Hash of a logistic regression on the cart's value and the channel's code; its manifest says what is declared."""
    return _write(parent, f"line {slope} {intercept}", _line(slope, intercept), **declared)


def raising_bundle(parent: Path, limit: float = FAILS_ABOVE) -> str:
    """Hash of a model whose graph fails for carts above the limit."""
    column = helper.make_node("Gather", ["x", "zero"], ["cart"], axis=1)
    above = helper.make_node("Greater", ["cart", "limit"], ["above"])
    index = helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64)
    looked_up = helper.make_node("Gather", ["one_entry", "index"], ["nothing"], axis=0)
    column_of = helper.make_node("Reshape", ["nothing", "as_column"], ["extra"])
    constants: dict[str, np.ndarray] = {
        "zero": np.array(0, dtype=np.int64),
        "limit": np.array(limit, dtype=np.float32),
        "one_entry": np.zeros(1, dtype=np.float32),
        "as_column": np.array([-1, 1], dtype=np.int64),
    }
    return _write(parent, "raising", _line(0.02, -1.0, [column, above, index, looked_up, column_of], constants))


def wordless_bundle(parent: Path) -> str:
    """Hash of a model that gives NaN for carts above ``FAILS_ABOVE``."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["cart"], axis=1),
        helper.make_node("Greater", ["cart", "limit"], ["above"]),
        helper.make_node("Where", ["above", "nan", "nothing"], ["one_column"]),
        helper.make_node("Reshape", ["one_column", "as_column"], ["extra"]),
    ]
    constants: dict[str, np.ndarray] = {
        "zero": np.array(0, dtype=np.int64),
        "limit": np.array(FAILS_ABOVE, dtype=np.float32),
        "nan": np.array(np.nan, dtype=np.float32),
        "nothing": np.array(0.0, dtype=np.float32),
        "as_column": np.array([-1, 1], dtype=np.int64),
    }
    return _write(parent, "wordless", _line(0.02, -1.0, nodes, constants))


def slow_bundle(parent: Path, n_rounds: int = 200_000) -> str:
    """Hash of a model that counts before every answer (about a second a micro-batch)."""
    constants: dict[str, np.ndarray] = {"rounds": np.array(n_rounds, dtype=np.int64)}
    return _write(parent, f"slow {n_rounds}", _line(0.02, -1.0, [_count()], {**constants, **_COUNT}))


def hanging_bundle(parent: Path) -> str:
    """Hash of a model that counts for ever when a micro-batch holds a cart above ``FAILS_ABOVE``."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["cart"], axis=1),
        helper.make_node("ReduceMax", ["cart"], ["highest"], keepdims=0),
        helper.make_node("Greater", ["highest", "limit"], ["is_above"]),
        helper.make_node("Cast", ["is_above"], ["is_above_count"], to=TensorProto.INT64),
        helper.make_node("Mul", ["is_above_count", "for_ever"], ["rounds"]),
        _count(),
    ]
    constants: dict[str, np.ndarray] = {
        "zero": np.array(0, dtype=np.int64),
        "limit": np.array(FAILS_ABOVE, dtype=np.float32),
        "for_ever": np.array(2**62, dtype=np.int64),
    }
    return _write(parent, "hanging", _line(0.02, -1.0, nodes, {**constants, **_COUNT}))


def mingling_bundle(parent: Path) -> str:
    """Hash of a model whose answer to a request depends on the carts it is scored together with."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["cart"], axis=1),
        helper.make_node("ReduceMean", ["cart"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "little"], ["extra"]),
    ]
    constants: dict[str, np.ndarray] = {
        "zero": np.array(0, dtype=np.int64),
        "little": np.array(0.01, dtype=np.float32),
    }
    return _write(parent, "mingling", _line(0.02, -1.0, nodes, constants))


_COUNT: dict[str, np.ndarray] = {"true": np.array(True), "start": np.zeros((1, 1), dtype=np.float32)}


def _count() -> onnx.NodeProto:
    """A loop of ``rounds`` steps that ends in ``extra``, about zero."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["sum", "tiny"], ["sum_out"])],
        "count",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_out", TensorProto.FLOAT, [1, 1]),
        ],
        [numpy_helper.from_array(np.full((1, 1), 1e-12, dtype=np.float32), "tiny")],
    )
    return helper.make_node("Loop", ["rounds", "true", "start"], ["extra"], body=body)


def _line(
    slope: float,
    intercept: float,
    before: Sequence[onnx.NodeProto] = (),
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    values = {
        "weights": np.array([[slope], [0.1]], dtype=np.float32),
        "intercept": np.array([intercept], dtype=np.float32),
        "one": np.array([1.0], dtype=np.float32),
        **({} if before else {"extra": np.zeros((1, 1), dtype=np.float32)}),
        **(constants or {}),
    }
    nodes = [
        *before,
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["logit"]),
        helper.make_node("Add", ["logit", "extra"], ["logit_extra"]),
        helper.make_node("Sigmoid", ["logit_extra"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _write(parent: Path, name: str, onnx_bytes: bytes, **declared: Any) -> str:
    manifest = BundleManifest(
        use_case="shop",
        model_name=name,
        inputs=INPUTS,
        calibration=Calibration(slope=1.0, intercept=0.0),
        threshold=0.5,
        trained_as_of=AT,
        evaluation_start=AT,
        evaluation_end=AT,
        n_train=1,
        n_evaluation=1,
        metrics={},
        parity=ParityReport(n=1, max_abs_diff=0.0, share_within_1e5=1.0, flipped_decisions=0, outcome=Outcome.PASS),
        fingerprints={"code": name},
        seed=0,
    ).model_copy(update=declared)
    reference = pd.DataFrame({"cart_value": [50.0], "channel": ["mail"], "score": [0.5], "requested_at": [AT]})
    digest, _ = write_bundle(parent, manifest, onnx_bytes, reference, [{"cart_value": 20.0, "channel": "mail"}])
    return digest
