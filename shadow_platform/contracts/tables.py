"""Schemas of the published tables: grain, columns, units, and the comments that analysts read.

Upstream: nothing. Downstream: the lake writes Parquet by these schemas; the warehouse publishes views with comments.
Types are DuckDB's. Every timestamp is UTC.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: DuckDB type and comment."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table: ``time_column`` decides the daily partition a row lies in; ``key`` is unique."""

    name: str
    grain: str
    time_column: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(column.name for column in self.columns)


def _columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return (Column("use_case", "VARCHAR", "use case the row belongs to"), *(Column(*row) for row in rows))


PREDICTIONS = TableSchema(
    "predictions",
    "one row an answered request",
    "requested_at",
    ("request_id",),
    _columns(
        ("request_id", "VARCHAR", "UUIDv7 of the request"),
        ("subject_id", "VARCHAR", "key of what the prediction is about"),
        ("requested_at", "TIMESTAMPTZ", "business time of the request"),
        ("logged_at", "TIMESTAMPTZ", "wall-clock time of the append to the prediction log"),
        ("model_version", "VARCHAR", "registry version that answered"),
        ("bundle_hash", "VARCHAR", "hash of the bundle that answered"),
        ("variant", "VARCHAR", "champion or canary"),
        ("propensity", "DOUBLE", "probability with which this variant was chosen"),
        ("is_fallback", "BOOLEAN", "the canary was chosen and failed, so the champion answered"),
        ("is_explored", "BOOLEAN", "positive prediction that was not carried out, so that its outcome is seen"),
        ("label_propensity", "DOUBLE", "probability that the outcome of this request can be seen"),
        ("probability", "DOUBLE", "calibrated probability of the positive label"),
        ("prediction", "BOOLEAN", "probability >= threshold"),
        ("threshold", "DOUBLE", "decision threshold in force"),
        ("latency_ms", "DOUBLE", "parsed request to log append, milliseconds"),
        ("features_from_request", "INTEGER", "features taken from the request"),
        ("features_from_online", "INTEGER", "features taken from the online store"),
        ("features_imputed", "INTEGER", "features that neither had"),
        ("feature_age_s", "DOUBLE", "age of the oldest online row used, seconds"),
        ("features", "JSON", "feature values as served, before imputation"),
    ),
)
SHADOW_COMPARISONS = TableSchema(
    "shadow_comparisons",
    "one row a request and challenger",
    "requested_at",
    ("request_id", "challenger_version"),
    _columns(
        ("request_id", "VARCHAR", "request that both models scored"),
        ("subject_id", "VARCHAR", "key of what the prediction is about"),
        ("requested_at", "TIMESTAMPTZ", "business time of the request"),
        ("compared_at", "TIMESTAMPTZ", "wall-clock time of the comparison"),
        ("outcome", "VARCHAR", "compared, failed or dropped"),
        ("drop_reason", "VARCHAR", "lag, sampling or circuit_open when dropped"),
        ("champion_version", "VARCHAR", "version that answered the request"),
        ("champion_probability", "DOUBLE", "probability the caller was given"),
        ("champion_prediction", "BOOLEAN", "decision the caller was given"),
        ("champion_latency_ms", "DOUBLE", "latency of the answer, milliseconds"),
        ("challenger_version", "VARCHAR", "version that scored in the shadow"),
        ("challenger_probability", "DOUBLE", "probability it would have given"),
        ("challenger_prediction", "BOOLEAN", "decision it would have given"),
        ("challenger_latency_ms", "DOUBLE", "its share of the micro-batch's scoring time, milliseconds"),
        ("challenger_error", "VARCHAR", "error text when failed"),
        ("probability_diff", "DOUBLE", "challenger minus champion probability"),
        ("prediction_match", "BOOLEAN", "whether both decide alike"),
        ("is_replay", "BOOLEAN", "scored from the log after the fact"),
    ),
)
SHADOW_COMPARISON_HOURLY = TableSchema(
    "shadow_comparison_hourly",
    "one row an hour of requests and challenger",
    "hour_at",
    ("use_case", "hour_at", "champion_version", "challenger_version"),
    _columns(
        ("hour_at", "TIMESTAMPTZ", "start of the hour, by request time"),
        ("champion_version", "VARCHAR", "version that answered"),
        ("challenger_version", "VARCHAR", "version in the shadow"),
        ("sent", "BIGINT", "predictions the challenger was sent: compared + failed + dropped"),
        ("compared", "BIGINT", "both answered"),
        ("failed", "BIGINT", "the challenger raised or gave no number"),
        ("dropped", "BIGINT", "not scored, with a reason"),
        ("agreement_rate", "DOUBLE", "share of compared requests with the same decision"),
        ("flips_to_positive", "BIGINT", "champion negative, challenger positive"),
        ("flips_to_negative", "BIGINT", "champion positive, challenger negative"),
        ("probability_diff_mean", "DOUBLE", "mean of challenger minus champion"),
        ("probability_diff_p05", "DOUBLE", "5 % quantile of the difference"),
        ("probability_diff_p50", "DOUBLE", "median of the difference"),
        ("probability_diff_p95", "DOUBLE", "95 % quantile of the difference"),
        ("champion_latency_p95_ms", "DOUBLE", "95 % quantile, milliseconds"),
        ("challenger_latency_p95_ms", "DOUBLE", "95 % quantile, milliseconds"),
    ),
)
LABELS = TableSchema(
    "labels",
    "one row a label that became known",
    "known_at",
    ("use_case", "subject_id", "requested_at", "known_at"),
    _columns(
        ("subject_id", "VARCHAR", "key of what was predicted"),
        ("requested_at", "TIMESTAMPTZ", "business time of the request the label answers"),
        ("label", "BOOLEAN", "ground truth"),
        ("event_at", "TIMESTAMPTZ", "when it became true"),
        ("known_at", "TIMESTAMPTZ", "when the platform could know it"),
        ("source", "VARCHAR", "events, or import:<file> when it was imported"),
    ),
)
QUARANTINED_LABELS = TableSchema(
    "quarantined_labels",
    "one row a violation in an imported label file",
    "imported_at",
    ("import_id", "row", "column_name"),
    _columns(
        ("imported_at", "TIMESTAMPTZ", "when the file was imported"),
        ("import_id", "VARCHAR", "fingerprint of the file"),
        ("file", "VARCHAR", "name of the file"),
        ("row", "BIGINT", "row of the file, from 1, without its header"),
        ("column_name", "VARCHAR", "column at fault; null when the whole row is"),
        ("reason", "VARCHAR", "what is wrong, and what was expected"),
        ("payload", "VARCHAR", "the row as received, as JSON"),
    ),
)
PERFORMANCE_DAILY = TableSchema(
    "performance_daily",
    "one row a request day and model version, on matured labels",
    "day_at",
    ("use_case", "day_at", "model_version", "role"),
    _columns(
        ("day_at", "TIMESTAMPTZ", "start of the request day (UTC)"),
        ("model_version", "VARCHAR", "version judged"),
        ("role", "VARCHAR", "champion or challenger"),
        ("n", "BIGINT", "predictions of the day"),
        ("n_labelled", "BIGINT", "of which matured and labelled"),
        ("n_censored", "BIGINT", "of which matured, and hidden by the decision that was carried out"),
        ("estimator", "VARCHAR", "all_labels, inverse_propensity, or not_identifiable (then the metrics are null)"),
        ("base_rate", "DOUBLE", "share of positive labels"),
        ("roc_auc", "DOUBLE", "area under the ROC curve; null with one class only"),
        ("log_loss", "DOUBLE", "mean log loss, probabilities clipped to [.01, .99]"),
        ("log_loss_low", "DOUBLE", "lower end of its 95 % confidence interval"),
        ("log_loss_high", "DOUBLE", "upper end of its 95 % confidence interval"),
        ("brier", "DOUBLE", "mean squared error of the probability"),
        ("f1", "DOUBLE", "F1 at the decision threshold"),
        ("cost_per_request", "DOUBLE", "mean cost of wrong decisions, in the currency of the use case's costs"),
        ("estimated_roc_auc", "DOUBLE", "estimated without labels, if P(y|x) is stable"),
        ("estimated_f1", "DOUBLE", "estimated without labels, if P(y|x) is stable"),
        ("labels_as_of", "TIMESTAMPTZ", "labels known later were not used"),
    ),
)
FAIRNESS_GROUPS = TableSchema(
    "fairness_groups",
    "one row an evaluation, model version, attribute and group",
    "as_of",
    ("use_case", "as_of", "model_version", "role", "attribute", "group_name"),
    _columns(
        ("as_of", "TIMESTAMPTZ", "labels known later were not used"),
        ("model_version", "VARCHAR", "version judged"),
        ("role", "VARCHAR", "champion or challenger"),
        ("attribute", "VARCHAR", "what people are grouped by"),
        ("group_name", "VARCHAR", "group"),
        ("n", "BIGINT", "decisions on the group"),
        ("n_labelled", "BIGINT", "of which matured and labelled"),
        ("favourable_rate", "DOUBLE", "share of favourable decisions"),
        ("favourable_rate_low", "DOUBLE", "lower end of its 95 % confidence interval (Wilson)"),
        ("favourable_rate_high", "DOUBLE", "upper end of its 95 % confidence interval (Wilson)"),
        ("favourable_ratio", "DOUBLE", "favourable rate over that of the best group"),
        ("equal_opportunity", "DOUBLE", "share of favourable decisions among those whose outcome deserved one"),
        ("base_rate", "DOUBLE", "share of positive labels among the labelled"),
        ("mean_probability", "DOUBLE", "mean probability among the labelled"),
        ("log_loss", "DOUBLE", "mean log loss among the labelled, probabilities clipped to [.01, .99]"),
        ("is_flagged", "BOOLEAN", "favourable ratio below the limit; null when the group is too small"),
    ),
)
SIMULATED_DRIFT = TableSchema(
    "simulated_drift",
    "one row a simulated day and injected drift: ground truth that nothing else reads",
    "day_at",
    ("use_case", "day_at", "injection"),
    _columns(
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
DRIFT_METRICS = TableSchema(
    "drift_metrics",
    "one row a drift evaluation and feature",
    "window_end",
    ("evaluation_id", "feature"),
    _columns(
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
    _columns(
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
FEATURE_PARITY = TableSchema(
    "feature_parity",
    "one row a request day and feature",
    "day_at",
    ("use_case", "day_at", "feature"),
    _columns(
        ("day_at", "TIMESTAMPTZ", "start of the request day (UTC)"),
        ("feature", "VARCHAR", "feature compared"),
        ("n", "BIGINT", "served values replayed offline"),
        ("n_different", "BIGINT", "values that differ by more than 1e-6 relative"),
        ("max_abs_diff", "DOUBLE", "largest absolute difference of numeric values"),
    ),
)
GATE_DECISIONS = TableSchema(
    "gate_decisions",
    "one row a gate evaluation",
    "as_of",
    ("decision_id",),
    _columns(
        ("decision_id", "VARCHAR", "fingerprint of the inputs of the decision"),
        ("champion_version", "VARCHAR", "champion at the time"),
        ("challenger_version", "VARCHAR", "challenger judged"),
        ("as_of", "TIMESTAMPTZ", "labels known later were not used"),
        ("decision", "VARCHAR", "promote, wait or reject"),
        ("reason", "VARCHAR", "the decision in words"),
        ("criteria", "JSON", "each criterion with outcome, value, limit, n and reason"),
        ("fingerprints", "JSON", "inputs of the decision"),
        ("decided_at", "TIMESTAMPTZ", "wall-clock time of the decision"),
    ),
)
MODEL_VERSIONS = TableSchema(
    "model_versions",
    "one row a registered model version",
    "created_at",
    ("use_case", "version"),
    _columns(
        ("version", "VARCHAR", "registry version"),
        ("model_name", "VARCHAR", "model family"),
        ("bundle_hash", "VARCHAR", "hash of the bundle"),
        ("run_id", "VARCHAR", "MLflow run that trained it"),
        ("created_at", "TIMESTAMPTZ", "time of registration"),
        ("trained_as_of", "TIMESTAMPTZ", "nothing known later was used in training"),
        ("metrics", "JSON", "metrics of the evaluation window"),
        ("fingerprints", "JSON", "data, features, code, configuration, environment"),
    ),
)
MODEL_TRANSITIONS = TableSchema(
    "model_transitions",
    "one row a change of an alias",
    "transitioned_at",
    ("transition_id",),
    _columns(
        ("transition_id", "VARCHAR", "UUIDv7 of the transition"),
        ("alias", "VARCHAR", "champion, previous, canary, challenger, challenger-2 or challenger-3"),
        ("from_version", "VARCHAR", "version before; null if none; equal to to_version when only its terms changed"),
        ("to_version", "VARCHAR", "version after; null if removed"),
        ("actor", "VARCHAR", "who asked: a person, or gate, training, bootstrap, slo-guard, reconcile"),
        ("reason", "VARCHAR", "why"),
        ("evidence_id", "VARCHAR", "gate decision or drift evaluation it rests on"),
        ("generation", "BIGINT", "generation of the deployment manifest it produced"),
        ("transitioned_at", "TIMESTAMPTZ", "wall-clock time"),
    ),
)
MODEL_EXPERIMENTS = TableSchema(
    "model_experiments",
    "one row a training run, registered or not",
    "trained_at",
    ("run_id",),
    _columns(
        ("run_id", "VARCHAR", "MLflow run"),
        ("model_name", "VARCHAR", "model family"),
        ("trained_at", "TIMESTAMPTZ", "wall-clock time of the training"),
        ("trained_as_of", "TIMESTAMPTZ", "nothing known later was used"),
        ("is_registered", "BOOLEAN", "whether it became a version"),
        ("version", "VARCHAR", "the version, if so"),
        ("trigger", "VARCHAR", "bootstrap, drift, performance, schedule or manual"),
        ("metrics", "JSON", "metrics of the evaluation window"),
    ),
)
QUARANTINED_EVENTS = TableSchema(
    "quarantined_events",
    "one row a violation of an event schema",
    "received_on",
    ("use_case", "received_on", "kind", "row", "column_name"),
    _columns(
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
    _columns(
        ("trigger_id", "VARCHAR", "drift evaluation, schedule tick or request that asked"),
        ("trigger", "VARCHAR", "drift, performance, schedule or manual"),
        ("outcome", "VARCHAR", "started, skipped or deferred"),
        ("reason", "VARCHAR", "why"),
        ("run_id", "VARCHAR", "Dagster run, if one was started"),
        ("considered_at", "TIMESTAMPTZ", "wall-clock time"),
    ),
)

TABLES: tuple[TableSchema, ...] = (
    PREDICTIONS,
    SHADOW_COMPARISONS,
    SHADOW_COMPARISON_HOURLY,
    LABELS,
    QUARANTINED_LABELS,
    PERFORMANCE_DAILY,
    FAIRNESS_GROUPS,
    SIMULATED_DRIFT,
    DRIFT_METRICS,
    DRIFT_VERDICTS,
    FEATURE_PARITY,
    GATE_DECISIONS,
    MODEL_VERSIONS,
    MODEL_TRANSITIONS,
    MODEL_EXPERIMENTS,
    QUARANTINED_EVENTS,
    PIPELINE_RUNS,
)
