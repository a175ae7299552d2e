"""Search for hyperparameters (optuna) inside a budget of seconds or trials.

Belongs here: which values are tried next, when a trial is given up, when the search ends. Does not belong here: what is
minimized (``domain.training.Objective``, passed in), which values may be tried (``ModelSpec.search``). Upstream:
training, when a run asks for it. Downstream: the parameters of the training that follows; MLflow shows the trials.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Choice, Parameter, Range

if TYPE_CHECKING:
    import optuna

Losses = Callable[[Mapping[str, Parameter]], Iterator[float]]
Progress = Callable[[str], None]

# Trials that are finished, before the worse half of the following ones is given up.
TRIALS_BEFORE_PRUNING = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        parameters: the best, by name: those searched only.
        log_loss: theirs, never above ``default_log_loss``, that of the family's own.
        trials: one row a trial: ``trial, outcome (complete or pruned), log_loss`` (of a pruned one over the blocks it
            saw; not finite where that is why it was given up), ``seconds`` and one column a hyperparameter. The first
            is the family's own.
    """

    parameters: dict[str, Parameter]
    log_loss: float
    default_log_loss: float
    n_trials: int
    trials: pd.DataFrame


def search(
    losses: Losses,
    space: Mapping[str, Range | Choice],
    defaults: Mapping[str, Parameter],
    seed: int,
    n_trials: int | None = None,
    timeout_s: float | None = None,
    progress: Progress = logger.info,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Best of the hyperparameters tried; the defaults are tried first, so it is never worse than they are.

    The same seed and number of trials give the same result, unless seconds run out first. The defaults are judged
    whatever they take; of any other trial only the block at work may outlast the budget, and a trial whose last block
    that was counts.

    Args:
        losses: log loss on each block, in time order, of given hyperparameters; their mean is minimized.
        defaults: the family's own hyperparameters.
        progress: is told each trial in a line.
        clock: seconds that go by.

    Raises:
        UseCaseError: nothing to search, no budget, a default outside what may be tried, or one that cannot be judged.
    """
    import optuna

    _check(space, defaults, n_trials, timeout_s)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING),
    )
    study.enqueue_trial({name: defaults[name] for name in space})
    deadline = clock() + (float("inf") if timeout_s is None else timeout_s)

    def judged(trial: optuna.Trial) -> float:
        last = study.get_trials(deepcopy=False)[0].last_step if trial.number > 0 else None
        found: list[float] = []
        for block, loss in enumerate(losses(_suggested(trial, space))):
            found.append(loss)
            trial.report(float(np.mean(found)), block)
            if last is None:
                _check_default(loss, block)
            elif not np.isfinite(loss) or (block < last and (clock() > deadline or trial.should_prune())):
                raise optuna.TrialPruned
        return float(np.mean(found))

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        progress(_line(study, trial))

    study.optimize(judged, n_trials=1, callbacks=[tell])  # by itself: no budget is too small for the defaults
    more = None if n_trials is None else n_trials - 1
    study.optimize(judged, n_trials=more, timeout=max(0.0, deadline - clock()), callbacks=[tell])
    return _result(study)


def _check(
    space: Mapping[str, Range | Choice],
    defaults: Mapping[str, Parameter],
    n_trials: int | None,
    timeout_s: float | None,
) -> None:
    if not space:
        raise UseCaseError("search has no hyperparameters; expected at least one that may be changed; name one")
    if n_trials is None and timeout_s is None:
        raise UseCaseError("search has no end; expected a number of trials, of seconds, or both; give one")
    if n_trials is not None and n_trials < 1:
        raise UseCaseError(f"search has {n_trials} trials; expected at least 1, which judges the defaults; give more")
    for name, allowed in space.items():
        if name not in defaults or not _holds(allowed, defaults[name]):
            raise UseCaseError(
                f"hyperparameter {name!r} is searched in {allowed}, but its default is {defaults.get(name)!r}; "
                "expected a default inside; correct ModelSpec.search or the family's parameters"
            )


def _check_default(loss: float, block: int) -> None:
    if not np.isfinite(loss):
        raise UseCaseError(
            f"log loss of the default hyperparameters is {loss} on block {block}; expected a finite number, with which "
            "others can be compared; correct the family's parameters or the features"
        )


def _holds(allowed: Range | Choice, value: Parameter) -> bool:
    if isinstance(allowed, Choice):
        return value in allowed.values
    is_number = isinstance(value, int if allowed.is_integer else int | float) and not isinstance(value, bool)
    return is_number and allowed.low <= float(value) <= allowed.high


def _suggested(trial: "optuna.Trial", space: Mapping[str, Range | Choice]) -> dict[str, Parameter]:
    return {name: _value(trial, name, allowed) for name, allowed in space.items()}


def _value(trial: "optuna.Trial", name: str, allowed: Range | Choice) -> Parameter:
    if isinstance(allowed, Choice):
        return cast(Parameter, trial.suggest_categorical(name, allowed.values))
    if allowed.is_integer:
        return trial.suggest_int(name, int(allowed.low), int(allowed.high), log=allowed.is_log)
    return trial.suggest_float(name, allowed.low, allowed.high, log=allowed.is_log)


def _line(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> str:
    values = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in trial.params.items()
    )
    loss = "given up" if trial.value is None else f"log loss {trial.value:.5f}"
    default = study.trials[0].value
    return f"trial {trial.number}: {loss} (best {study.best_value:.5f}, default {default:.5f}): {values}"


def _result(study: "optuna.Study") -> SearchResult:
    best, default = study.best_trial, study.trials[0]
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.number,
            "outcome": trial.state.name.lower(),
            "log_loss": trial.value if trial.value is not None else trial.intermediate_values[trial.last_step or 0],
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            **trial.params,
        }
        for trial in study.trials
    ]
    return SearchResult(
        parameters=dict(best.params),
        log_loss=float(best.values[0]),
        default_log_loss=float((default.values or [np.nan])[0]),
        n_trials=len(study.trials),
        trials=pd.DataFrame(rows),
    )
