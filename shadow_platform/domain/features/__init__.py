"""Features stage: what must hold of feature rows, which days of a view are due, and how a day compares with others.

``rows`` holds assertions over rows, ``planning`` says which days late events touch, ``history`` compares what a day
holds with the days before it. Does not belong here: computing features (the use case's SQL) and looking them up at a
time (the feature store). Upstream: rows of a view's SQL, records of partitions. Downstream: assets of features, the
sensor of late days.
"""

from shadow_platform.domain.features.history import by_weekday, rises, vanished
from shadow_platform.domain.features.planning import (
    due_days,
    inputs_fingerprint,
    inputs_read,
    kinds_read,
    late_days,
    newly_misshapen,
    reach_days,
    stale_days,
)
from shadow_platform.domain.features.rows import by_day, null_rates, runs_of_days, violations

__all__ = [
    "by_day",
    "by_weekday",
    "due_days",
    "inputs_fingerprint",
    "inputs_read",
    "kinds_read",
    "late_days",
    "newly_misshapen",
    "null_rates",
    "reach_days",
    "rises",
    "runs_of_days",
    "stale_days",
    "vanished",
    "violations",
]
