"""What an ONNX graph may ask of the machine that runs it: arithmetic of the two standard operator sets, no more.

Belongs here: refusing a graph before it is run. Does not belong here: running it (``model``). Upstream: bytes of a
bundle's model. Downstream: ``model``.
"""

from collections.abc import Iterator
from typing import Any

from shadow_platform.contracts.errors import BundleError

OPERATOR_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def require_plain_graph(onnx_bytes: bytes) -> None:
    """Raise ``BundleError`` if the model reads other files or calls operators that ONNX itself does not define."""
    import onnx

    try:
        model = onnx.ModelProto.FromString(onnx_bytes)
    except Exception as error:  # protobuf's errors differ with its implementation
        raise BundleError(f"model.onnx cannot be loaded: it is no ONNX model ({error}); train it again") from error
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and _is_external(message):
            raise BundleError(
                f"model.onnx keeps tensor {message.name!r} in another file; export it with its data inside"
            )
        if isinstance(message, onnx.NodeProto | onnx.OperatorSetIdProto) and message.domain not in OPERATOR_DOMAINS:
            raise BundleError(
                f"model.onnx uses operators of {message.domain!r}, expected those of ai.onnx and ai.onnx.ml only; "
                "build the model from parts that these express"
            )


def _is_external(tensor: Any) -> bool:
    return bool(tensor.external_data) or tensor.data_location == tensor.EXTERNAL


def _messages(message: Any) -> Iterator[Any]:
    """A message and every message in it, subgraphs and functions included."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in [value] if hasattr(value, "ListFields") else value:
            yield from _messages(child)
