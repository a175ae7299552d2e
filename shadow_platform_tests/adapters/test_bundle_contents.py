"""What may lie in a bundle: four kinds of files, none of which runs anything when it is read."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from shadow_platform.adapters.bundle import FILES, Bundle, OnnxModel, bundle_hash, write_bundle
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.adapters.pages.card import card_json
from shadow_platform.contracts.bundle import Calibration
from shadow_platform.contracts.errors import BundleError
from shadow_platform_tests.cards import make_card
from shadow_platform_tests.poison import Poison
from shadow_platform_tests.trained import make_bundle, make_frame, make_manifest

PLAIN = Calibration(slope=1.0, intercept=0.0)


def _write(parent: Path, documents: dict[str, bytes]) -> tuple[str, Path]:
    return write_bundle(parent, make_manifest(), _model(), make_frame(20), [], documents)


def _renamed(folder: Path) -> Path:
    """The folder under the hash of what it holds now: an attacker can compute one too."""
    return folder.rename(folder.with_name(bundle_hash(folder)))


def _model(
    weights: onnx.TensorProto | None = None,
    nodes: Sequence[onnx.NodeProto] = (),
    opsets: Sequence[onnx.OperatorSetIdProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> bytes:
    """A model that answers 0.5, or asks for what is given."""
    plain = [
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
        helper.make_node("Softmax", ["product"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes or plain,
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])],
        [weights or numpy_helper.from_array(np.zeros((3, 2), np.float32), "weights")],
    )
    opset_imports = [helper.make_opsetid("", 17), *opsets]
    model = helper.make_model(graph, opset_imports=opset_imports, ir_version=9, functions=functions)
    return bytes(model.SerializeToString())


def _external(path: Path) -> onnx.TensorProto:
    path.write_bytes(np.zeros((3, 2), np.float32).tobytes())
    tensor = numpy_helper.from_array(np.zeros((3, 2), np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path.name)
    return tensor


def _within_a_branch(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    output = helper.make_tensor_value_info("q", TensorProto.FLOAT, None)
    branch = helper.make_graph([node], "branch", [], [output])
    return [helper.make_node("If", ["condition"], ["p"], then_branch=branch, else_branch=branch)]


def test_documents_lie_in_the_bundle_and_in_its_hash(tmp_path):
    digest, folder = _write(tmp_path, {"card.json": card_json(make_card()), "card.html": b"<p>"})

    assert digest != _write(tmp_path, {"card.json": card_json(make_card()), "card.html": b"<b>"})[0]
    bundle = Bundle.load(folder)
    assert bundle.card() == make_card()
    assert (folder / "card.html").read_bytes() == b"<p>"


def test_a_bundle_from_before_cards_has_none(tmp_path):
    assert Bundle.load(make_bundle(tmp_path)[1]).card() is None


def test_a_card_that_is_none_is_named(tmp_path):
    bundle = Bundle.load(_write(tmp_path, {"card.json": b'{"use_case": 1}'})[1])
    with pytest.raises(BundleError, match=r"card\.json cannot be used"):
        bundle.card()


@pytest.mark.parametrize(
    "name",
    [
        *FILES,
        "../card.json",
        "/tmp/card.json",
        "a/card.html",
        "..\\card.json",
        ".json",
        "card.json\n",
        "Card.json",
        "model.pkl",
        "model.skops",
        "model.joblib",
        "run.py",
        "other.onnx",
        "card",
        "",
    ],
)
def test_a_document_of_another_kind_or_place_is_refused_and_nothing_is_left(tmp_path, name):
    with pytest.raises(BundleError, match=r"document .* cannot lie in a bundle; expected a name such as card\.json"):
        _write(tmp_path / "bundles", {name: b"{}"})
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["model.pkl", "model.skops", "model.joblib", "hook.py", "data.npy", "card.JSON", "x"])
def test_a_bundle_with_a_file_of_another_kind_is_refused(tmp_path, name):
    _, folder = make_bundle(tmp_path)
    Poison(tmp_path / "marker").write(folder / name)
    with pytest.raises(BundleError, match=f"holds {name}, expected only plain files ending in .html, .json, .onnx"):
        Bundle.load(folder)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/hostname")])
def test_a_bundle_with_a_folder_or_a_link_is_refused(tmp_path, make):
    _, folder = make_bundle(tmp_path)
    make(folder / "extra.json")
    with pytest.raises(BundleError, match=r"holds extra\.json, expected only plain files"):
        Bundle.load(folder)


def test_a_document_that_was_not_written_with_it_breaks_the_hash(tmp_path):
    _, folder = make_bundle(tmp_path)
    (folder / "card.html").write_text("<p>the best model</p>")
    with pytest.raises(BundleError, match=r"has hash .* expected .* altered"):
        Bundle.load(folder)


def test_the_plain_model_of_these_tests_is_accepted():
    assert OnnxModel(_model(), PLAIN).predict(np.ones((2, 3), np.float32)) == pytest.approx([0.5, 0.5])


FOREIGN = helper.make_node("Gelu", ["x"], ["q"], domain="com.microsoft")
DECLARED: dict[str, Any] = {"opsets": [helper.make_opsetid("com.microsoft", 1)]}
FUNCTION = helper.make_function("mine", "F", ["x"], ["q"], [helper.make_node("Neg", ["x"], ["q"])], [], [])


@pytest.mark.parametrize(
    ("changes", "domain"),
    [
        ({"nodes": [FOREIGN], **DECLARED}, "com.microsoft"),
        ({"nodes": [FOREIGN]}, "com.microsoft"),
        ({"nodes": _within_a_branch(FOREIGN)}, "com.microsoft"),
        (DECLARED, "com.microsoft"),
        ({"nodes": [helper.make_node("F", ["x"], ["p"], domain="mine")], "functions": [FUNCTION]}, "mine"),
        ({"nodes": [helper.make_node("Run", ["x"], ["p"], domain="ai.onnx.contrib")]}, "ai.onnx.contrib"),
    ],
)
def test_a_model_with_operators_of_others_is_refused(tmp_path, changes, domain):
    with pytest.raises(BundleError, match=f"uses operators of '{domain}', expected those of ai.onnx and ai.onnx.ml"):
        write_bundle(tmp_path, make_manifest(), _model(**changes), make_frame(5), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["weights", "attribute", "branch"])
def test_a_model_that_would_read_another_file_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    tensor = _external(tmp_path / "secret")
    constant = helper.make_node("Constant", [], ["q"], value=tensor)
    places: dict[str, dict[str, Any]] = {
        "weights": {"weights": tensor},
        "attribute": {"nodes": [constant]},
        "branch": {"nodes": _within_a_branch(constant)},
    }
    with pytest.raises(BundleError, match="keeps tensor 'weights' in another file; export it with its data inside"):
        write_bundle(tmp_path / "bundles", make_manifest(), _model(**places[place]), make_frame(5), [])


def test_a_model_that_was_exchanged_for_such_a_one_is_refused_when_loaded(tmp_path):
    _, folder = make_bundle(tmp_path)
    (folder / "model.onnx").write_bytes(_model(nodes=[FOREIGN], **DECLARED))
    with pytest.raises(BundleError, match=r"uses operators of 'com\.microsoft'"):
        Bundle.load(_renamed(folder))


MATRIX = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
NEGATED = [helper.make_node("Neg", ["x"], ["p"])]


def _declared(inputs: Sequence[onnx.ValueInfoProto], nodes: Sequence[onnx.NodeProto], output: Any) -> bytes:
    graph = helper.make_graph(nodes, "declared", inputs, [helper.make_tensor_value_info("p", *output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _summed(*axes: int) -> list[onnx.NodeProto]:
    return [helper.make_node("ReduceMean", ["x"], ["p"], axes=axes, keepdims=0)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_declared([MATRIX], NEGATED, (TensorProto.FLOAT, [None, 3])), "as last output p .*expected probabilities"),
        (_declared([MATRIX], _summed(1), (TensorProto.FLOAT, [None])), "as last output p .*expected probabilities"),
        (_declared([MATRIX], _summed(0, 1), (TensorProto.FLOAT, [])), "as last output p .*expected probabilities"),
        (
            _declared([MATRIX], [helper.make_node("IsNaN", ["x"], ["p"])], (TensorProto.BOOL, [None, 2])),
            "as last output p tensor.bool.",
        ),
        (
            _declared(
                [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])],
                NEGATED,
                (TensorProto.DOUBLE, [None, 2]),
            ),
            "as inputs x tensor.double.*expected one float32 matrix",
        ),
        (
            _declared(
                [MATRIX, helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
                [helper.make_node("Add", ["x", "y"], ["p"])],
                (TensorProto.FLOAT, [None, 2]),
            ),
            "as inputs x .*, y .*expected one float32 matrix",
        ),
    ],
    ids=["three columns", "a vector", "a number", "truths", "doubles in", "two inputs"],
)
def test_a_model_that_gives_no_probabilities_of_a_matrix_is_refused_when_opened(model, message):
    with pytest.raises(BundleError, match=message):
        OnnxModel(model, PLAIN)


def test_a_model_whose_columns_are_known_only_when_it_runs_is_accepted():
    two = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    model = OnnxModel(_declared([two], NEGATED, (TensorProto.FLOAT, [None, None])), PLAIN)
    assert model.predict(np.full((2, 2), -0.5, np.float32)) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, pickle.dumps({"a": 1})], ids=["empty", "zeros", "pickle"])
def test_what_is_no_onnx_model_is_refused(content):
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        OnnxModel(content, PLAIN)


def test_a_model_in_the_runtimes_own_format_is_refused(tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(_model(), options, providers=["CPUExecutionProvider"])

    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        OnnxModel((tmp_path / "model.ort").read_bytes(), PLAIN)


class _Unpickling(pa.ExtensionType):  # type: ignore[misc]
    """An extension type as Arrow once shipped one (CVE-2023-47248): it unpickles what the file says of it."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        super().__init__(pa.float64(), "tests.unpickling")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.payload

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> pa.ExtensionType:
        pickle.loads(serialized)
        return cls(serialized)


@pytest.fixture
def unpickling():
    pa.register_extension_type(_Unpickling(pickle.dumps(None)))
    yield _Unpickling
    pa.unregister_extension_type("tests.unpickling")


def test_an_extension_type_in_the_reference_is_read_as_what_it_is_stored_as(tmp_path, unpickling):
    _, folder = make_bundle(tmp_path)
    path, marker = folder / "reference.parquet", tmp_path / "marker"
    array = pa.ExtensionArray.from_storage(unpickling(Poison(marker).pickled()), pa.array([0.5]))
    pq.write_table(pa.table({"score": array}), path)
    pd.read_parquet(path)
    assert marker.exists(), "the poison works where nobody looks"
    marker.rmdir()

    assert Bundle.load(_renamed(folder)).reference()["score"].tolist() == [0.5]
    assert not marker.exists()


@pytest.mark.parametrize("noted", [b"not json", b'{"columns": [{"name": "score", "numpy_type": "os.system"}]}'])
def test_what_pandas_noted_in_the_reference_is_left_unread(tmp_path, noted):
    _, folder = make_bundle(tmp_path)
    path = folder / "reference.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"pandas": noted}), path)

    assert Bundle.load(_renamed(folder)).reference()["score"].tolist() == [0.5] * 50


def test_a_reference_that_is_no_parquet_is_named(tmp_path):
    _, folder = make_bundle(tmp_path)
    Poison(tmp_path / "marker").write(folder / "reference.parquet")
    bundle = Bundle.load(_renamed(folder))
    with pytest.raises(BundleError, match=r"reference\.parquet cannot be read"):
        bundle.reference()
    assert not (tmp_path / "marker").exists()


def test_every_exported_family_is_accepted(tmp_path):
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    matrix = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    for estimator in (HistGradientBoostingClassifier(max_iter=3), RandomForestClassifier(3)):
        onnx_bytes = export_onnx(estimator.fit(matrix, matrix[:, 0] > 0), 3)
        assert len(OnnxModel(onnx_bytes, PLAIN).predict(matrix)) == 200
