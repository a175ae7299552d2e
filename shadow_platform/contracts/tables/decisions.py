"""Tables of decisions: what was concluded of a challenger, on which evidence, and what followed from it.

Upstream: ``schema``. Downstream: assets, the lake, the warehouse.
"""

from shadow_platform.contracts.tables.schema import TableSchema, columns

GATE_SEQUENCES = TableSchema(
    "gate_sequences",
    "one row an anytime-valid comparison of two models under one policy",
    "opened_at",
    ("sequence_id",),
    columns(
        ("sequence_id", "VARCHAR", "fingerprint of use case, purpose, both bundles and policy, and a watch's start"),
        ("purpose", "VARCHAR", "challenge, or watch: was the champion before better after all"),
        ("champion_version", "VARCHAR", "model that serves"),
        ("challenger_version", "VARCHAR", "model compared with it"),
        ("champion_bundle", "VARCHAR", "hash of the champion's bundle"),
        ("challenger_bundle", "VARCHAR", "hash of the challenger's bundle"),
        ("ordinal", "BIGINT", "place among the comparisons with this champion for this purpose, from 1"),
        ("alpha", "DOUBLE", "chance of this comparison ever to act falsely"),
        ("policy", "JSON", "gate policy in force when it was opened"),
        ("evidence_from", "TIMESTAMPTZ", "requests before it are not used"),
        ("opened_at", "TIMESTAMPTZ", "time of its first decision"),
    ),
)
GATE_DECISIONS = TableSchema(
    "gate_decisions",
    "one row a gate evaluation",
    "as_of",
    ("decision_id",),
    columns(
        ("decision_id", "VARCHAR", "fingerprint of the inputs of the decision"),
        ("sequence_id", "VARCHAR", "comparison it is a look at, as in gate_sequences"),
        ("purpose", "VARCHAR", "challenge, or watch: was the champion before better after all"),
        ("champion_version", "VARCHAR", "champion at the time"),
        ("challenger_version", "VARCHAR", "challenger judged"),
        ("as_of", "TIMESTAMPTZ", "labels known later were not used"),
        ("decision", "VARCHAR", "promote, wait or reject; of a watch, promote means rollback"),
        ("reason", "VARCHAR", "the decision in words"),
        ("criteria", "JSON", "each criterion with outcome, value, limit, n and reason"),
        ("maturity", "JSON", "answers of the champion: pending, matured, labelled, hidden"),
        ("fingerprints", "JSON", "inputs of the decision"),
        ("record", "VARCHAR", "the decision as JSON, byte for byte as re-running it must give"),
        ("page", "VARCHAR", "HTML page of the decision, below SHADOW_HOME; null when none was written"),
        ("decided_at", "TIMESTAMPTZ", "time of the decision"),
    ),
)
GATE_REVIEWS = TableSchema(
    "gate_reviews",
    "one row a re-run of a stored decision that gave something else",
    "reviewed_at",
    ("decision_id", "review_id"),
    columns(
        ("review_id", "VARCHAR", "fingerprint of what the re-run gave"),
        ("decision_id", "VARCHAR", "decision that was run again"),
        ("outcome", "VARCHAR", "reopened (it would be decided otherwise) or changed (same decision, other figures)"),
        ("decision_now", "VARCHAR", "promote, wait or reject on what is known of the same time now"),
        ("changed", "VARCHAR", "which inputs changed: labels, answers, comparisons, bundles, code, policy"),
        ("reason", "VARCHAR", "the decision now, in words"),
        ("reviewed_at", "TIMESTAMPTZ", "time of the re-run"),
    ),
)
A_A_RUNS = TableSchema(
    "a_a_runs",
    "one row an A/A run: a model shadowed itself through the real path",
    "ran_at",
    ("run_id",),
    columns(
        ("run_id", "VARCHAR", "fingerprint of the rest of the row"),
        ("version", "VARCHAR", "model that shadowed itself"),
        ("bundle_hash", "VARCHAR", "its bundle"),
        (
            "trigger",
            "VARCHAR",
            "gate (a challenger is about to count), manual, or explained (a failed run that a person accepts)",
        ),
        ("first_request_at", "TIMESTAMPTZ", "oldest request compared"),
        ("last_request_at", "TIMESTAMPTZ", "newest request compared"),
        ("n", "BIGINT", "requests compared"),
        ("n_failed", "BIGINT", "requests that the shadow failed or dropped"),
        ("n_differing", "BIGINT", "answers that differ by more than the policy tolerates"),
        ("n_flips", "BIGINT", "decisions that differ"),
        ("max_difference", "DOUBLE", "largest absolute difference of the two probabilities"),
        ("limit", "DOUBLE", "difference that the policy tolerates"),
        ("outcome", "VARCHAR", "pass, fail or insufficient"),
        ("reason", "VARCHAR", "the outcome in words, with the request that differs most"),
        ("ran_at", "TIMESTAMPTZ", "time of the run"),
    ),
)
ROLLOUT_STEPS = TableSchema(
    "rollout_steps",
    "one row a step of a rollout, taken or failed",
    "stepped_at",
    ("step_id",),
    columns(
        ("step_id", "VARCHAR", "UUIDv7 of the step"),
        ("rollout_id", "VARCHAR", "rollout, as a person approves it"),
        ("version", "VARCHAR", "version that takes over"),
        ("expected_champion", "VARCHAR", "champion the decision was made against"),
        ("decision_id", "VARCHAR", "decision of the gate it rests on"),
        ("state", "VARCHAR", "awaiting_approval, approved, canary, promoted, refused, halted or outdated"),
        ("canary_share", "DOUBLE", "share of subjects the canary answers from now on; null outside the canary"),
        ("bento", "VARCHAR", "verified Bento of the deployment to come, once there is one"),
        ("is_failure", "BOOLEAN", "whether the step was tried and failed: the state before stays in force"),
        ("actor", "VARCHAR", "who: a person, or gate, policy"),
        ("detail", "VARCHAR", "why, in words"),
        ("stepped_at", "TIMESTAMPTZ", "time of the step"),
    ),
)
ALERTS = TableSchema(
    "alerts",
    "one row an alert",
    "occurred_at",
    ("alert_id",),
    columns(
        ("alert_id", "VARCHAR", "fingerprint of what it tells"),
        ("kind", "VARCHAR", "what happened, as in docs/alerts.md"),
        ("severity", "VARCHAR", "info, warning or critical"),
        ("subject", "VARCHAR", "version, evaluation, run or rollout it is about"),
        ("title", "VARCHAR", "one line"),
        ("text", "VARCHAR", "what happened and what to do"),
        ("occurred_at", "TIMESTAMPTZ", "when it happened"),
        ("sent_at", "TIMESTAMPTZ", "when every receiver had it; null: nobody is to be told, or sending failed so far"),
        ("told", "VARCHAR[]", "receivers that have it: place in ALERT_URLS and kind, such as 1:mailto"),
        ("n_tries", "BIGINT", "times it was tried to send it"),
        ("tried_at", "TIMESTAMPTZ", "last of these times; null: never"),
        ("error", "VARCHAR", "why it could not be sent; null if it was"),
    ),
)
