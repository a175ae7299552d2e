"""Table schemas: what analysts read must be complete, unambiguous and acceptable to DuckDB."""

import re

import duckdb
import pytest

from shadow_platform.contracts.tables import TABLES, TableSchema

PROMISED = (
    "predictions",
    "shadow_comparisons",
    "shadow_comparison_hourly",
    "labels",
    "quarantined_labels",
    "performance_daily",
    "performance_verdicts",
    "proxy_daily",
    "fairness_groups",
    "simulated_drift",
    "drift_metrics",
    "drift_verdicts",
    "drift_segments",
    "drift_profiles",
    "drift_correlation_sums",
    "data_quality",
    "feature_parity",
    "gate_sequences",
    "gate_decisions",
    "gate_reviews",
    "a_a_runs",
    "rollout_steps",
    "alerts",
    "model_versions",
    "model_transitions",
    "model_experiments",
    "model_metrics",
    "quarantined_events",
    "pipeline_runs",
)
each_table = pytest.mark.parametrize("schema", TABLES, ids=lambda schema: schema.name)


def test_every_promised_table_exists_once() -> None:
    assert tuple(schema.name for schema in TABLES) == PROMISED


@each_table
def test_column_names_are_unique(schema: TableSchema) -> None:
    assert len(set(schema.column_names)) == len(schema.column_names)


@each_table
def test_key_and_time_column_are_columns(schema: TableSchema) -> None:
    assert {*schema.key, schema.time_column} <= set(schema.column_names)


@each_table
def test_the_time_column_is_an_instant(schema: TableSchema) -> None:
    types = {column.name: column.type for column in schema.columns}

    assert types[schema.time_column] == "TIMESTAMPTZ"


@each_table
def test_every_row_names_its_use_case_first(schema: TableSchema) -> None:
    assert schema.column_names[0] == "use_case"


@each_table
def test_table_and_columns_explain_themselves(schema: TableSchema) -> None:
    assert schema.grain.startswith("one row a")
    assert [column.name for column in schema.columns if not column.comment.strip()] == []


@each_table
def test_column_names_carry_their_unit(schema: TableSchema) -> None:
    instants = {column.name for column in schema.columns if column.type == "TIMESTAMPTZ"}
    unmarked = {name for name in instants if not re.search(r"(_at|_on|_from|_start|_end|_as_of|^as_of)$", name)}

    assert unmarked == set()
    assert [name for name in schema.column_names if "latency" in name and not name.endswith("_ms")] == []


@each_table
def test_duckdb_knows_every_type(schema: TableSchema) -> None:
    columns = ", ".join(f'"{column.name}" {column.type}' for column in schema.columns)

    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        found = [row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE t)").fetchall()]

    assert found == list(schema.column_names)
