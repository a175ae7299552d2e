"""What Dagster's chart makes of values: the file ``dagster.yaml`` of its configuration map ``<release>-instance``.

Belongs here: the mapping of the chart's templates (``configmap-instance.yaml`` and its helpers), as far as our values
use it. Does not belong here: what must be true of it (test_dagster_chart). Upstream: ``deploy/helm``.
"""

import re

from shadow_platform_tests.deploy.manifests import Object

STORAGES = {
    "run_storage": ("dagster_postgres.run_storage", "PostgresRunStorage"),
    "event_log_storage": ("dagster_postgres.event_log", "PostgresEventLogStorage"),
    "schedule_storage": ("dagster_postgres.schedule_storage", "PostgresScheduleStorage"),
}
# Of the chart's own values, what stands in the file beside ours.
DEQUEUE = {"dequeueUseThreads": True, "dequeueNumWorkers": 4}


def snake(name: str) -> str:
    """A name of the chart as Dagster writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def instance_file(values: Object) -> Object:
    """Content of ``dagster.yaml``, for a custom launcher and a queue."""
    daemon = values["dagsterDaemon"]
    queue = {**DEQUEUE, **daemon["runCoordinator"]["config"]["queuedRunCoordinator"]}
    retries = {key: value for key, value in daemon["runRetries"].items() if key != "maxRetries" or value}
    postgres = {"config": {"postgres_db": _postgres(values)}}
    return {
        "scheduler": {"module": "dagster.core.scheduler", "class": "DagsterDaemonScheduler"},
        **{part: {"module": module, "class": name, **postgres} for part, (module, name) in STORAGES.items()},
        "run_launcher": values["runLauncher"]["config"]["customRunLauncher"],
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": _snaked(queue),
        },
        "compute_logs": values["computeLogManager"]["config"]["customComputeLogManager"],
        "python_logs": _snaked(values["pythonLogs"]),
        "run_monitoring": _snaked(daemon["runMonitoring"]),
        # Not written where it is 0, which is Dagster's default.
        "run_retries": {"max_retries": 0, **_snaked(retries)},
        "telemetry": values["telemetry"],
        "retention": {
            part: {"purge_after_days": values["retention"][part]["purgeAfterDays"]} for part in ("schedule", "sensor")
        },
        "concurrency": {part: _snaked(values["concurrency"][part]) for part in ("runs", "pools")},
        **values["additionalInstanceConfig"],
    }


def _postgres(values: Object) -> Object:
    given = values["postgresql"]
    config = {
        "username": given["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": given["postgresqlHost"],
        "db_name": given["postgresqlDatabase"],
        "port": given["service"]["port"],
        "params": given["postgresqlParams"],
    }
    return {**config, "scheme": given["postgresqlScheme"]} if given.get("postgresqlScheme") else config


def _snaked(given: Object) -> Object:
    return {snake(key): value for key, value in given.items()}
