"""With which hyperparameters a family is fitted: its own, what the policy asks for, what was given.

Belongs here: which of them wins, and whether what a person gave can be one. Does not belong here: which values are good
(``search``, ``early_stop``). Upstream: model family, training policy, costs, run configuration. Downstream: fitting,
search.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import DecisionCosts, ModelSpec, Parameter, TrainingPolicy

POSITIVE_WEIGHT = "positive_weight"

Labels = npt.NDArray[np.bool_]

_TYPES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}


def hyperparameters(
    spec: ModelSpec,
    policy: TrainingPolicy,
    costs: DecisionCosts | None,
    labels: Labels,
    given: Mapping[str, Parameter],
) -> dict[str, Parameter]:
    """Hyperparameters by name: those given, else what the policy asks for, else the family's own.

    Args:
        labels: of the rows that the model is fitted on.
    """
    weight = positive_weight(policy, costs, labels)
    return {**spec.hyperparameters, **({} if weight is None else {POSITIVE_WEIGHT: weight}), **given}


def accepted(spec: ModelSpec, given: Mapping[str, Any]) -> dict[str, Parameter]:
    """What a person gave, of the types that the family's own have: a whole number stands for a float.

    Raises:
        UseCaseError: an unknown name, where the family tells its names, or a value of another type.
    """
    known = spec.hyperparameters
    if hasattr(spec.build, "parameters") and (unknown := sorted(given.keys() - known.keys())):
        raise UseCaseError(
            f"model {spec.name!r} has no hyperparameter {unknown[0]!r} (given: {given[unknown[0]]!r}); it has: "
            f"{', '.join(sorted(known))}; correct the name"
        )
    values = {name: _accepted(spec, name, value, known.get(name)) for name, value in given.items()}
    weight = values.get(POSITIVE_WEIGHT, 1.0)
    if not isinstance(weight, float) or weight <= 0:
        raise _refused(spec, POSITIVE_WEIGHT, weight, "a number above 0", "give what a positive row weighs")
    return values


def _accepted(spec: ModelSpec, name: str, value: Any, own: Parameter | None) -> Parameter:
    own = 1.0 if name == POSITIVE_WEIGHT else own
    if type(value) is int and isinstance(own, float):
        value = float(value)
    types = get_args(Parameter) if own is None else (type(own),)
    if type(value) not in types or (isinstance(value, float) and not isfinite(value)):
        names = " or ".join(_TYPES[kind] for kind in types)
        advice = "give such a value" if own is None else f"the family's own is {own!r}"
        raise _refused(spec, name, value, names, advice)
    parameter: Parameter = value
    return parameter


def _refused(spec: ModelSpec, name: str, value: object, expected: str, advice: str) -> UseCaseError:
    return UseCaseError(
        f"hyperparameter {name!r} of model {spec.name!r} is {value!r} ({type(value).__name__}); "
        f"expected {expected}; {advice}"
    )


def positive_weight(policy: TrainingPolicy, costs: DecisionCosts | None, labels: Labels) -> float | None:
    """What a positive row weighs in fitting; ``None``: the policy leaves it to the family.

    Raises:
        UseCaseError: the policy weighs by costs, and there are none.
    """
    if policy.positive_weight is None:
        return None
    if policy.positive_weight == "balanced":
        return float((~labels).sum() / labels.sum())
    if costs is None:
        raise UseCaseError(
            "training policy has positive_weight 'costs', but the use case declares no costs; expected DecisionCosts "
            "in UseCase.costs; declare them, or take 'balanced' or None"
        )
    return costs.false_negative / costs.false_positive
