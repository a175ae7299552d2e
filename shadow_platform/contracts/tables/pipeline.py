"""Tables of the pipeline: what came in, what drifted, what was started.

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
FEATURE_PARITY = TableSchema(
    "feature_parity",
    "one row a request day and feature",
    "day_at",
    ("use_case", "day_at", "feature"),
    columns(
        ("day_at", "TIMESTAMPTZ", "start of the request day (UTC)"),
        ("feature", "VARCHAR", "feature compared"),
        ("n", "BIGINT", "served values replayed offline"),
        ("n_different", "BIGINT", "values that differ by more than 1e-6 relative"),
        ("max_abs_diff", "DOUBLE", "largest absolute difference of numeric values"),
    ),
)
DRIFT_METRICS = TableSchema(
    "drift_metrics",
    "one row a drift evaluation and feature",
    "window_end",
    ("evaluation_id", "feature"),
    columns(
        ("evaluation_id", "VARCHAR", "evaluation in drift_verdicts"),
        ("window_end", "TIMESTAMPTZ", "end of the window (exclusive)"),
        ("feature", "VARCHAR", "feature, or __score__ for the model's probability"),
        ("kind", "VARCHAR", "numeric or categorical"),
        ("test", "VARCHAR", "ks or chi_square"),
        ("statistic", "DOUBLE", "KS D, or total variation distance"),
        ("p_value", "DOUBLE", "at the effective number of rows"),
        ("is_drifted", "BOOLEAN", "passes both the corrected test and the effect floor"),
        ("is_monitored", "BOOLEAN", "counts in the verdict"),
        ("null_rate_reference", "DOUBLE", "share of nulls in the reference"),
        ("null_rate_current", "DOUBLE", "share of nulls in the window"),
        ("null_rate_p_value", "DOUBLE", "two-sample z-test on null rates"),
        ("design_effect", "DOUBLE", "variance inflation because rows of a day are alike"),
        ("psi", "DOUBLE", "population stability index on reference deciles; reported only"),
        ("kl", "DOUBLE", "Kullback-Leibler divergence, nats; reported only"),
        ("js", "DOUBLE", "Jensen-Shannon divergence, nats; reported only"),
        ("wasserstein_sd", "DOUBLE", "Wasserstein distance in reference standard deviations; reported only"),
    ),
)
DRIFT_VERDICTS = TableSchema(
    "drift_verdicts",
    "one row a drift evaluation",
    "window_end",
    ("evaluation_id",),
    columns(
        ("evaluation_id", "VARCHAR", "fingerprint of the inputs of the evaluation"),
        ("window_start", "TIMESTAMPTZ", "start of the window (inclusive)"),
        ("window_end", "TIMESTAMPTZ", "end of the window (exclusive)"),
        ("reference_fingerprint", "VARCHAR", "bundle hash whose frozen reference was used"),
        ("outcome", "VARCHAR", "pass, fail or insufficient"),
        ("drift_score", "DOUBLE", "share of monitored features that drifted"),
        ("rules_fired", "VARCHAR[]", "every rule that fired"),
        ("explanation", "VARCHAR", "the verdict in words"),
        ("n_reference", "BIGINT", "rows of the reference"),
        ("n_current", "BIGINT", "rows of the window"),
        ("report_path", "VARCHAR", "Evidently HTML report, below SHADOW_HOME"),
        ("evaluated_at", "TIMESTAMPTZ", "wall-clock time of the evaluation"),
    ),
)
PIPELINE_RUNS = TableSchema(
    "pipeline_runs",
    "one row a trigger that was considered",
    "considered_at",
    ("use_case", "trigger_id"),
    columns(
        ("trigger_id", "VARCHAR", "drift evaluation, schedule tick or request that asked"),
        ("trigger", "VARCHAR", "drift, performance, schedule or manual"),
        ("outcome", "VARCHAR", "started, skipped or deferred"),
        ("reason", "VARCHAR", "why"),
        ("run_id", "VARCHAR", "Dagster run, if one was started"),
        ("considered_at", "TIMESTAMPTZ", "wall-clock time"),
    ),
)
