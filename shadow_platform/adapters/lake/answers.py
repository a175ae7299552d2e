"""SQL over the table of answers, whose features are one JSON object a row.

Belongs here: taking a few features out of it inside DuckDB, so that no row's other features are ever held. Does not
belong here: which answers count. Upstream: ``Lake``. Downstream: the stages that judge answers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from shadow_platform.adapters.lake.parquet import files_relation, identifier, literal
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform.contracts.use_case import FeatureKind

JUDGED = (
    *("use_case", "request_id", "subject_id", "requested_at", "logged_at", "model_version", "variant", "is_fallback"),
    *("probability", "prediction", "is_explored", "label_propensity"),
)
"""Columns of ``predictions`` by which answers are judged."""
_TYPES = {column.name: column.type for column in PREDICTIONS.columns if column.name in (*JUDGED, "features")}


def answers_sql(files: Sequence[Path], features: Mapping[str, FeatureKind]) -> str:
    """SQL of the columns ``JUDGED`` and, as served, of some features; null where a row was not served one."""
    served = [_served(name, kind) for name, kind in features.items()]
    return f"SELECT {', '.join([*map(identifier, JUDGED), *served])} FROM ({files_relation(files, _TYPES)})"


def _served(feature: str, kind: FeatureKind) -> str:
    path = literal('$."' + feature + '"')
    value = f"json_extract_string(features, {path})"
    typed = f"TRY_CAST({value} AS DOUBLE)" if kind == "numeric" else value
    return f"{typed} AS {identifier(feature)}"
