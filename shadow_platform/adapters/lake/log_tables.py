"""From append-only log to table: reads log segments with explicit types and gives the rows of some request days.

Belongs here: how a log record's fields become a table's columns, and which segments can hold a day. Does not belong
here: writing the table. Upstream: the log of the serving process and of the shadow worker. Downstream: ``Lake``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path

import duckdb
import pandas as pd

from shadow_platform.adapters.lake.parquet import connection, identifier, literal
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.records import SCHEMA_VERSION
from shadow_platform.contracts.tables import PREDICTIONS, SHADOW_COMPARISONS, TableSchema

# A clock of a serving machine may run ahead of another by less than this.
CLOCK_TOLERANCE = timedelta(days=1)
_ANSWER = 'STRUCT(probability DOUBLE, prediction BOOLEAN, latency_ms DOUBLE, model_version VARCHAR, "error" VARCHAR)'


@dataclass(frozen=True, slots=True)
class LogTable:
    """How one stream becomes one table.

    Attributes:
        fields: field of the record -> DuckDB type.
        derived: column of the table -> SQL over the fields, where it is not a field of the same name.
        required: fields without which a line is unreadable. A field of the wrong type reads as NULL.
        prefer: which of several records of one key stands; earlier in the order wins.
    """

    schema: TableSchema
    pattern: str
    fields: Mapping[str, str]
    required: tuple[str, ...]
    derived: Mapping[str, str]
    prefer: str


PREDICTION_LOG = LogTable(
    PREDICTIONS,
    "dt=*/hour=*/*.jsonl",
    {
        "request_id": "VARCHAR",
        "use_case": "VARCHAR",
        "subject_id": "VARCHAR",
        "entities": "JSON",
        "requested_at": "TIMESTAMPTZ",
        "logged_at": "TIMESTAMPTZ",
        "features": "JSON",
        "feature_sources": 'STRUCT(request INTEGER, "online" INTEGER, imputed INTEGER, derived INTEGER)',
        "feature_age_s": "DOUBLE",
        "model_version": "VARCHAR",
        "bundle_hash": "VARCHAR",
        "variant": "VARCHAR",
        "propensity": "DOUBLE",
        "is_fallback": "BOOLEAN",
        "is_explored": "BOOLEAN",
        "label_propensity": "DOUBLE",
        "probability": "DOUBLE",
        "prediction": "BOOLEAN",
        "threshold": "DOUBLE",
        "latency_ms": "DOUBLE",
        "context": "JSON",
        "feature_times": "JSON",
        "overridden": "VARCHAR[]",
    },
    (
        *("request_id", "use_case", "subject_id", "requested_at", "logged_at", "features", "feature_sources"),
        *("model_version", "bundle_hash", "variant", "propensity", "probability", "prediction", "threshold"),
    ),
    {
        "is_fallback": "coalesce(is_fallback, false)",
        "is_explored": "coalesce(is_explored, false)",
        "label_propensity": "coalesce(label_propensity, 1.0)",
        "context": "coalesce(context, '{}')",
        "feature_times": "coalesce(feature_times, '{}')",
        "overridden": "coalesce(overridden, [])",
        "features_from_request": "feature_sources.request",
        "features_from_online": 'feature_sources."online"',
        "features_imputed": "feature_sources.imputed",
        "features_derived": "coalesce(feature_sources.derived, 0)",
    },
    "logged_at",
)
SHADOW_LOG = LogTable(
    SHADOW_COMPARISONS,
    "challenger=*/dt=*/hour=*/*.jsonl",
    {
        "request_id": "VARCHAR",
        "use_case": "VARCHAR",
        "subject_id": "VARCHAR",
        "requested_at": "TIMESTAMPTZ",
        "compared_at": "TIMESTAMPTZ",
        "outcome": "VARCHAR",
        "drop_reason": "VARCHAR",
        "champion": _ANSWER,
        "challenger": _ANSWER,
        "probability_diff": "DOUBLE",
        "prediction_match": "BOOLEAN",
        "is_replay": "BOOLEAN",
        "source": 'STRUCT(segment VARCHAR, "end" BIGINT)',
    },
    (
        *("request_id", "use_case", "subject_id", "requested_at", "compared_at", "outcome"),
        *("champion.model_version", "challenger.model_version"),
    ),
    {
        "champion_version": "champion.model_version",
        "champion_probability": "champion.probability",
        "champion_prediction": "champion.prediction",
        "champion_latency_ms": "champion.latency_ms",
        "challenger_version": "challenger.model_version",
        "challenger_probability": "challenger.probability",
        "challenger_prediction": "challenger.prediction",
        "challenger_latency_ms": "challenger.latency_ms",
        "challenger_error": 'challenger."error"',
    },
    # A replay that compared what was dropped live is the better record of the same request.
    "list_position(['compared', 'failed', 'dropped'], outcome), compared_at",
)


def read_days(log: LogTable, root: Path, use_case: str, first: date, last: date) -> tuple[pd.DataFrame, int]:
    """Rows of the request days from first to last in the table's schema, one a key, and the unreadable lines met.

    Unreadable lines (bad JSON, wrong types, a later ``schema_version``) cannot be given a day: they are counted over
    every segment that was read.

    Raises:
        LakeError: a segment cannot be read at all.
    """
    start, end = (datetime.combine(day, time.min, tzinfo=UTC) for day in (first, last + timedelta(days=1)))
    columns = ", ".join(
        f"CAST({log.derived.get(c.name, identifier(c.name))} AS {c.type}) AS {identifier(c.name)}"
        for c in log.schema.columns
    )
    key = ", ".join(identifier(name) for name in log.schema.key)
    with connection() as con:
        try:
            con.execute(
                f"""CREATE TEMP TABLE lines AS
                WITH parsed AS ({_parsed(log, _segments(root, log.pattern, first))})
                SELECT * FROM parsed WHERE NOT is_readable
                OR (use_case = $use_case AND requested_at >= $start AND requested_at < $end)""",
                {"use_case": use_case, "start": start, "end": end},
            )
            rows = con.execute(
                f"""SELECT {columns} FROM lines WHERE is_readable
                QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {log.prefer}) = 1
                ORDER BY requested_at, {key}"""
            ).df()
            bad = con.execute("SELECT count(*) FROM lines WHERE NOT is_readable").fetchone()
        except duckdb.Error as error:
            raise LakeError(f"log below {root} could not be read: {error}; move the named segment away") from error
    return rows, int(bad[0]) if bad else 0


def carried_out(root: Path, use_case: str, first: date, last: date) -> pd.DataFrame:
    """``subject_id, requested_at, context`` of logged positive decisions of some request days that were not explored.

    Raises:
        LakeError: a segment cannot be read at all.
    """
    segments = tuple((path, path.stat().st_size) for path in _segments(root, PREDICTION_LOG.pattern, first))
    rows = _carried_out(root, use_case, segments)
    days = rows["requested_at"].dt.date
    found: pd.DataFrame = rows[(days >= first) & (days <= last)]
    return found


# Labels of many days are made one after the other, and each asks the same log.
@lru_cache(maxsize=2)
def _carried_out(root: Path, use_case: str, segments: tuple[tuple[Path, int], ...]) -> pd.DataFrame:
    with connection() as con:
        try:
            return con.execute(
                f"""SELECT DISTINCT subject_id, requested_at, coalesce(CAST(context AS VARCHAR), '{{}}') AS context
                FROM ({_parsed(PREDICTION_LOG, [path for path, _ in segments])})
                WHERE is_readable AND use_case = $use_case AND prediction AND NOT coalesce(is_explored, false)
                ORDER BY requested_at, subject_id""",
                {"use_case": use_case},
            ).df()
        except duckdb.Error as error:
            raise LakeError(f"log below {root} could not be read: {error}; move the named segment away") from error


def count_doubled(root: Path, use_case: str, first: date, last: date) -> pd.DataFrame:
    """Records beyond the one that a challenger may have of a logged prediction, on the raw shadow log.

    A prediction has one place in its log. A challenger may have one live record of it, and one that is not dropped: a
    replay may fill what was dropped, and nothing else may come twice.

    Returns:
        Columns ``day`` (of the request), ``challenger_version``, ``n_doubled``; only where there are some.

    Raises:
        LakeError: a segment cannot be read at all.
    """
    start, end = (datetime.combine(day, time.min, tzinfo=UTC) for day in (first, last + timedelta(days=1)))
    with connection() as con:
        try:
            return con.execute(
                f"""WITH parsed AS ({_parsed(SHADOW_LOG, _segments(root, SHADOW_LOG.pattern, first))}),
                places AS (
                    SELECT CAST(requested_at AS DATE) AS day, challenger.model_version AS challenger_version,
                        count(*) FILTER (NOT coalesce(is_replay, false)) AS n_live,
                        count(*) FILTER (outcome <> 'dropped') AS n_final
                    FROM parsed
                    WHERE is_readable AND use_case = $use_case AND requested_at >= $start AND requested_at < $end
                    GROUP BY day, challenger_version, source
                )
                SELECT day, challenger_version, CAST(sum(greatest(n_live, n_final) - 1) AS BIGINT) AS n_doubled
                FROM places WHERE greatest(n_live, n_final) > 1 GROUP BY ALL""",
                {"use_case": use_case, "start": start, "end": end},
            ).df()
        except duckdb.Error as error:
            raise LakeError(f"log below {root} could not be read: {error}; move the named segment away") from error


def _parsed(log: LogTable, segments: Sequence[Path]) -> str:
    fields = {**log.fields, "schema_version": "INTEGER"}
    if not segments:
        typed = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in fields.items())
        return f"SELECT {typed}, true AS is_readable WHERE false"
    names = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in fields.items())
    paths = ", ".join(literal(str(segment)) for segment in segments)
    is_complete = " AND ".join(f"{name} IS NOT NULL" for name in log.required)
    # With ignore_errors a line that does not parse becomes a row of NULLs, which is how it is recognised.
    return f"""SELECT *, coalesce({is_complete} AND schema_version BETWEEN 1 AND {SCHEMA_VERSION}, false) AS is_readable
        FROM read_json([{paths}], format = 'newline_delimited', ignore_errors = true, columns = {{{names}}},
        hive_partitioning = false)"""


def _segments(root: Path, pattern: str, day: date) -> list[Path]:
    """Segments appended on or after the day: no request is answered before it is made."""
    first = (day - CLOCK_TOLERANCE).isoformat()
    found = (path for path in root.glob(pattern) if path.parents[1].name.removeprefix("dt=") >= first)
    return sorted(path for path in found if path.stat().st_size > 0)
