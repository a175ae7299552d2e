"""Which types a kept scikit-learn model may be made of: what our model families need, and nothing else.

Belongs here: the list, and what stands in a skops file that is not on it. Does not belong here: opening such a file.
Upstream: model families. Downstream: ``adapters.tracking``, which keeps a model, and ``adapters.estimators``, which
loads one.

A prefix such as ``sklearn.`` or ``numpy.`` would be no limit: ``numpy.f2py`` compiles, ``sklearn.datasets`` fetches and
unpickles. So types are named one by one, each under the way in which skops rebuilds it: what may be an object may not
be called as a function. Functions, bound methods, ``functools.partial`` and ``operator`` have no place at all.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_SKLEARN_OBJECTS = (
    "_loss.link.Interval",
    "_loss.link.LogitLink",
    "_loss.loss.HalfBinomialLoss",
    "compose._column_transformer.ColumnTransformer",
    "dummy.DummyClassifier",
    "ensemble._forest.ExtraTreesClassifier",
    "ensemble._forest.RandomForestClassifier",
    "ensemble._gb.GradientBoostingClassifier",
    "ensemble._hist_gradient_boosting.binning._BinMapper",
    "ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "impute._base.SimpleImputer",
    "linear_model._logistic.LogisticRegression",
    "pipeline.Pipeline",
    "preprocessing._data.MaxAbsScaler",
    "preprocessing._data.MinMaxScaler",
    "preprocessing._data.QuantileTransformer",
    "preprocessing._data.RobustScaler",
    "preprocessing._data.StandardScaler",
    "preprocessing._discretization.KBinsDiscretizer",
    "preprocessing._encoders.OneHotEncoder",
    "preprocessing._encoders.OrdinalEncoder",
    "preprocessing._label.LabelEncoder",
    "preprocessing._polynomial.PolynomialFeatures",
    "tree._classes.DecisionTreeClassifier",
    "tree._classes.DecisionTreeRegressor",
    "tree._classes.ExtraTreeClassifier",
)
_NUMBERS = ("bool", "float32", "float64", "int32", "int64", "uint8", "uint32", "uint64")

ALLOWED_TYPES: Mapping[str, frozenset[str]] = {
    "DefaultDictNode": frozenset({"collections.defaultdict"}),
    "DictNode": frozenset({"builtins.dict"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset({"sklearn._loss._loss.CyHalfBinomialLoss"}),
    "DTypeNode": frozenset({"numpy.dtype"}),
    "NdArrayNode": frozenset({"numpy.ndarray", *(f"numpy.{name}" for name in _NUMBERS)}),
    "ObjectNode": frozenset(
        {*(f"sklearn.{name}" for name in _SKLEARN_OBJECTS), "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"}
    ),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset(
        {
            *(f"builtins.{name}" for name in ("bool", "float", "int", "str")),
            *(f"numpy.{name}" for name in _NUMBERS),
            "collections.OrderedDict",
        }
    ),
}
"""Types by the name of the skops node that rebuilds them."""

TYPE_NAMES = tuple(sorted(set().union(*ALLOWED_TYPES.values())))


def foreign_types(schema: object) -> list[str]:
    """What the schema of a skops file names that is not allowed, as ``type (node)``, sorted.

    >>> foreign_types({"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": []})
    []
    >>> foreign_types([{"__loader__": "TypeNode", "__module__": "os", "__class__": "system"}])
    ['os.system (TypeNode)']
    """
    found = {
        f"{node.get('__module__')}.{node.get('__class__')} ({node.get('__loader__')})"
        for node in _nodes(schema)
        if not _is_allowed(node)
    }
    return sorted(found)


def _is_allowed(node: Mapping[str, Any]) -> bool:
    loader, name = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
    return isinstance(loader, str) and name in ALLOWED_TYPES.get(loader, ())


def _nodes(value: object) -> Iterator[Mapping[str, Any]]:
    """Every mapping within that names a node or a type, wherever it stands: a forged schema keeps to no form."""
    if isinstance(value, dict):
        if {"__loader__", "__module__", "__class__"} & value.keys():
            yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)
