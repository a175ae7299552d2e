"""Schemas of the published tables: grain, columns, units, and the comments that analysts read.

Upstream: nothing. Downstream: the lake writes Parquet by these schemas; the warehouse publishes views with comments.
Types are DuckDB's. Every timestamp is UTC.
"""

from shadow_platform.contracts.tables.decisions import (
    A_A_RUNS,
    ALERTS,
    GATE_DECISIONS,
    GATE_REVIEWS,
    GATE_SEQUENCES,
    ROLLOUT_STEPS,
)
from shadow_platform.contracts.tables.models import (
    MODEL_EXPERIMENTS,
    MODEL_METRICS,
    MODEL_TRANSITIONS,
    MODEL_VERSIONS,
)
from shadow_platform.contracts.tables.monitoring import (
    DATA_QUALITY,
    DRIFT_CORRELATION_SUMS,
    DRIFT_METRICS,
    DRIFT_PROFILES,
    DRIFT_SEGMENTS,
    DRIFT_VERDICTS,
    FEATURE_PARITY,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    PROXY_DAILY,
)
from shadow_platform.contracts.tables.pipeline import PIPELINE_RUNS, QUARANTINED_EVENTS, SIMULATED_DRIFT
from shadow_platform.contracts.tables.requests import (
    FAIRNESS_GROUPS,
    LABELS,
    PREDICTIONS,
    QUARANTINED_LABELS,
    SHADOW_COMPARISON_HOURLY,
    SHADOW_COMPARISONS,
)
from shadow_platform.contracts.tables.schema import Column, TableSchema

__all__ = [
    "ALERTS",
    "A_A_RUNS",
    "DATA_QUALITY",
    "DRIFT_CORRELATION_SUMS",
    "DRIFT_METRICS",
    "DRIFT_PROFILES",
    "DRIFT_SEGMENTS",
    "DRIFT_VERDICTS",
    "FAIRNESS_GROUPS",
    "FEATURE_PARITY",
    "GATE_DECISIONS",
    "GATE_REVIEWS",
    "GATE_SEQUENCES",
    "LABELS",
    "MODEL_EXPERIMENTS",
    "MODEL_METRICS",
    "MODEL_TRANSITIONS",
    "MODEL_VERSIONS",
    "PERFORMANCE_DAILY",
    "PERFORMANCE_VERDICTS",
    "PIPELINE_RUNS",
    "PREDICTIONS",
    "PROXY_DAILY",
    "QUARANTINED_EVENTS",
    "QUARANTINED_LABELS",
    "ROLLOUT_STEPS",
    "SHADOW_COMPARISONS",
    "SHADOW_COMPARISON_HOURLY",
    "SIMULATED_DRIFT",
    "TABLES",
    "Column",
    "TableSchema",
]

TABLES: tuple[TableSchema, ...] = (
    PREDICTIONS,
    SHADOW_COMPARISONS,
    SHADOW_COMPARISON_HOURLY,
    LABELS,
    QUARANTINED_LABELS,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    PROXY_DAILY,
    FAIRNESS_GROUPS,
    SIMULATED_DRIFT,
    DRIFT_METRICS,
    DRIFT_VERDICTS,
    DRIFT_SEGMENTS,
    DRIFT_PROFILES,
    DRIFT_CORRELATION_SUMS,
    DATA_QUALITY,
    FEATURE_PARITY,
    GATE_SEQUENCES,
    GATE_DECISIONS,
    GATE_REVIEWS,
    A_A_RUNS,
    ROLLOUT_STEPS,
    ALERTS,
    MODEL_VERSIONS,
    MODEL_TRANSITIONS,
    MODEL_EXPERIMENTS,
    MODEL_METRICS,
    QUARANTINED_EVENTS,
    PIPELINE_RUNS,
)
