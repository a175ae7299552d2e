"""Simulation: what was injected into a simulated world, day by day.

Belongs here: the rows of ``simulated_drift``. Does not belong here: any simulated world (``use_cases/<name>``).
Upstream: the plan of a simulation. Downstream: the asset of the ground truth, which nothing else reads.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

import pandas as pd

from shadow_platform.contracts.simulation import Simulation, SimulationPlan
from shadow_platform.contracts.tables import SIMULATED_DRIFT


def injected_drift(use_case: str, simulation: Simulation, plan: SimulationPlan, days: Sequence[date]) -> pd.DataFrame:
    """Rows of ``simulated_drift``: one a day and drift of the plan, also before the drift is felt.

    Args:
        plan: complete plan that is played.
    """
    rows = [
        (
            use_case,
            _start_of(day),
            number,
            drift.kind,
            drift.shape,
            _start_of(drift.start),
            drift.size,
            drift.duration_days,
            drift.intensity(day),
            simulation.effects[drift.kind],
            plan.seed,
            plan.n_entities,
        )
        for day in days
        for number, drift in enumerate(plan.drifts or (), start=1)
    ]
    return pd.DataFrame(rows, columns=list(SIMULATED_DRIFT.column_names))


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
