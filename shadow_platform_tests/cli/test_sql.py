"""``shadow sql``: what is printed can be read, by people and by programs."""

import csv
import json
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import ShadowPlatformError


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warehouse with a narrow and a wide view, seen by a terminal of 80 columns."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE VIEW narrow AS SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 'x,\"y\"'")
        connection.execute("CREATE VIEW asked AS SELECT TIMESTAMPTZ '2024-03-02 02:00:00+00' AS requested_at")
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


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_day_is_a_utc_day_wherever_the_machine_stands(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)

    query = "SELECT requested_at::VARCHAR AS at, date_trunc('day', requested_at)::DATE AS day FROM asked"
    [row] = [json.loads(line) for line in _printed(query, "--format", "json").splitlines()]

    assert row == {"at": "2024-03-02 02:00:00+00", "day": "2024-03-02"}


@pytest.mark.usefixtures("warehouse")
def test_two_columns_of_one_name_are_not_made_one() -> None:
    refused = CliRunner().invoke(typer_app, ["sql", "SELECT 1 AS a, 2 AS a, 3 AS b", "--format", "json"])

    assert isinstance(refused.exception, ShadowPlatformError)
    assert str(refused.exception) == "two columns are called a, JSON keeps one; rename one with AS"
    assert _printed("SELECT 1 AS a, 2 AS a", "--format", "csv").splitlines() == ["a,a", "1,2"]
