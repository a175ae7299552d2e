"""What is played: a use case, its world, a policy and a span of days.

Upstream: declarations of the use case. Downstream: ``world``, ``journey``.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date, timedelta

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.simulation import Simulation, SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.time_machine.policies import POLICIES, Policy

DAY = timedelta(days=1)
STEP_DAYS = 7
# Before the days of the demo, so that the time before its story begins is seen as well.
LEAD = timedelta(weeks=4)


@dataclass(frozen=True, slots=True)
class Trip:
    """One journey; the same trip gives the same bytes.

    Attributes:
        use_case: as played: its days go on as long as the trip does, and the family that is trained comes first.
        plan: complete plan of the simulation; ``None`` when the events are real.
        start: first day with answers; the first model knows what was known as it began.
        n_days: days with answers.
        step_days: days between two looks.
        model: family of every model that is trained.
    """

    use_case: UseCase
    policy: Policy
    plan: SimulationPlan | None
    start: date
    n_days: int
    step_days: int
    model: str

    @property
    def end(self) -> date:
        """First day behind the trip."""
        return self.start + self.n_days * DAY

    @property
    def first_event_day(self) -> date:
        """First day whose events are needed: all of a simulation, which tells at first what was before."""
        if self.plan is not None:
            return self.use_case.first_partition
        lookback = max((view.lookback for view in self.use_case.views), default=timedelta(0))
        return max(self.use_case.first_partition, self.start - self.use_case.training.window - lookback - DAY)

    def steps(self) -> list[tuple[date, date]]:
        """First day of each step, and the first one behind it."""
        starts = [self.start + n * DAY for n in range(0, self.n_days, self.step_days)]
        return list(zip(starts, [*starts[1:], self.end], strict=True))

    @property
    def world(self) -> str:
        """Fingerprint of what has to be landed; trips that differ in policy or length alone share it."""
        plan = self.plan and self.plan.model_copy(update={"n_days": None}).model_dump_json()
        told = (self.use_case.name, plan, self.first_event_day)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:12]

    @property
    def told(self) -> dict[str, object]:
        """The trip as plain values."""
        return {
            "use_case": self.use_case.name,
            "policy": self.policy.name,
            "start": self.start.isoformat(),
            "n_days": self.n_days,
            "step_days": self.step_days,
            "model": self.model,
            "plan": self.plan.model_dump(mode="json") if self.plan else None,
        }


def plan_trip(
    use_case: UseCase,
    policy: str,
    plan: SimulationPlan | None = None,
    start: date | None = None,
    n_days: int = 180,
    step_days: int = STEP_DAYS,
    model: str | None = None,
) -> Trip:
    """A trip that can be played.

    Args:
        plan: of the simulation; left out: the use case's default.
        start: left out: four weeks before the days of the use case's demo, or once a training window is full.

    Raises:
        ShadowPlatformError: an unknown policy or model, or days that have no events.
    """
    if policy not in POLICIES:
        raise ShadowPlatformError(f"policy {policy!r} is unknown; known: {', '.join(POLICIES)}")
    if n_days < 1 or step_days < 1:
        raise ShadowPlatformError(f"{n_days} days in steps of {step_days} cannot be played; give at least 1 of each")
    start = start or _usual_start(use_case)
    complete = None
    if use_case.simulation is not None:
        complete = (plan or SimulationPlan()).or_default(use_case.simulation.default)
        if use_case.simulation.can_go_on:
            complete = _long_enough(use_case.simulation, complete, start + n_days * DAY + use_case.label.horizon)
    last = use_case.simulation.open(complete).last_day() if use_case.simulation and complete else _last_day(use_case)
    possible = (last + DAY - start).days
    if n_days > possible or start <= use_case.first_partition:
        raise ShadowPlatformError(
            f"{use_case.name} has events from {use_case.first_partition} to {last}, so that from {start} on at most "
            f"{max(possible, 0)} days can be played, not {n_days}; give fewer --days, or another --start"
        )
    family = use_case.models[0].name if model is None else model
    if family not in {spec.name for spec in use_case.models}:
        known = ", ".join(spec.name for spec in use_case.models)
        raise ShadowPlatformError(f"model {family!r} is unknown in use case {use_case.name}; known: {known}")
    # The first family is the one that the first deployment takes.
    models = tuple(sorted(use_case.models, key=lambda spec: spec.name != family))
    played = replace(use_case, last_partition=last, models=models)
    return Trip(played, POLICIES[policy], complete, start, n_days, step_days, family)


def _long_enough(simulation: Simulation, plan: SimulationPlan, end: date) -> SimulationPlan:
    """The plan, of a world that lasts at least until ``end``: the truth about the last answers comes later."""
    world = simulation.open(plan)
    missing = (end - world.last_day()).days - 1
    if missing <= 0:
        return plan
    return plan.model_copy(update={"n_days": (world.last_day() - world.first_day()).days + 1 + missing})


def _usual_start(use_case: UseCase) -> date:
    if use_case.demo is None:
        return use_case.first_partition + use_case.training.window
    return max(use_case.first_partition + DAY, use_case.demo.serve_from - LEAD)


def _last_day(use_case: UseCase) -> date:
    return use_case.last_partition or use_case.source().last_day()
