"""JSON Schemas of the reading routes: state of the service, deployment, shadow and monitoring.

Upstream: what the views return. Downstream: ``bento.api.openapi``. A test holds each against the running service.
"""

from bento.api.schemas import COUNT, MOMENT, SHARE, UUID, Schema, described, nullable, record
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.monitoring import QUANTILES

NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
STRING: Schema = {"type": "string"}
VARIANT: Schema = {"enum": ["champion", "canary"]}


def index_schema() -> Schema:
    """``GET /``."""
    links = {"type": "object", "additionalProperties": {"type": "string", "format": "uri-reference"}}
    return record({"name": STRING, "title": STRING, "version": STRING, "links": links})


def health_schema() -> Schema:
    """``GET /health``."""
    return record({"status": {"const": "alive"}, "uptime_s": described(NUMBER, "Since the worker began, seconds")})


def ready_schema() -> Schema:
    """``GET /ready``."""
    check = record({"ok": BOOLEAN, "reason": nullable(STRING)}, "reason")
    status = {"enum": ["ready", "degraded"], "description": "Degraded: answers, with something missing; see the reason"}
    checks = {"type": "object", "additionalProperties": check}
    return record({"status": status, "checks": checks})


DEPLOYED = {
    "version": described(STRING, "Registry version"),
    "bundle_hash": described(STRING, "Hash of everything the model consists of"),
    "model_name": STRING,
    "since": described(MOMENT, "When it was deployed in this role"),
    "sample_rate": described(SHARE, "As challenger: share of requests it scores"),
    "max_lag_s": described(nullable(NUMBER), "As challenger: it drops predictions older than this, seconds"),
}


def deployed_schema() -> Schema:
    """One model of a deployment."""
    return record(DEPLOYED)


def worker_schema() -> Schema:
    """What one worker says of itself."""
    return record(
        {
            "pid": COUNT,
            "generation": nullable(COUNT),
            "champion_version": nullable(STRING),
            "canary_version": nullable(STRING),
            "refusal": described(nullable(STRING), "Why not everything of the newest deployment is in service"),
            "refused_generation": described(nullable(COUNT), "The deployment that the refusal is about"),
            "refused_version": described(nullable(STRING), "The model of it that is not in service"),
            "loaded_at": nullable(MOMENT),
            "seen_at": MOMENT,
        }
    )


def model_schema() -> Schema:
    """``GET /model``."""
    deployed = {"$ref": "#/components/schemas/DeployedModel"}
    champion = DEPLOYED | {
        "threshold": described(SHARE, "Probability from which on the decision is positive"),
        "trained_as_of": MOMENT,
        "fingerprints": {"type": "object", "additionalProperties": STRING},
        "metrics": {"type": "object", "additionalProperties": nullable(NUMBER)},
        "loaded_at": MOMENT,
    }
    canary = {
        "model": deployed,
        "share": described(SHARE, "Share of subjects it answers"),
        "salt": STRING,
        "started_at": MOMENT,
        "halted_reason": nullable(STRING),
        "is_answering": described(BOOLEAN, "In this worker"),
    }
    return record(
        {
            "use_case": STRING,
            "generation": described(COUNT, "Grows with every change of the deployment"),
            "champion": record(champion),
            "previous": {"anyOf": [deployed, {"type": "null"}]},
            "challengers": {"type": "array", "items": deployed},
            "canary": {"anyOf": [record(canary), {"type": "null"}]},
            "probation_until": described(nullable(MOMENT), "Until then a breach brings the previous champion back"),
            "workers": {"type": "array", "items": {"$ref": "#/components/schemas/WorkerState"}},
            "is_converged": described(BOOLEAN, "Whether every worker answers with the newest deployment"),
            "worker_pid": described(COUNT, "The worker that answered this call"),
            "refusal": described(nullable(STRING), "Why a newer deployment is not in service"),
        }
    )


def shadow_record_schema(use_case: UseCase) -> Schema:
    """One comparison of a challenger with the answer that was given."""
    spec = use_case.answer
    answer = {
        "prediction": record({spec.probability: nullable(SHARE), spec.prediction: nullable(BOOLEAN)}),
        "latency_ms": nullable(NUMBER),
        "model_version": STRING,
    }
    difference = described({"type": ["number", "null"], "minimum": -1, "maximum": 1}, "Challenger minus champion")
    return record(
        {
            "request_id": UUID,
            "use_case": STRING,
            use_case.subject: STRING,
            "timestamp": described(MOMENT, "Business time of the request"),
            "compared_at": MOMENT,
            "outcome": {"enum": ["compared", "failed", "dropped"]},
            "drop_reason": {"enum": ["lag", "sampling", "circuit_open", None]},
            "champion": record(answer),
            "challenger": record(answer | {"error": nullable(STRING)}),
            "comparison": record({"probability_diff": difference, "prediction_match": nullable(BOOLEAN)}),
            "is_replay": described(BOOLEAN, "Scored later, by a replay of logged requests"),
        }
    )


def shadow_logs_schema() -> Schema:
    """``GET /shadow/logs``."""
    records = {"type": "array", "items": {"$ref": "#/components/schemas/ShadowRecord"}, "description": "Newest first"}
    return record({"records": records})


def shadow_comparison_schema() -> Schema:
    """``GET /shadow/comparison``."""
    quantiles = record(dict.fromkeys(("p05", "p50", "p95"), nullable(NUMBER)))
    counts = {"type": "object", "additionalProperties": COUNT}
    challenger = record(
        {
            "version": STRING,
            "model_name": STRING,
            "since": MOMENT,
            "sample_rate": described(SHARE, "Share of requests it scores"),
            "max_lag_s": described(nullable(NUMBER), "It drops predictions older than this, seconds"),
            "circuit": {
                "enum": ["closed", "half_open", "open", None],
                "description": "Open: it failed too often and is left alone; null: not known yet",
            },
            "problem": described(nullable(STRING), "Why it does not go on"),
            "sent": described(COUNT, "compared + failed + dropped"),
            "compared": COUNT,
            "failed": COUNT,
            "dropped": COUNT,
            "drop_reasons": counts,
            "agreement_rate": described(nullable(SHARE), "Share of compared requests with the same decision"),
            "flips_to_positive": described(COUNT, "Positive for the challenger, negative for the champion"),
            "flips_to_negative": COUNT,
            "probability_diff": described(quantiles, "Challenger minus champion"),
            "champion_latency_ms": quantiles,
            "challenger_latency_ms": quantiles,
            "errors": described(counts, "Ten most frequent errors of the challenger"),
            "a_a": described(
                record({"n": COUNT, "max_abs_diff": nullable(NUMBER)}), "Its own answers, as canary, scored again"
            ),
            "lag_records": described(COUNT, "Predictions that wait to be compared"),
            "lag_s": described(NUMBER, "Age of the oldest of them, seconds"),
        }
    )
    return record(
        {
            "use_case": STRING,
            "champion_version": STRING,
            "window_s": NUMBER,
            "at_most_records": described(COUNT, "Latest records of a challenger that are summarised at most"),
            "at_most_lag_records": described(COUNT, "Waiting predictions that are counted at most"),
            "challengers": {"type": "array", "items": challenger},
        }
    )


def monitoring_schema(use_case: UseCase) -> Schema:
    """``GET /monitoring/stats``."""
    quantiles = record(dict.fromkeys(QUANTILES, nullable(NUMBER)))
    scores = {
        "requests": described(COUNT, "Answered requests in the window"),
        "positive_share": described(nullable(SHARE), "Share of them with a positive decision"),
        "score": described(quantiles, "Quantiles of the probability"),
    }
    rates = record(dict.fromkeys(use_case.feature_names, nullable(SHARE)))
    maturity = record(
        {
            "horizon_s": described(NUMBER, "After this every label is known, seconds"),
            "matured_requests": COUNT,
            "matured_share": nullable(SHARE),
        }
    )
    due = (
        "How many of the window's requests are older than the label horizon, so that their labels are due. The service "
        "sees no labels: whether they arrived is in the warehouse's table labels."
    )
    return record(
        {
            "use_case": STRING,
            "window_s": NUMBER,
            "from": described(MOMENT, "From here on nothing is left out"),
            "until": MOMENT,
            "is_complete": described(BOOLEAN, "Whether the whole window is covered; if not, it is from `from` on"),
            "at_most_requests": described(COUNT, "Latest requests that are summarised at most"),
            **scores,
            "latency_ms": described(quantiles, "Parsed request to log append, milliseconds"),
            "feature_age_s": described(quantiles, "Age of the oldest online features of a request, seconds"),
            "missing_feature_rates": described(rates, "Share of requests in which a feature was imputed"),
            "models": {"type": "array", "items": record({"variant": VARIANT, "model_version": STRING, **scores})},
            "failures": described(
                {"type": "object", "additionalProperties": COUNT}, "Requests that a model could not answer, by reason"
            ),
            "exploration": _exploration_schema(),
            "label_maturity": described(maturity, due),
        }
    )


def _exploration_schema() -> Schema:
    counted = record(
        {
            "share": described(SHARE, "Declared share of positive decisions that are not carried out"),
            "explored": described(COUNT, "Positive decisions of the window that were not"),
            "explored_share": described(nullable(SHARE), "Their share of its positive decisions"),
        }
    )
    description = "Positive decisions that are not carried out, so that their outcome is seen; null: all are"
    return {"anyOf": [counted, {"type": "null"}], "description": description}
