"""``shadow sql``: what is printed can be read, by people and by programs."""

import csv
import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warehouse with a narrow and a wide view, seen by a terminal of 80 columns."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE VIEW narrow AS SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x,\"y\"'")
        columns = ", ".join(f"{i} AS a_rather_long_name_{i}" for i in range(20))
        connection.execute(f"CREATE VIEW wide AS SELECT {columns}")
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


def _printed(*arguments: str) -> str:
    result = CliRunner().invoke(typer_app, ["sql", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.usefixtures("warehouse")
def test_a_row_too_wide_for_the_terminal_is_printed_as_a_record_with_whole_names() -> None:
    printed = _printed("FROM wide")

    assert "row 1 of 1" in printed
    assert all(f"a_rather_long_name_{i}" in printed for i in range(20))


@pytest.mark.usefixtures("warehouse")
def test_a_narrow_result_is_a_table() -> None:
    assert "row 1" not in _printed("FROM narrow")


@pytest.mark.usefixtures("warehouse")
def test_programs_read_the_same_rows_as_csv_and_as_json_lines() -> None:
    as_csv = list(csv.reader(_printed("FROM narrow ORDER BY a", "--format", "csv").splitlines()))
    as_json = [json.loads(line) for line in _printed("FROM narrow ORDER BY a", "--format", "json").splitlines()]

    assert as_csv == [["a", "b"], ["1", ""], ["2", 'x,"y"']]
    assert as_json == [{"a": 1, "b": None}, {"a": 2, "b": 'x,"y"'}]
