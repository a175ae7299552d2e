"""A derivation as the function of Feast's on-demand views, in a text from which any process can make it again.

Belongs here: the text, and what it calls. Does not belong here: what a derivation computes (``use_cases/<name>``), and
how it is called (``Derivation.derive``). Upstream: contracts. Downstream: ``declarations``, Feast.

Feast keeps a function in its registry as text and, where the text cannot be run, as pickled bytecode that belongs to
one version of Python. The text written here runs by itself: it names the derivation's function, whose source stands
below it for the reader, and so that a change of the function is a change of the definition.
"""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import feast
from feast.transformation.python_transformation import PythonTransformation

from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.records import FeatureValue
from shadow_platform.contracts.use_case import Derivation, Feature, FeatureKind

Columns = Mapping[str, Sequence[Any]]
_TEXT = """\
def {name}(columns):
    {description!r}
    from feature_repo.derivations import derived_columns
    from {module} import {function} as compute

    return derived_columns(compute, {inputs!r}, {kinds!r}, columns)


# The function that computes each row:
{source}
"""


class DeclaredTransformation(PythonTransformation):
    """A transformation whose features are declared.

    Feast infers features from a trial run with values of its own, which may well give none.
    """

    declared: list[feast.Field]

    def infer_features(self, *_trial: object, **_options: object) -> list[feast.Field]:
        """The declared features."""
        return self.declared


def transformation(
    derivation: Derivation, features: Sequence[Feature], fields: list[feast.Field]
) -> DeclaredTransformation:
    """The function that the derivation's text defines, with its features as Feast's fields."""
    text = source_text(derivation, features)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(text, namespace)
    made = DeclaredTransformation(namespace[derivation.name], text)
    made.declared = fields
    return made


def source_text(derivation: Derivation, features: Sequence[Feature]) -> str:
    """Python text that defines the derivation as a function of columns.

    Raises:
        FeatureStoreError: its function cannot be imported by name.
    """
    compute = derivation.compute
    if getattr(inspect.getmodule(compute), compute.__name__, None) is not compute:
        raise FeatureStoreError(
            f"derivation {derivation.name!r} is computed by {compute.__qualname__!r}, which cannot be imported by its "
            "name; define the function at the top of a module"
        )
    return _TEXT.format(
        name=derivation.name,
        description=f"{derivation.description}.",
        module=compute.__module__,
        function=compute.__name__,
        inputs=derivation.inputs,
        kinds={feature.name: feature.kind for feature in features},
        source=textwrap.indent(inspect.getsource(compute), "# ", lambda _: True).rstrip(),
    )


def derived_columns(
    compute: Callable[..., Mapping[str, FeatureValue]],
    inputs: tuple[str, ...],
    kinds: Mapping[str, FeatureKind],
    columns: Columns,
) -> dict[str, list[FeatureValue]]:
    """Columns of derived values, row by row as the platform derives them when it answers and trains."""
    derivation = Derivation("", "", inputs, compute)
    features = [Feature(name, "", kind) for name, kind in kinds.items()]
    rows = zip(*(columns[name] for name in inputs), strict=True)
    derived = [derivation.derive(features, dict(zip(inputs, row, strict=True))).values for row in rows]
    return {name: [values[name] for values in derived] for name in kinds}
