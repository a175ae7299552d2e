"""Simulation stage: the ground truth of a simulated world's drift, for people who want to hold verdicts against it.

Upstream: the plan this home plays. Downstream: nothing; no other asset may read it.
"""

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import SIMULATED_DRIFT
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.simulation import injected_drift
from shadow_platform.partitions import SINGLE_RUN, daily_partitions, days
from shadow_platform.resources import PlatformResource


def build_simulation_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the simulation stage; none for a use case with real events."""
    simulation = use_case.simulation
    if simulation is None:
        return []

    @dg.asset(
        key=[use_case.name, "simulated_drift"],
        partitions_def=daily_partitions(use_case),
        backfill_policy=SINGLE_RUN,
        group_name="simulation",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def simulated_drift(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        """Drift that was injected into the simulated world, and how strong it was.

        Grain: one row a simulated day and injected drift. Key: day_at, injection. Partition: UTC day.
        """
        plan, chosen = platform.simulation_plan(use_case), days(context.partition_keys)
        assert plan is not None
        rows = injected_drift(use_case.name, simulation, plan, chosen)
        lake, day_of = platform.lake(), pd.to_datetime(rows["day_at"], utc=True).dt.date
        for day in chosen:
            lake.write_table(SIMULATED_DRIFT, use_case, day, rows[day_of == day])
        lines = [
            f"| {number} | {drift.kind} | {drift.shape} | {drift.start} | {drift.size:g} | "
            f"{simulation.effects[drift.kind]} |"
            for number, drift in enumerate(plan.drifts or (), start=1)
        ]
        table = "| injection | kind | shape | start | size | effect |\n|---|---|---|---|---|---|\n" + "\n".join(lines)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                "drifts": dg.MetadataValue.md(table if lines else "none"),
                "seed": plan.seed,
                simulation.entities: plan.n_entities or 0,
            }
        )

    return [simulated_drift]
