"""A kept model is loaded when it is made of what our families need; everything else is refused before it runs."""

import functools
import io
import json
import operator
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler

from shadow_platform.adapters.estimators import load_estimator
from shadow_platform.adapters.tracking import trusted_types
from shadow_platform.contracts.errors import BundleError, UseCaseError
from shadow_platform.contracts.estimator_types import ALLOWED_TYPES, foreign_types
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.poison import Poison, forged_skops, node, text

MATRIX = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
MATRIX[:, 2] = np.arange(300) % 3
LABELS = MATRIX[:, 0] > 0

FAMILIES: dict[str, Any] = {
    "linear": make_pipeline(
        ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(sparse_output=False), [2])]),
        LogisticRegression(class_weight={False: 1.0, True: 3.0}),
    ),
    "boosting": HistGradientBoostingClassifier(max_iter=3, monotonic_cst=[1, 0, -1], early_stopping=True),
    "forest": RandomForestClassifier(3, class_weight="balanced"),
    "extra trees": ExtraTreesClassifier(3),
    "prepared": make_pipeline(
        SimpleImputer(), KBinsDiscretizer(3, encode="onehot-dense"), OrdinalEncoder(), LogisticRegression()
    ),
}


def _kept(path: Path, estimator: Any) -> Path:
    skops.io.dump(estimator, path)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_ours_answers_as_it_did(tmp_path, name):
    estimator = FAMILIES[name].fit(MATRIX, LABELS)
    assert set(trusted_types(estimator)) <= set().union(*ALLOWED_TYPES.values())

    loaded = load_estimator(_kept(tmp_path / "model.skops", estimator))
    np.testing.assert_array_equal(loaded.predict_proba(MATRIX), estimator.predict_proba(MATRIX))


@pytest.mark.parametrize("name", ["flights", "churn", "fraud", "credit"])
def test_every_model_of_every_shipped_use_case_can_be_kept_and_loaded(tmp_path, name):
    use_case = load_use_case(name)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, len(use_case.features))).astype(np.float32)
    n_levels = {feature.name: 3 for feature in use_case.features if feature.kind == "categorical"}
    for place, feature in enumerate(use_case.features):
        if feature.kind == "categorical":
            matrix[:, place] = rng.integers(0, 4, 400)
    for spec in use_case.models:
        estimator = spec.build(use_case.features, n_levels, 0, **spec.parameters)
        estimator.fit(matrix, matrix[:, 0] > 0)
        trusted_types(estimator)
        loaded = load_estimator(_kept(tmp_path / "model.skops", estimator))
        np.testing.assert_array_equal(loaded.predict_proba(matrix), estimator.predict_proba(matrix))


def test_lightgbm_answers_as_it_did(tmp_path):
    from lightgbm import LGBMClassifier

    estimator = LGBMClassifier(n_estimators=3, verbose=-1, monotone_constraints=[1, 0, 0]).fit(MATRIX, LABELS)
    loaded = load_estimator(_kept(tmp_path / "model.skops", estimator))
    np.testing.assert_array_equal(
        loaded.predict_proba(MATRIX),
        np.asarray(estimator.predict_proba(MATRIX)),
    )


class Foreign(LogisticRegression):  # type: ignore[misc]
    """A model of nobody we know."""


def _with(**attributes: Any) -> LogisticRegression:
    estimator = LogisticRegression()
    for name, value in attributes.items():
        setattr(estimator, name, value)
    return estimator


OBJECTS: dict[str, tuple[Any, str]] = {
    "class of ours": (Foreign(), "Foreign"),
    "partial": (_with(C=functools.partial(np.add, 1)), r"functools\.partial \(PartialNode\)"),
    "partial of a caller": (_with(C=functools.partial(operator.methodcaller("run"))), "PartialNode"),
    "method caller": (_with(C=operator.methodcaller("fit")), r"operator\.methodcaller \(OperatorFuncNode\)"),
    "bound method": (_with(C=LogisticRegression().fit), "MethodNode"),
    "function of numpy": (_with(C=np.load), r"numpy\.load \(FunctionNode\)"),
    "function of scikit-learn": (FunctionTransformer(joblib.load), r"joblib.*load \(FunctionNode\)"),
    "ufunc": (_with(C=np.add), "FunctionNode"),
    "in an array of objects": (_with(C=np.array([1, functools.partial(np.add, 1)], dtype=object)), "PartialNode"),
    "in a dict in a list": (_with(C=[{"a": (Foreign(),)}]), "Foreign"),
    "type": (_with(C=Path), r"pathlib\.Path \(TypeNode\)"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_of_another_type_is_neither_kept_nor_loaded(tmp_path, name):
    estimator, found = OBJECTS[name]
    with pytest.raises(UseCaseError, match=found):
        trusted_types(estimator)
    with pytest.raises(BundleError, match=rf"{found}.*which none of our model families needs: it was not loaded"):
        load_estimator(_kept(tmp_path / "model.skops", estimator))


def _calls(function: str, *arguments: Any) -> list[dict[str, Any]]:
    """Nodes that call a function when they are rebuilt, each by another of skops's ways."""
    listed = node("TupleNode", "builtins.tuple", [text(argument) for argument in arguments])
    nothing = node("DictNode", "builtins.dict", {}, key_types=node("ListNode", "builtins.list", []))
    module, _, kind = function.rpartition(".")
    return [
        node("ConstructorFromReduceNode", function, listed),
        node("LossNode", function, nothing, __reduce__={"args": listed}),
        node("OperatorFuncNode", "operator.methodcaller", attrs=listed),
        node("RandomStateNode", function, nothing),
        node("ListNode", function, [text(arguments[0])]),
        node("DictNode", "builtins.dict", {arguments[0]: text(1)}, key_types=node("ListNode", "builtins.list", [])),
        node("FunctionNode", "numpy.add", {"module_path": module, "function": kind}),
        node("NdArrayNode", function, type="numpy", file="a.npy"),
        node("ObjectNode", function, nothing),
        node("MethodNode", "builtins.str", {"func": "format", "obj": text("x")}),
        node("TypeNode", function),
        node("NoSuchNode", function, listed),
    ]


def _forged(call: dict[str, Any], protocol: int) -> bytes:
    return forged_skops({**call, "protocol": protocol}, {"a.npy": pickle.dumps(1)})


@pytest.mark.parametrize("protocol", [0, 1, skops.io._protocol.PROTOCOL, 99])
@pytest.mark.parametrize("place", range(len(_calls("os.mkdir", "x"))))
@pytest.mark.parametrize("depth", [0, 2])
def test_a_forged_schema_calls_nothing(tmp_path, place, protocol, depth):
    marker = tmp_path / "marker"
    call = _calls("os.mkdir", str(marker))[place]
    for _ in range(depth):
        call = node("ListNode", "builtins.list", [call])
    file = tmp_path / "model.skops"
    file.write_bytes(_forged(call, protocol))

    with pytest.raises(BundleError):
        load_estimator(file)
    assert not marker.exists()


def test_an_allowed_type_may_not_be_called_as_what_it_is_not():
    for name in ("sklearn.pipeline.Pipeline", "numpy.ndarray", "builtins.dict", "collections.OrderedDict"):
        for loader in ("ConstructorFromReduceNode", "FunctionNode", "ListNode", "LossNode", "TreeNode"):
            assert foreign_types(node(loader, name, [])) == [f"{name} ({loader})"]


@pytest.mark.parametrize("schema", [{"__loader__": ["ObjectNode"]}, {"__class__": "system", "__module__": "os"}])
def test_a_node_without_a_proper_name_is_foreign(schema):
    assert foreign_types({"content": [[{"deep": schema}]]}) != []


def test_what_a_namesake_of_an_array_holds_is_not_unpickled(tmp_path):
    marker = tmp_path / "marker"
    buffer = io.BytesIO()
    np.save(buffer, np.array([Poison(marker)], dtype=object), allow_pickle=True)
    attributes = node(
        "DictNode",
        "builtins.dict",
        {"C": node("NdArrayNode", "numpy.ndarray", type="numpy", file="a.npy")},
        key_types=node("ListNode", "builtins.list", [node("TypeNode", "builtins.str")]),
    )
    estimator = node("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression", attributes)
    file = tmp_path / "model.skops"
    file.write_bytes(forged_skops(estimator, {"a.npy": buffer.getvalue()}))

    with pytest.raises(BundleError, match="cannot be loaded"):
        load_estimator(file)
    assert not marker.exists()


def _joblib(value: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.cloudpickle", "model.skops", "python_model.pkl"])
@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps, _joblib])
def test_a_pickle_under_any_name_is_refused_unread(tmp_path, name, dumps):
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(dumps(Poison(marker)))
    with pytest.raises(BundleError, match=r"expected a \.skops file|is no skops file"):
        load_estimator(tmp_path / name)
    assert not marker.exists()


def test_a_folder_is_read_by_its_skops_file_alone_whatever_mlmodel_says(tmp_path):
    marker = tmp_path / "marker"
    _kept(tmp_path / "model.skops", FAMILIES["forest"].fit(MATRIX, LABELS))
    Poison(marker).write(tmp_path / "model.pkl")
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n"
        "  python_function:\n    loader_module: os\n    model_path: model.pkl\n"
    )
    assert isinstance(load_estimator(tmp_path), RandomForestClassifier)
    assert not marker.exists()

    (tmp_path / "model.skops").unlink()
    with pytest.raises(BundleError, match=r"model\.skops cannot be read .* the folder holds MLmodel, model\.pkl"):
        load_estimator(tmp_path)
    assert not marker.exists()


def test_types_that_the_file_itself_asks_to_trust_are_not_trusted(tmp_path):
    _kept(tmp_path / "model.skops", Foreign())
    (tmp_path / "MLmodel").write_text(f"flavors:\n  sklearn:\n    skops_trusted_types: [{__name__}.Foreign]\n")
    with pytest.raises(BundleError, match="Foreign"):
        load_estimator(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", forged_skops({}), forged_skops({"content": []}), forged_skops(text([1]))]
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.skops (is no skops file|cannot be loaded|holds)"):
        load_estimator(tmp_path)


def test_a_schema_too_deep_to_be_looked_through_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "[" * 100_000 + "]" * 100_000)
    with pytest.raises(BundleError, match="is no skops file"):
        load_estimator(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_of_two_schemas_is_the_one_that_is_judged(tmp_path):
    good = json.loads(zipfile.ZipFile(io.BytesIO(skops.io.dumps(LogisticRegression()))).read("schema.json"))
    bad = _calls("os.mkdir", str(tmp_path / "marker"))[0]
    for first, second in ((good, bad), (bad, good)):
        with zipfile.ZipFile(tmp_path / "m.skops", "w") as archive:
            for schema in (first, second):
                archive.writestr("schema.json", json.dumps({**schema, "protocol": skops.io._protocol.PROTOCOL}))
        if second is good:
            assert isinstance(load_estimator(tmp_path / "m.skops"), LogisticRegression)
        else:
            with pytest.raises(BundleError, match=r"os\.mkdir"):
                load_estimator(tmp_path / "m.skops")
    assert not (tmp_path / "marker").exists()
