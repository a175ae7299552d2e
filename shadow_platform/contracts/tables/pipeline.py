"""Tables of the pipeline: what came in, what was started.

Upstream: ``schema``. Downstream: assets, the lake, the warehouse.
"""

from shadow_platform.contracts.tables.schema import TableSchema, columns

SIMULATED_DRIFT = TableSchema(
    "simulated_drift",
    "one row a simulated day and injected drift: ground truth that nothing else reads",
    "day_at",
    ("use_case", "day_at", "injection"),
    columns(
        ("day_at", "TIMESTAMPTZ", "start of the simulated day (UTC)"),
        ("injection", "BIGINT", "number of the drift in its plan, from 1"),
        ("kind", "VARCHAR", "covariate, label, concept or quality"),
        ("shape", "VARCHAR", "sudden, gradual or seasonal"),
        ("start_at", "TIMESTAMPTZ", "first day it is felt"),
        ("size", "DOUBLE", "strength at its height, 0 to 1"),
        ("duration_days", "BIGINT", "length of the ramp or of the season"),
        ("intensity", "DOUBLE", "strength on the day, 0 to size"),
        ("effect", "VARCHAR", "what it changes in the simulated world"),
        ("seed", "BIGINT", "seed of the simulation"),
        ("n_entities", "BIGINT", "size of the simulated world"),
    ),
)
QUARANTINED_EVENTS = TableSchema(
    "quarantined_events",
    "one row a violation of an event schema",
    "received_on",
    ("use_case", "received_on", "kind", "row", "column_name"),
    columns(
        ("received_on", "TIMESTAMPTZ", "start of the day whose file held the row (UTC)"),
        ("kind", "VARCHAR", "event kind"),
        ("file", "VARCHAR", "raw event file, below SHADOW_HOME"),
        ("row", "BIGINT", "line number in the file, from 1"),
        ("column_name", "VARCHAR", "column at fault; null for the row as a whole"),
        ("reason", "VARCHAR", "what was expected and what was found"),
        ("payload", "VARCHAR", "the raw row"),
    ),
)
PIPELINE_RUNS = TableSchema(
    "pipeline_runs",
    "one row a trigger that was considered",
    "considered_at",
    ("use_case", "trigger_id"),
    columns(
        ("trigger_id", "VARCHAR", "evaluation, day of labels, night or run"),
        ("trigger", "VARCHAR", "drift, performance, data, schedule or manual"),
        ("outcome", "VARCHAR", "started, skipped or deferred"),
        ("reason", "VARCHAR", "why"),
        ("run_id", "VARCHAR", "Dagster run, if one was started"),
        ("considered_at", "TIMESTAMPTZ", "wall-clock time"),
    ),
)
