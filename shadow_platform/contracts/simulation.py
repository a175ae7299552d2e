"""Simulated sources of events, and the changes of their world that can be asked for.

Belongs here: what a simulation is told and what it can tell. Does not belong here: any simulated world
(``use_cases/<name>``). Upstream: nothing. Downstream: simulators, the resource that opens them, ``simulated_drift``.

A simulator writes the raw events a real source would. Nothing behind it may know that they are simulated: its truth is
for tests, benchmarks and the table ``simulated_drift`` alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

DriftKind = Literal["covariate", "label", "concept", "quality"]
DriftShape = Literal["sudden", "gradual", "seasonal"]


class DriftInjection(BaseModel):
    """One change of the simulated world.

    Attributes:
        kind: ``covariate`` (who comes changes), ``label`` (how often the outcome happens), ``concept`` (what leads to
            it) or ``quality`` (what is recorded of it: nulls, a unit, a renamed category).
        start: first day it is felt, UTC.
        size: strength at its height; 1 is the largest that is still believable.
        shape: ``sudden`` from the first day on, ``gradual`` over ``duration_days``, ``seasonal`` with that period.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: DriftKind
    start: date
    size: float = Field(default=0.5, gt=0.0, le=1.0)
    shape: DriftShape = "sudden"
    duration_days: int = Field(default=30, ge=1)

    def intensity(self, day: date) -> float:
        """Strength on a day, 0 to ``size``.

        >>> drift = DriftInjection(kind="concept", start=date(2024, 3, 1), size=0.8, shape="gradual", duration_days=4)
        >>> [round(drift.intensity(date(2024, 3, n)), 2) for n in (1, 2, 4, 9)], drift.intensity(date(2024, 2, 29))
        ([0.2, 0.4, 0.8, 0.8], 0.0)
        """
        passed = (day - self.start).days
        if passed < 0:
            return 0.0
        if self.shape == "gradual":
            return self.size * min(1.0, (passed + 1) / self.duration_days)
        if self.shape == "seasonal":
            return self.size * (1 - math.cos(2 * math.pi * passed / self.duration_days)) / 2
        return self.size


class SimulationPlan(BaseModel):
    """What a simulator plays: the same plan gives the same bytes.

    Attributes:
        n_entities: customers, users or applicants of the world; ``None``: as many as the use case plays by default.
        drifts: changes of the world; ``None``: those of the use case's own story, empty: none.
        n_days: length of the world, where ``Simulation.can_go_on``; ``None``: as the use case plays it. What happens
            on a day does not depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    n_entities: int | None = Field(default=None, ge=1)
    drifts: tuple[DriftInjection, ...] | None = None
    n_days: int | None = Field(default=None, ge=1)

    def or_default(self, default: "SimulationPlan") -> "SimulationPlan":
        """This plan with what it leaves open filled in."""
        return SimulationPlan(
            seed=self.seed,
            n_entities=self.n_entities or default.n_entities,
            drifts=default.drifts if self.drifts is None else self.drifts,
            n_days=self.n_days or default.n_days,
        )


class Simulator(Protocol):
    """An event source (``contracts.use_case.EventSource``) that plays a plan and knows its truth."""

    @property
    def plan(self) -> SimulationPlan:
        """The plan it plays, complete."""

    def first_day(self) -> date:
        """First day with events."""

    def last_day(self) -> date:
        """Last day with events."""

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, as JSON-ready mappings."""

    def bayes(self, start: date, end: date) -> Any:
        """True probability of the label of every request of ``[start, end)``, given the whole state of the world.

        Returns:
            A pandas frame ``subject_id, requested_at (UTC), probability, label`` with one row a request, also where
            the label stays hidden: the ceiling of every model, and the truth that estimates are held against.
        """


@dataclass(frozen=True, slots=True)
class Simulation:
    """How a use case is simulated.

    Attributes:
        open: opens the simulator on a complete plan; called only when events are landed.
        default: what is played unless told otherwise; its ``n_entities`` and ``drifts`` are set.
        entities: what ``n_entities`` counts, in the plural.
        effects: what a kind of drift changes in this world, in words.
        can_go_on: whether ``SimulationPlan.n_days`` makes the world longer.
    """

    open: Callable[[SimulationPlan], Simulator]
    default: SimulationPlan
    entities: str
    effects: Mapping[DriftKind, str]
    can_go_on: bool = False

    def simulator(self, plan: SimulationPlan | None = None) -> Simulator:
        """The simulator of a plan; what the plan leaves open is as by default."""
        return self.open(self.default if plan is None else plan.or_default(self.default))
