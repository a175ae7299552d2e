"""A simulator that breaks a promise is found; one that keeps them all meets the whole contract."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import pytest

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.testing.contract import use_case_contract
from shadow_platform_tests.testing.simulated import DEFAULT, Shop, simulated
from shadow_platform_tests.testing.test_rules import hold

TestSoundSimulator = use_case_contract(simulated(), n_entities=60)


class DeafToItsSeed(Shop):
    """Every seed plays the same."""

    def __init__(self, plan: SimulationPlan) -> None:
        super().__init__(plan.model_copy(update={"seed": 0}))


class DriftsFromTheBeginning(Shop):
    """Drift is felt before its start."""

    def __init__(self, plan: SimulationPlan) -> None:
        drifts = tuple(drift.model_copy(update={"start": self.first_day()}) for drift in plan.drifts or ())
        super().__init__(plan.model_copy(update={"drifts": drifts}))


class Unmoved(Shop):
    """No drift is ever felt."""

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        return Shop(self.plan.model_copy(update={"drifts": ()})).received_on(day)


class Remembers(Shop):
    """A plan opened again plays something else."""

    n_opened = 0

    def __init__(self, plan: SimulationPlan) -> None:
        Remembers.n_opened += 1
        super().__init__(plan.model_copy(update={"seed": plan.seed + Remembers.n_opened}))


class KnowsOnlyBuyers(Shop):
    """The truth leaves requests out."""

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        truth = super().bayes(start, end)
        return truth[truth["label"]]


class LiesAboutTheLabel(Shop):
    """One label is not the truth."""

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        truth = super().bayes(start, end)
        return truth.assign(label=truth["label"].where(truth.index != 0, ~truth["label"]))


class TooSure(Shop):
    """Outcomes are rarer than it says."""

    def bayes(self, start: date, end: date) -> pd.DataFrame:
        return super().bayes(start, end).assign(probability=0.9)


PLAYS_ANOTHER = replace(simulated(), source=lambda: Shop(DEFAULT.model_copy(update={"seed": 9})))


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("the_source_plays_the_default_plan", PLAYS_ANOTHER),
        ("the_same_seed", simulated(DeafToItsSeed)),
        ("the_same_seed", simulated(Remembers)),
        ("drift_moves_nothing", simulated(DriftsFromTheBeginning)),
        ("drift_moves_nothing", simulated(Unmoved)),
        ("the_truth_names", simulated(KnowsOnlyBuyers)),
        ("the_truth_names", simulated(LiesAboutTheLabel)),
        ("the_true_probabilities", simulated(TooSure)),
    ],
)
def test_a_rule_finds_the_simulator_that_breaks_it(rule: str, broken: UseCase) -> None:
    hold(simulated(), rule)
    with pytest.raises(AssertionError):
        hold(broken, rule)
