"""A home in which everything that the exporter reads has been written once, through the stores' own interfaces.

Belongs here: rows, records and Dagster's storage. Does not belong here: processes (``observed``), assertions. Upstream:
lake, Dagster. Downstream: tests of dashboards.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import (
    DRIFT_VERDICTS,
    GATE_DECISIONS,
    LABELS,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    PREDICTIONS,
    TableSchema,
)
from shadow_platform.contracts.use_case import UseCase

NOW = datetime.now(UTC)
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
TEXTS = {"VARCHAR": "", "JSON": "{}", "VARCHAR[]": []}


def write_everything(layout: Layout, use_case: UseCase, champion: str) -> None:
    """Verdicts, decisions, log loss, late labels, a warehouse; runs, sensors and daemons of Dagster."""
    lake, at, due = Lake(layout), NOW - timedelta(hours=1), NOW - use_case.label.horizon
    for schema, facts in (
        (
            DRIFT_VERDICTS,
            {"scope": "daily", "outcome": "fail", "drift_score": 0.4, "window_end": at, "evaluated_at": at},
        ),
        (
            DRIFT_VERDICTS,
            {"scope": "live", "outcome": "pass", "drift_score": 0.1, "window_end": at, "evaluated_at": at},
        ),
        (GATE_DECISIONS, {"decision": "promote", "purpose": "challenge", "as_of": at, "decided_at": at}),
        (PERFORMANCE_DAILY, {"day_at": at, "role": "champion", "n_labelled": 9, "log_loss": 0.5}),
        (PERFORMANCE_VERDICTS, {"window_end": at, "evaluated_at": at, "outcome": "pass"}),
        (PREDICTIONS, {"requested_at": due - timedelta(hours=2), "subject_id": "late"}),
        (LABELS, {"requested_at": due - timedelta(days=2), "subject_id": "early"}),
    ):
        lake.append_rows(
            schema, use_case, [_row(schema, {"use_case": use_case.name, "model_version": champion, **facts})]
        )
    lake.publish_warehouse()
    layout.dagster.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(layout.dagster)) as instance:
        _write_runs(instance)
        _write_signs_of_life(instance)


def _row(schema: TableSchema, facts: dict[str, Any]) -> dict[str, Any]:
    empty = {column.name: TEXTS.get(column.type) for column in schema.columns}
    return {name: facts.get(name, None if name == "replaces" else value) for name, value in empty.items()}


def _write_runs(instance: dg.DagsterInstance) -> None:
    @dg.op(config_schema={"fails": bool})
    def work(context: dg.OpExecutionContext) -> None:
        if context.op_config["fails"]:
            raise RuntimeError("told to fail")

    @dg.job
    def nightly() -> None:
        work()

    for fails in (False, True):
        config = {"ops": {"work": {"config": {"fails": fails}}}, "loggers": QUIET}
        nightly.execute_in_process(config, instance=instance, raise_on_error=False)


def _write_signs_of_life(instance: dg.DagsterInstance) -> None:
    now = time.time()
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="location"), "location")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "shop_alerts")
    state = InstigatorState(
        origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(min_interval=60)
    )
    instance.add_instigator_state(state)
    instance.create_tick(
        TickData(
            state.instigator_origin_id,
            state.instigator_name,
            InstigatorType.SENSOR,
            TickStatus.SKIPPED,
            now,
            selector_id=state.selector_id,
        )
    )
    instance.add_daemon_heartbeat(DaemonHeartbeat(now, "SENSOR", "one", []))
