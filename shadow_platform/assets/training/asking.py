"""What a run asks of a model asset: which family, why, with which hyperparameters, searched for how long.

Belongs here: the run configuration, and its refusal before anything is read. Does not belong here: how a search or a
training is run. Upstream: the launchpad, sensors, schedules. Downstream: ``model``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

import dagster as dg

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Choice, ModelSpec, Parameter, Range, UseCase
from shadow_platform.domain import training

# Dagster shows the names of the members, which are what run configurations and tables hold.
Trigger = StrEnum("Trigger", ["bootstrap", "drift", "performance", "data", "schedule", "manual"])


class ModelConfig(dg.Config):
    """Which model, and why now.

    Attributes:
        model: name of one of the use case's models. Default: the first for the champion, the second for a challenger.
        trigger: what asked for the training. Default: bootstrap before the first deployment, manual afterwards.
        seed: of the model. Default: the training policy's.
        parameters: hyperparameters that differ from the family's own, by name; they are not searched.
        search_seconds: look for better hyperparameters for so long; 0: do not, unless ``search_trials`` is given.
            Where the training policy stops early, the number of iterations is not searched: it is chosen afterwards,
            and trials are compared at the family's own.
        search_trials: end the search after so many trials, whatever time is left.
    """

    model: str | None = None
    trigger: Trigger | None = None
    seed: int | None = None
    parameters: dict[str, Any] = {}
    search_seconds: float = 0.0
    search_trials: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, checked.

    Attributes:
        parameters: those given.
        search: what is searched; empty: nothing.
    """

    spec: ModelSpec
    parameters: dict[str, Parameter]
    search: Mapping[str, Range | Choice]


def asked(use_case: UseCase, default: ModelSpec, config: ModelConfig) -> Asked:
    """What a run configuration asks for; raises ``UseCaseError`` for what cannot be trained or searched."""
    spec = _family(use_case, config.model) if config.model else default
    if not (isfinite(config.search_seconds) and config.search_seconds >= 0):
        raise UseCaseError(
            f"search_seconds is {config.search_seconds}; expected 0 (no search) or more; give the seconds to search"
        )
    if config.search_trials is not None and config.search_trials < 1:
        raise UseCaseError(
            f"search_trials is {config.search_trials}; expected at least 1, which judges the defaults; give more, or "
            "none and no search_seconds for no search"
        )
    parameters = training.accepted(spec, config.parameters)
    is_searched = config.search_seconds > 0 or config.search_trials is not None
    return Asked(spec, parameters, _searched(use_case, spec, parameters) if is_searched else {})


def _family(use_case: UseCase, name: str) -> ModelSpec:
    try:
        return use_case.model(name)
    except KeyError as error:
        raise UseCaseError(f"{error.args[0]}; give one of these as model, or none for the role's own") from error


def _searched(use_case: UseCase, spec: ModelSpec, parameters: Mapping[str, Parameter]) -> dict[str, Range | Choice]:
    """What is left to search; raises ``UseCaseError`` where nothing is."""
    if not spec.search:
        raise UseCaseError(
            f"model {spec.name!r} declares nothing to search; expected hyperparameters in ModelSpec.search; declare "
            "them, or train without search_seconds and search_trials"
        )
    settled = {*parameters}
    if spec.iterations is not None and use_case.training.early_stop_share is not None:
        settled.add(spec.iterations)  # early stop chooses it: a value of the search would switch early stop off
    left = {name: allowed for name, allowed in spec.search.items() if name not in settled}
    if not left:
        raise UseCaseError(
            f"model {spec.name!r} may search {', '.join(spec.search)}, all of which are given in parameters or chosen "
            "by early stop; expected at least one that is left; give fewer, or train without search"
        )
    return left
