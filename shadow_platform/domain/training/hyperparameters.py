"""With which hyperparameters a family is fitted: its own, what the policy asks for, what was given.

Belongs here: which of them wins. Does not belong here: which values are good (``search``, ``early_stop``). Upstream:
model family, training policy, costs. Downstream: fitting, search.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import DecisionCosts, ModelSpec, Parameter, TrainingPolicy

POSITIVE_WEIGHT = "positive_weight"

Labels = npt.NDArray[np.bool_]


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
