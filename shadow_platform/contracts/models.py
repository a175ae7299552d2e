"""Model families: what a use case says of a model, and what training asks of it.

Belongs here: declarations. Does not belong here: pipelines (``use_case_kit.models``), fitting (domain). Upstream:
``contracts.use_case`` offers them beside everything else a use case declares. Downstream: the training stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shadow_platform.contracts.use_case import Feature

Parameter = bool | int | float | str


class Estimator(Protocol):
    """What training needs of a scikit-learn pipeline."""

    def fit(self, x: Any, y: Any) -> Any:
        """Fit on a float32 matrix of shape (rows, features) and a boolean vector."""

    def predict_proba(self, x: Any) -> Any:
        """Return probabilities of shape (rows, 2)."""


class Build(Protocol):
    """Makes an unfitted pipeline for columns in the order of ``UseCase.features``."""

    def __call__(
        self, features: Sequence["Feature"], n_levels: Mapping[str, int], seed: int, /, **parameters: Parameter
    ) -> Estimator:
        """Return an unfitted pipeline.

        Args:
            features: the columns: categorical ones hold codes, numeric ones raw float32 values, already imputed.
            n_levels: each categorical's number of levels; code 0 means missing or unknown.
            parameters: hyperparameters that differ from the builder's own, and ``positive_weight`` when positive rows
                weigh more than negative ones; an unknown name raises ``UseCaseError``.
        """


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers a search may choose, both ends included.

    Attributes:
        is_log: drawn evenly over the logarithm.
    """

    low: float
    high: float
    is_log: bool = False
    is_integer: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Values a search may choose."""

    values: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model family.

    Attributes:
        parameters: hyperparameters that differ from the builder's own.
        search: what a search may change, by the name of the hyperparameter, each of which has a value in
            ``hyperparameters`` that lies in its range; empty: nothing is searched.
        iterations: name of the hyperparameter that counts additive steps (``max_iter``), which early stopping may
            lower; ``None``: the family cannot be stopped early.
    """

    name: str
    build: Build
    description: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    search: Mapping[str, Range | Choice] = field(default_factory=dict)
    iterations: str | None = None

    @property
    def hyperparameters(self) -> dict[str, Parameter]:
        """All that are known: the builder's own, if its attribute ``parameters`` tells them, and those that differ."""
        return {**getattr(self.build, "parameters", {}), **self.parameters}
