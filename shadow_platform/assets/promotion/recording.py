"""Tables of what was deployed and how it came about, from the logs that every change is written to.

Upstream: the logs of transitions and rollouts. Downstream: the warehouse, alerts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from shadow_platform.contracts.tables import MODEL_TRANSITIONS, ROLLOUT_STEPS, TableSchema
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource


def build_model_transitions(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``model_transitions``."""

    @dg.asset(
        key=[use_case.name, "model_transitions"],
        deps=[[use_case.name, "deployment"], [use_case.name, "promotion"]],
        group_name="promotion",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def model_transitions(platform: PlatformResource) -> dg.MaterializeResult:
        """Every change of an alias, from the audit log, by people and machines alike.

        Grain: one row a change. Key: transition_id. Not partitioned: the log is small and read whole.
        """
        return _tabled(platform, use_case, MODEL_TRANSITIONS, platform.transitions(use_case))

    return model_transitions


def build_rollout_steps(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``rollout_steps``."""

    @dg.asset(
        key=[use_case.name, "rollout_steps"],
        deps=[[use_case.name, "promotion"]],
        group_name="promotion",
        kinds={"parquet"},
        owners=[use_case.owner],
        code_version="1",
    )
    def rollout_steps(platform: PlatformResource) -> dg.MaterializeResult:
        """Every step of every rollout, taken or failed, by people and machines alike.

        Grain: one row a step. Key: step_id. Not partitioned: the log is small and read whole.
        """
        return _tabled(platform, use_case, ROLLOUT_STEPS, platform.rollout_steps(use_case))

    return rollout_steps


def _tabled(
    platform: PlatformResource, use_case: UseCase, schema: TableSchema, records: Sequence[Mapping[str, Any]]
) -> dg.MaterializeResult:
    rows = [{name: record[name] for name in schema.column_names} for record in records]
    platform.lake().append_rows(schema, use_case, rows)
    return dg.MaterializeResult(metadata={"dagster/row_count": len(rows)})
