"""Tables of models: how each was trained and judged, and how it came to serve.

Upstream: ``schema``. Downstream: assets, the lake, the warehouse.
"""

from shadow_platform.contracts.tables.schema import TableSchema, columns

MODEL_VERSIONS = TableSchema(
    "model_versions",
    "one row a registered model version",
    "created_at",
    ("use_case", "version"),
    columns(
        ("version", "VARCHAR", "registry version"),
        ("model_name", "VARCHAR", "model family"),
        ("bundle_hash", "VARCHAR", "hash of the bundle"),
        ("run_id", "VARCHAR", "MLflow run that trained it"),
        ("created_at", "TIMESTAMPTZ", "time of registration"),
        ("trained_as_of", "TIMESTAMPTZ", "nothing known later was used in training"),
        ("metrics", "JSON", "metrics of the evaluation window"),
        ("parameters", "JSON", "hyperparameters, chosen ones included"),
        ("fingerprints", "JSON", "data, features, code, configuration, environment"),
    ),
)
MODEL_TRANSITIONS = TableSchema(
    "model_transitions",
    "one row a change of an alias",
    "transitioned_at",
    ("transition_id",),
    columns(
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
    columns(
        ("run_id", "VARCHAR", "MLflow run"),
        ("model_name", "VARCHAR", "model family"),
        ("trained_at", "TIMESTAMPTZ", "wall-clock time of the training"),
        ("trained_as_of", "TIMESTAMPTZ", "nothing known later was used"),
        ("is_registered", "BOOLEAN", "whether it became a version"),
        ("version", "VARCHAR", "the version, if so"),
        ("archived_reason", "VARCHAR", "why it did not become a version; null if it did"),
        ("trigger", "VARCHAR", "bootstrap, drift, performance, data, schedule or manual"),
        ("metrics", "JSON", "metrics of the evaluation window"),
        ("parameters", "JSON", "hyperparameters, chosen ones included"),
        ("fingerprints", "JSON", "data, features, code, configuration, environment"),
        ("frame_rows", "BIGINT", "rows of the training frame"),
        ("training_s", "DOUBLE", "seconds from the frame to the judged model"),
    ),
)
MODEL_METRICS = TableSchema(
    "model_metrics",
    "one row a training run, group of evaluation rows and metric",
    "trained_at",
    ("run_id", "segment_feature", "segment_level", "metric"),
    columns(
        ("run_id", "VARCHAR", "MLflow run, as in model_experiments"),
        ("trained_at", "TIMESTAMPTZ", "wall-clock time of the training"),
        ("segment_feature", "VARCHAR", "feature that makes the groups; empty for all rows"),
        ("segment_level", "VARCHAR", "level of that feature; empty for all rows"),
        ("n", "BIGINT", "evaluation rows of the group"),
        ("n_positive", "BIGINT", "those with a positive label"),
        (
            "metric",
            "VARCHAR",
            "roc_auc, average_precision, log_loss, log_loss_gain (over the base rate), brier, f1, calibration_error or "
            "base_rate",
        ),
        ("value", "DOUBLE", "the metric"),
        ("low", "DOUBLE", "lower end of its interval over days; null where days are too few"),
        ("high", "DOUBLE", "upper end of its interval over days; null where days are too few"),
    ),
)
