"""The simulated world that a home plays: its size, its seed, its drift.

Upstream: the use case's simulation, raw events that were landed. Downstream: the plan file, which events come from.
"""

from datetime import date, datetime

from rich.console import Console
from rich.table import Table

from shadow_platform.contracts.errors import ShadowPlatformError, UseCaseError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.simulation import DriftInjection, Simulation, SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

NO_DRIFT = "none"


def planned(
    use_case: UseCase,
    drift: str | None,
    start: datetime | None,
    size: float,
    shape: str,
    duration_days: int,
    entities: int | None,
    seed: int,
) -> SimulationPlan:
    """Complete plan of some options; raises ``ShadowPlatformError`` for a use case with real events or a bad value."""
    simulation = _simulation(use_case)
    drifts: tuple[DriftInjection, ...] | None
    if drift is None or drift == NO_DRIFT:
        drifts = None if drift is None else ()
    else:
        if not 0 < size <= 1:
            raise ShadowPlatformError(f"--drift-size {size:g} is not in (0, 1]; 1 is the strongest that is believable")
        first = start.date() if start else _start_of_story(use_case)
        if first < use_case.first_partition:
            raise ShadowPlatformError(
                f"--drift-start {first} lies before the first events of {use_case.name}, of "
                f"{use_case.first_partition}: there is nothing to drift from; choose a later day"
            )
        drifts = (
            DriftInjection.model_validate(
                {"kind": drift, "start": first, "size": size, "shape": shape, "duration_days": duration_days}
            ),
        )
    return SimulationPlan(seed=seed, n_entities=entities, drifts=drifts).or_default(simulation.default)


def choose(platform: PlatformResource, use_case: UseCase, plan: SimulationPlan) -> None:
    """Let this home play the plan from now on.

    Raises:
        ShadowPlatformError: events that this plan would give otherwise have already been landed.
    """
    current = platform.simulation_plan(use_case)
    if plan == current:
        return
    landed = _days_landed(platform.layout, use_case)
    if landed and (current is None or not _is_same_until(current, plan, landed[-1])):
        raise ShadowPlatformError(
            f"{platform.layout.home} already holds events of {use_case.name} until {landed[-1]}, which this plan would "
            "give otherwise; let the drift start later, or choose another folder with SHADOW_HOME"
        )
    path = platform.layout.simulation(use_case.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(plan.model_dump_json(indent=2))
    beside.replace(path)


def show_plan(use_case: UseCase) -> None:
    """Print the plan in force, and what each kind of drift would change."""
    simulation, plan = _simulation(use_case), PlatformResource().simulation_plan(use_case)
    assert plan is not None
    table = Table("what", "value", title=f"{use_case.name}: {plan.n_entities} {simulation.entities}, seed {plan.seed}")
    for drift in plan.drifts or ():
        ramp = "" if drift.shape == "sudden" else f" over {drift.duration_days} days"
        table.add_row(f"{drift.kind} drift", f"from {drift.start}, size {drift.size:g}, {drift.shape}{ramp}")
    for kind, effect in simulation.effects.items():
        table.add_row(f"--drift {kind}", effect)
    Console().print(table)


def _simulation(use_case: UseCase) -> Simulation:
    if use_case.simulation is None:
        raise UseCaseError(
            f"the events of {use_case.name} are real; only a simulated use case can be told what to play"
        )
    return use_case.simulation


def _start_of_story(use_case: UseCase) -> date:
    return use_case.demo.serve_from if use_case.demo else use_case.first_partition


def _days_landed(layout: Layout, use_case: UseCase) -> list[date]:
    folders = {layout.raw_events(use_case.name, kind.name, date.min).parent.parent for kind in use_case.events}
    return sorted({date.fromisoformat(path.name.removeprefix("dt=")) for f in folders for path in f.glob("dt=*")})


def _is_same_until(one: SimulationPlan, other: SimulationPlan, last: date) -> bool:
    """Whether both plans give the same events up to a day."""

    def felt(plan: SimulationPlan) -> set[DriftInjection]:
        return {drift for drift in plan.drifts or () if drift.start <= last}

    return (one.seed, one.n_entities) == (other.seed, other.n_entities) and felt(one) == felt(other)
